"""What a weight file holds: its named tensors, whatever program wrote them, and those among them that a backbone needs.

Files are told apart by their content: safetensors, or what torch.save writes, read with `weights_only=True` and never
without. Nested dictionaries make one name: {"model": {"module.conv1.weight": …}} holds `model.module.conv1.weight`. The
backbone's parameters are those below the one prefix, here `model.module.`, below which all of them are found.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cache.errors import HeadstartError, WeightsMismatch

if TYPE_CHECKING:
    from torch import Tensor

COUNTER = "num_batches_tracked"
"""A counter of BatchNorm that `eval()` doesn't read, and that old checkpoints lack."""
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that torch.compile, FSDP and activation checkpointing add, at any depth."""
_DENSENET_OLD = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
"""torchvision's published DenseNet files still carry names from before 0.3: norm.1 for norm1."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A backbone's parameters and buffers by its own names, the prefix they had in the file, and what else is there."""

    state: dict[str, Tensor]
    prefix: str
    left_out: tuple[str, ...]


# ---- which of the tensors


def choose(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    backbone: str,
    classifier: str,
    where: str,
    member: str | None,
) -> Chosen:
    """The tensors that `backbone` needs: all of `wanted`, by name and shape, below one prefix.

    `member` says below which one where several fit. What is below the prefix and not `wanted` must not belong to another
    architecture; names that begin with `classifier` are expected there. Raises WeightsMismatch.
    """
    groups = _groups(tensors, wanted)
    faults = {prefix: _fault(tensors, prefix, names, wanted, backbone) for prefix, names in groups.items()}
    fitting = _distinct(tensors, groups, [prefix for prefix, fault in faults.items() if fault is None])
    members = ", ".join(f"#{_member(one)}" for one in fitting) or "none"
    if member is not None:
        prefix = f"{member}." if member else ""
        unknown = f"no parameter of {backbone} has a name that begins with {prefix!r}"
        reason = faults.get(prefix, unknown)
        if reason is not None:
            raise WeightsMismatch(f"{where}#{member}: {reason}; what fits {backbone} in the file: {members}")
    elif len(fitting) == 1:
        (prefix,) = fitting
    elif fitting:
        example = f"--weights '{where}#{_member(fitting[0])}'"
        raise WeightsMismatch(f"{where}: several weights in it fit {backbone}: {members}; say which, as in {example}")
    else:
        raise WeightsMismatch(f"{where}: {_misfit(tensors, groups, faults, wanted, backbone)}")
    state = {name: tensors[full] for name, full in groups[prefix].items()}
    return Chosen(state, prefix, tuple(_left_out(tensors, prefix, set(groups[prefix].values()), classifier)))


def _member(prefix: str) -> str:
    return prefix.removesuffix(".")


def _groups(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """For each prefix, the wanted names that are found below it, and their full names."""
    groups: dict[str, dict[str, str]] = {}
    for full in tensors:
        for start in (0, *(match.end() for match in re.finditer(r"\.", full))):
            if full[start:] in wanted:
                groups.setdefault(full[:start], {})[full[start:]] = full
    return groups


def _fault(
    tensors: Mapping[str, Tensor], prefix: str, names: Mapping[str, str], wanted: Mapping[str, Tensor], backbone: str
) -> str | None:
    """Why the tensors below a prefix are not the backbone's; None where they are."""
    below = f" below {prefix!r}" if prefix else ""
    if missing := [name for name in wanted if name not in names and not name.endswith(COUNTER)]:
        return f"lacks {some(missing)} of {backbone}{below}"
    stems = {_stem(name) for name in wanted}
    rests = [full.removeprefix(prefix) for full in tensors if full.startswith(prefix)]
    if extra := [rest for rest in rests if rest not in wanted and _stem(rest) in stems]:
        return f"has {some(extra)}{below}, which {backbone} has not"
    for name, full in names.items():
        found, expected = tensors[full], wanted[name]
        if found.shape != expected.shape:
            return f"{full} has the shape {tuple(found.shape)}, expected {tuple(expected.shape)} for {backbone}"
        if not _is_plain(found) or found.is_floating_point() != expected.is_floating_point():
            return f"{full} is a {_kind(found)}, expected a plain tensor of {expected.dtype} for {backbone}"
    return None


def _stem(name: str) -> str:
    """What a module is called, less its number: another `layerN` or `convN` means another architecture."""
    return name.partition(".")[0].rstrip("0123456789")


def _is_plain(value: Tensor) -> bool:
    import torch

    return value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"


