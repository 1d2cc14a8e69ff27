"""A process that runs one exported file: told pictures through a pipe, gone when its parent is. No torch but for .pt2.

    python -m headstart.export.running.child onnx|pt2 FILE THREADS

It says first what stands in the file, then answers each array of pictures with one of probabilities. A message is a line of
JSON, where that says so with an array's bytes behind it. In torch as in ONNX Runtime a file can end the process,
which the parent sees.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Run = Callable[[Pixels], npt.NDArray[Any]]


def send(stream: BinaryIO, message: dict[str, Any], array: npt.NDArray[Any] | None = None) -> None:
    """Write a message, and an array behind it."""
    said = None if array is None else [array.dtype.str, list(array.shape)]
    stream.write(json.dumps({**message, "array": said}).encode() + b"\n")
    if array is not None:
        stream.write(np.ascontiguousarray(array).data)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], npt.NDArray[Any] | None] | None:
    """The next message; None at the end. Raises ValueError for what is none, or was cut off."""
    line = stream.readline()
    if not line:
        return None
    message = json.loads(line)
    if (said := message.pop("array")) is None:
        return message, None
    dtype, shape = np.dtype(said[0]), tuple(said[1])
    content = stream.read(dtype.itemsize * math.prod(shape))
    return message, np.frombuffer(content, dtype).reshape(shape)


def main() -> None:
    """Answer until there is nothing more to be done."""
    kind, path, threads = sys.argv[1:4]
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    questions = os.fdopen(0, "rb")
    try:
        facts, run = (_onnx if kind == "onnx" else _pt2)(Path(path), int(threads))
        send(answers, facts)
        while (found := receive(questions)) is not None and found[1] is not None:
            send(answers, {}, run(found[1]))
    except Exception as error:
        said = str(error).strip().splitlines()
        send(answers, {"error": said[0] if said else type(error).__name__})


def _onnx(path: Path, threads: int) -> tuple[dict[str, Any], Run]:
    """ONNX Runtime on the processor alone. The bytes are given, so that no other file can be reached from them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    taken, given = session.get_inputs(), session.get_outputs()
    said = [(one.name, one.type, len(one.shape)) for one in (*taken, *given)]
    if said != [("images", "tensor(uint8)", 4), ("probabilities", "tensor(float)", 2)]:
        raise ValueError(f"takes and gives {said}, expected uint8 images (N, H, W, 3) and float probabilities (N, C)")
    facts = {"texts": dict(session.get_modelmeta().custom_metadata_map), "by": f"ONNX Runtime {onnxruntime.__version__}"}

    def run(images: Pixels) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = session.run(["probabilities"], {"images": images})[0]
        return found

    return facts, run


def _pt2(path: Path, threads: int) -> tuple[dict[str, Any], Run]:
    """torch's own loader, which may run what the file says: only for files that this headstart has just made, or whose
    SHA-256 the user gave."""
    import torch

    torch.set_num_threads(threads)
    extra = {"headstart.json": ""}
    module = torch.export.load(path, extra_files=extra).module()
    facts = {"texts": json.loads(extra["headstart.json"]), "by": f"torch {torch.__version__}"}

    def run(images: Pixels) -> npt.NDArray[Any]:
        with torch.inference_mode():
            found: npt.NDArray[Any] = module(torch.from_numpy(images)).numpy()
        return found

    return facts, run


if __name__ == "__main__":
    main()
