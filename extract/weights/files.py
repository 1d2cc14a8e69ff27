"""A weight file as named tensors, whatever program wrote it; no file is given the power to run code.

Files are told apart by their content: safetensors, or what torch.save writes, read with `weights_only=True` and never
without. What is neither is called what it is.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import threading
import zipfile
from collections.abc import Mapping
from typing import Any

from headstart.core.cache.errors import HeadstartError, WeightsMismatch
from headstart.core.extract.weights.unwrapping import Unwrapped, unwrap

_SYSTEM = {"builtins", "ctypes", "importlib", "nt", "os", "posix", "runpy", "shutil", "socket", "subprocess", "sys"}
"""Modules whose functions no model holds."""


def read_tensors(content: bytes, where: str) -> Unwrapped:
    """All named tensors in `content`, the bytes of a file called `where` in messages. Raises WeightsMismatch."""
    if reason := _no_weights(content, where):
        raise WeightsMismatch(f"{where}: {reason}")
    try:
        found = _parse(content, where)
    except HeadstartError:
        raise
    except Exception as error:  # safetensors and torch raise many kinds for bytes that are not theirs
        raise WeightsMismatch(f"{where}: {_reason(error)}") from error
    if not isinstance(found, Mapping):
        raise WeightsMismatch(f"{where}: holds a {type(found).__name__}, expected a state dict")
    return unwrap(found, where)


def _no_weights(content: bytes, where: str) -> str | None:
    """What the file is, where its first bytes say that it is something else."""
    starts: Mapping[bytes, str] = {
        b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; `git lfs pull` gets it",
        b"\x89HDF\r\n\x1a\n": "is an HDF5 file, as Keras writes them; expected a .safetensors or a .pth state dict",
        b"<": "is a web page; download the file itself",
        b"\x1f\x8b": "is compressed with gzip; unpack it first",
    }
    found = [reason for start, reason in starts.items() if content[:64].lstrip().startswith(start)]
    if not found and content[257:262] == b"ustar":
        found = ["is a tar archive, of torch before 0.1.10 or packed by hand; give a .safetensors or a .pth state dict"]
    return found[0] if found else _no_torch_archive(content, where) if content.startswith(b"PK\x03\x04") else None


def _no_torch_archive(content: bytes, where: str) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    # zipfile raises NotImplementedError for a version or a compression that it doesn't know: a damaged field, mostly
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        return f"is a damaged archive ({error}); get it again"
    if any(re.fullmatch(r"[^/]+/(code/.*|constants\.pkl)", name) for name in names):
        return _program(where)
    if not any(name.endswith("/data.pkl") for name in names):
        return "is an archive that torch.save did not write; expected a .safetensors or a .pth state dict"
    return None


def _parse(content: bytes, where: str) -> Any:
    size = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and 2 <= size <= len(content):  # https://github.com/huggingface/safetensors#format
        import safetensors.torch

        return safetensors.torch.load(content)
    try:
        return _load(content)
    except Exception as error:
        if _refused(error) != "argparse.Namespace":
            raise
    return _load_with_namespace(content)


def _load(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


_NAMESPACE = threading.Lock()


def _load_with_namespace(content: bytes) -> Any:
    """As `_load`, and an argparse.Namespace may be among it: torchvision's own training scripts keep their options so.

    A Namespace holds values by name and does nothing: what it may hold is limited as before. torch keeps what it allows for
    the whole process, hence the lock, and whoever had allowed it before still finds it allowed.
    """
    import torch

    with _NAMESPACE:
        if argparse.Namespace in torch.serialization.get_safe_globals():
            return _load(content)
        with torch.serialization.safe_globals([argparse.Namespace]):
            return _load(content)


def _refused(error: Exception) -> str | None:
    """The class or function that torch.load did not let in."""
    found = re.search(r"GLOBAL `?([\w.]+)", str(error))
    return found[1] if found else None


def _program(where: str) -> str:
    """What a TorchScript archive is, and the command that keeps its weights: who trusts the file runs it, and we don't."""
    path = json.dumps(where, ensure_ascii=False)
    code = f'import torch; torch.save(torch.jit.load({path}, map_location="cpu").state_dict(), "weights.pth")'
    command = f"`python -c {shlex.quote(code)}`"
    return (
        f"is a TorchScript archive, a program; where you trust it, {command} runs it and keeps its weights in weights.pth"
    )


def _objects(name: str) -> str:
    """What a file is that holds the class or function `name`. Nobody is told to open it otherwise: the program that made it
    has its classes and can write its tensors alone."""
    what = f"holds {name}, and only tensors, numbers and text are read, because other objects can run code"
    if name.partition(".")[0] in _SYSTEM:
        return f"{what}; no weights need this one: give another file"
    return f"{what}; save the weights alone in the program that made it: `torch.save(model.state_dict(), 'weights.pth')`"


def _reason(error: Exception) -> str:
    if name := _refused(error):
        return _objects(name)
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).rpartition("WeightsUnpickler error: ")[2].strip()
    reason = text.splitlines()[0] if text else type(error).__name__
    return f"can't be read as plain weights ({reason}); expected a .safetensors or a .pth state dict"
