"""Files that hold programs or whole objects: what they are, and the command that keeps their weights.

They are never opened for what they hold: a pickle's operations are listed, not carried out. The command runs what
is in the file, so whoever trusts the file runs it, and we don't.
"""

from __future__ import annotations

import collections
import io
import json
import pickletools
import shlex
import zipfile
import zlib
from typing import IO

_OUT = "weights.pth"
_UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 "
"""torch's own switch, which whoever runs the command sees: https://docs.pytorch.org/docs/stable/notes/serialization.html"""
_SYSTEM = {"builtins", "ctypes", "importlib", "nt", "os", "posix", "runpy", "shutil", "socket", "subprocess", "sys"}
"""Modules whose functions no model holds: a file that names one is no file to trust."""
_STREAMS = 4
"""Which pickle of a file of torch before 1.6 is the object: a magic number, a version and facts of a system precede it."""


def of_program(where: str) -> str:
    """What a TorchScript archive is, and its way to plain weights."""
    code = f'import torch; torch.save(torch.jit.load({_text(where)}, map_location="cpu").state_dict(), {_text(_OUT)})'
    return f"is a TorchScript archive, a program; where you trust it, {_command(code)}"


def of_objects(name: str, content: bytes, where: str) -> str:
    """What a file is that holds the class or function `name`, and its way to plain weights."""
    what = f"holds {name}, and only tensors, numbers and text are read, because other objects can run code"
    module = name.partition(".")[0]
    if module in _SYSTEM:
        return f"{what}; no weights need this one: give another file"
    is_dict = _is_dict(content)
    if not is_dict:
        what = f"is a whole pickled object: {what}"
    if module == "__main__":
        return f"{what}; its class is in the program that made it: there, `torch.save(model.state_dict(), '{_OUT}')`"
    load = f'import torch; found = torch.load({_text(where)}, map_location="cpu")'
    kept = (
        "{k: v.state_dict() if isinstance(v, torch.nn.Module) else v for k, v in found.items()"
        " if isinstance(v, (torch.Tensor, torch.nn.Module))"
        " or isinstance(v, dict) and all(map(torch.is_tensor, v.values()))}"
    )
    code = f"{load}; torch.save({kept if is_dict else 'found.state_dict()'}, {_text(_OUT)})"
    return f"{what}; where you trust it and have its classes, {_command(code, _UNSAFE)}"


def _command(code: str, switch: str = "") -> str:
    return f"`{switch}python -c {shlex.quote(code)}` runs it and keeps its weights in {_OUT}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_dict(content: bytes) -> bool:
    """Whether the outermost object that torch.save wrote is a dictionary, by the pickle's first operation.

    False for a file that torch could read up to the object and the standard library can't: damaged, most likely.
    """
    try:
        with _pickle(content) as stream:
            for operation, argument, _ in pickletools.genops(stream):
                if operation.name not in {"PROTO", "FRAME"}:
                    return operation.name == "EMPTY_DICT" or argument == "collections OrderedDict"
    except (ValueError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        pass
    return False


def _pickle(content: bytes) -> IO[bytes]:
    """The pickle of the object, from its first byte."""
    stream = io.BytesIO(content)
    if content.startswith(b"PK"):
        archive = zipfile.ZipFile(stream)
        return archive.open(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
    for _ in range(_STREAMS - 1):
        collections.deque(pickletools.genops(stream), maxlen=0)
    return stream
