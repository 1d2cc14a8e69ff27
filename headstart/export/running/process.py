"""The parent's side: an exported file in a process of its own, which is given pictures and may die of the file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from headstart.core.cache.errors import ModelFileInvalid
from headstart.core.extract.executors.processes import python_path
from headstart.export.running.child import Pixels, receive, send

WAIT_S = 300.0
"""How long a file may take to be loaded, and to label one batch; a file from elsewhere may never end."""

Shares = npt.NDArray[np.float32]


class Runner:
    """A file that is loaded. `texts` are the facts in it as they stand there, `by` is what runs it."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._path, self._process = path, process
        facts, _ = self._answer()
        self.texts: dict[str, str] = facts["texts"]
        self.by: str = facts["by"]

    def __call__(self, images: Pixels) -> Shares:
        """uint8 (N, H, W, 3) to probabilities (N, C) float32. Raises ModelFileInvalid."""
        with contextlib.suppress(BrokenPipeError):  # what it died of is told below
            send(_stream(self._process.stdin), {}, images)
        _, found = self._answer()
        if found is None or found.dtype != np.float32 or found.ndim != 2 or len(found) != len(images):
            raise ModelFileInvalid(f"{self._path}: gives no probabilities for {len(images)} pictures")
        return found

    def _answer(self) -> tuple[dict[str, Any], npt.NDArray[Any] | None]:
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(WAIT_S, stop)
        timer.start()
        try:
            found = receive(_stream(self._process.stdout))
        except ValueError as error:  # cut off in the middle of an answer
            raise ModelFileInvalid(f"{self._path}: {self._death(late)}") from error
        finally:
            timer.cancel()
        if found is None:
            raise ModelFileInvalid(f"{self._path}: {self._death(late)}")
        if "error" in found[0]:
            raise ModelFileInvalid(f"{self._path}: can't be run: {found[0]['error']}")
        return found

    def _death(self, late: threading.Event) -> str:
        code = self._process.wait()
        why = f"did not end in {WAIT_S:.0f} s" if late.is_set() else f"ended the process that ran it, with {code}"
        return f"can't be run: {why}"


@contextlib.contextmanager
def running(path: Path) -> Iterator[Runner]:
    """A file in a process of its own, which ends with the block. Its folder is an empty one: nothing can be reached from
    there. Raises ModelFileInvalid for what can't be loaded."""
    kind = "pt2" if path.suffix == ".pt2" else "onnx"
    words = [*_module("headstart.export.running.child"), kind, str(path.resolve()), str(torch.get_num_threads())]
    with tempfile.TemporaryDirectory(prefix="headstart-") as empty:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(), cwd=empty
        )
        try:
            yield Runner(path, process)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    _stream(stream).close()


def run_module(name: str, *words: str) -> None:
    """Run one of our modules in a process of its own. Raises ModelFileInvalid, with its last line, where it fails."""
    done = subprocess.run([*_module(name), *words], env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise ModelFileInvalid(f"{name.rpartition('.')[2]}: {said[-1]}")


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path()}


def _stream(found: Any) -> BinaryIO:
    stream: BinaryIO = found
    return stream
