"""Which of a file's named tensors a backbone needs: those below the one prefix below which all of them are found.

Nested dictionaries make one name: {"model": {"module.conv1.weight": …}} holds `model.module.conv1.weight`, and the prefix
is `model.module.`. It is found from the names alone, whatever words a program puts before them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.core.cache.errors import WeightsMismatch

if TYPE_CHECKING:
    from torch import Tensor

COUNTER = "num_batches_tracked"
"""A counter of BatchNorm that `eval()` doesn't read, and that old checkpoints lack."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A backbone's parameters and buffers by its own names, the prefix they had in the file, and what else is there."""

    state: dict[str, Tensor]
    prefix: str
    left_out: tuple[str, ...]


def choose(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    backbone: str,
    classifier: str | tuple[str, ...],
    where: str,
    member: str | None,
) -> Chosen:
    """The tensors that `backbone` needs: all of `wanted`, by name and shape, below one prefix.

    `member` says below which one where several fit. What is below the prefix and not `wanted` must not belong to another
    architecture; names that begin with `classifier` are expected there. Raises WeightsMismatch.
    """
    groups = _groups(tensors, wanted)
    left = _several(classifier) if classifier else ()
    faults = {prefix: _fault(tensors, prefix, names, wanted, backbone, left) for prefix, names in groups.items()}
    fitting = _distinct(tensors, groups, [prefix for prefix, fault in faults.items() if fault is None])
    members = ", ".join(f"#{_member(one)}" for one in fitting) or "none"
    if member is not None:
        prefix = f"{member}." if member else ""
        unknown = f"no parameter of {backbone} has a name that begins with {prefix!r}"
        reason = faults.get(prefix, unknown)
        if reason is not None:
            fits = f"what fits {backbone} in the file: {members}"
            whole = f"the file as a whole fits {backbone}: leave #{member} out"
            raise WeightsMismatch(f"{where}#{member}: {reason}; {whole if fitting == [''] else fits}")
    elif len(fitting) == 1:
        (prefix,) = fitting
    elif fitting:
        example = f"--weights '{where}#{_member(fitting[0])}'"
        raise WeightsMismatch(f"{where}: several weights in it fit {backbone}: {members}; say which, as in {example}")
    else:
        raise WeightsMismatch(f"{where}: {_misfit(tensors, groups, faults, wanted, backbone)}")
    state = {name: tensors[full] for name, full in groups[prefix].items()}
    return Chosen(state, prefix, tuple(_left_out(tensors, prefix, set(groups[prefix].values()), classifier)))


def _several(classifier: str | tuple[str, ...]) -> tuple[str, ...]:
    return (classifier,) if isinstance(classifier, str) else classifier


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
    tensors: Mapping[str, Tensor],
    prefix: str,
    names: Mapping[str, str],
    wanted: Mapping[str, Tensor],
    backbone: str,
    left: tuple[str, ...],
) -> str | None:
    """Why the tensors below a prefix are not the backbone's; None where they are."""
    below = f" below {prefix!r}" if prefix else ""
    if missing := [name for name in wanted if name not in names and not name.endswith(COUNTER)]:
        return f"lacks {some(missing)} of {backbone}{below}"
    stems = {_stem(name) for name in wanted}
    rests = [full.removeprefix(prefix) for full in tensors if full.startswith(prefix)]
    rests = [rest for rest in rests if not rest.startswith(left)]  # a classifier may lie beside layers that are wanted
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

    kinds = {"quantised": value.is_quantized, str(value.layout): value.layout != torch.strided, "meta": value.is_meta}
    return " ".join([*(kind for kind, is_so in kinds.items() if is_so), f"tensor of {value.dtype}"])


def _distinct(tensors: Mapping[str, Tensor], groups: Mapping[str, Mapping[str, str]], prefixes: Sequence[str]) -> list[str]:
    """Prefixes with different values: a module that is known by two names is saved twice."""
    kept: list[str] = []
    for prefix in prefixes:
        names = groups[prefix]
        if not any(
            all(_equal(tensors[groups[one].get(name, full)], tensors[full]) for name, full in names.items()) for one in kept
        ):
            kept.append(prefix)
    return kept


def _equal(one: Tensor, other: Tensor) -> bool:
    import torch

    return one is other or (one.dtype == other.dtype and torch.equal(one, other))


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


def _left_out(
    tensors: Mapping[str, Tensor], prefix: str, taken: set[str], classifier: str | tuple[str, ...]
) -> Iterator[str]:
    """What else is in the file, a name for each branch; the classifier is no news."""
    told = set()
    path = prefix.split(".")
    expected = tuple(f"{prefix}{one}" for one in _several(classifier))
    for full in tensors:
        if full in taken or full.endswith(COUNTER) or full.startswith(expected):
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