def _kind(value: Tensor) -> str:
    import torch

    kinds = {"quantised": value.is_quantized, str(value.layout): value.layout != torch.strided, "empty": value.is_meta}
    return " ".join([*(kind for kind, is_so in kinds.items() if is_so), f"tensor of {value.dtype}"])


def _distinct(tensors: Mapping[str, Tensor], groups: Mapping[str, Mapping[str, str]], prefixes: Sequence[str]) -> list[str]:
    """Prefixes with different values: a module that is known by two names is saved twice."""
    import torch

    kept: list[str] = []
    for prefix in prefixes:
        names = groups[prefix]
        same = (all(torch.equal(tensors[groups[one][name]], tensors[names[name]]) for name in names) for one in kept)
        if not any(same):
            kept.append(prefix)
    return kept


def _misfit(
    tensors: Mapping[str, Tensor],
    groups: Mapping[str, Mapping[str, str]],
    faults: Mapping[str, str | None],
    wanted: Mapping[str, Tensor],
    backbone: str,
) -> str:
    """What is wrong with the prefix that comes closest; where none does, what the names are."""
    best = max(groups, key=lambda prefix: len(groups[prefix]), default=None)
    if best is not None and len(groups[best]) > len(wanted) // 4:
        return faults[best] or ""
    if not tensors:
        return "holds no named tensor, expected a state dict"
    starts = list(dict.fromkeys(name.partition(".")[0] + "." * ("." in name) for name in tensors))
    return f"its names begin with {some([repr(start) for start in starts])}; expected {some(list(wanted))} for {backbone}"


def _left_out(tensors: Mapping[str, Tensor], prefix: str, taken: set[str], classifier: str) -> Iterator[str]:
    """What else is in the file, a name for each branch; the classifier is no news."""
    told = set()
    path = prefix.split(".")
    for full in tensors:
        if full in taken or full.startswith(prefix + classifier) or full.endswith(COUNTER):
            continue
        parts = full.split(".")
        common = next((i for i, (ours, theirs) in enumerate(zip(path, parts, strict=False)) if ours != theirs), len(parts))
        branch = ".".join(parts[: common + 1])
        if branch not in told:
            told.add(branch)
            yield branch


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


# ---- the tensors


def read_tensors(content: bytes, where: str) -> dict[str, Tensor]:
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
    tensors: dict[str, Tensor] = {}
    for name, value in _flat(found, "", 0):
        if name in tensors:
            raise WeightsMismatch(f"{where}: holds {name} twice")
        tensors[name] = value
    return tensors


def _no_weights(content: bytes, where: str) -> str | None:
    """What the file is, where its first bytes say that it is something else."""
    starts: Mapping[bytes, str] = {
        b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; `git lfs pull` gets it",
        b"\x89HDF\r\n\x1a\n": "is an HDF5 file, as Keras writes them; expected a .safetensors or a .pth state dict",
        b"<": "is a web page; download the file itself",
    }
    found = [reason for start, reason in starts.items() if content[:64].lstrip().startswith(start)]
    return found[0] if found else _no_torch_archive(content, where) if content.startswith(b"PK\x03\x04") else None


def _no_torch_archive(content: bytes, where: str) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        return f"is a damaged archive ({error}); get it again"
    if any(re.fullmatch(r"[^/]+/(code/.*|constants\.pkl)", name) for name in names):
        call = f"torch.save(torch.jit.load({where!r}, map_location='cpu').state_dict(), 'weights.pth')"
        return (
            f'is a TorchScript archive, a program; where you trust it, `python -c "import torch; {call}"` keeps its weights'
        )
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


def _reason(error: Exception) -> str:
    if name := _refused(error):
        return (
            f"holds {name}, and only tensors, numbers and text are read, because other objects can run code; save the "
            f"weights alone with `torch.save(model.state_dict(), 'weights.pth')`"
        )
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).rpartition("WeightsUnpickler error: ")[2].strip()
    reason = text.splitlines()[0] if text else type(error).__name__
    return f"can't be read as plain weights ({reason}); expected a .safetensors or a .pth state dict"


def _flat(found: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of nested dictionaries; what is neither is bookkeeping and no weights."""
    import torch

    if depth > 8:  # a dictionary may hold itself
        return
    for key, value in found.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.", depth + 1)
        elif isinstance(value, torch.Tensor) and isinstance(key, str):
            yield _plain_name(name), value


def _plain_name(name: str) -> str:
    kept = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
    return _DENSENET_OLD.sub(r"\1\2", kept)
