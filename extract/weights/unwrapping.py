"""The named tensors of nested dictionaries, and what was taken off on the way to a backbone's own names.

Programs put a state dict below a key (`state_dict`, `model`, `model_state_dict`, `ema`, `teacher`, or a word of their own),
beside an optimiser and an epoch, and words before its names (`module.`, `model.`, `backbone.`, `encoder.`, `_orig_mod.`).
No list of words decides: what is taken off is whatever stands before the names, and only where all names are there then.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from headstart.core.cache.errors import WeightsMismatch

if TYPE_CHECKING:
    from torch import Tensor

_MODULES = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that torch.compile, FSDP and activation checkpointing add, at any depth."""
_DENSENET_OLD = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
"""torchvision's published DenseNet files still carry names from before 0.3: norm.1 for norm1."""
_DEEPEST = 8
"""Dictionaries around a tensor; what lies deeper is no state dict of anybody's."""
_MOST = 1_000_000
"""Entries of a file, each counted as often as it is reached: a dictionary may be in many others."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tensor is in a file: the keys of the dictionaries around it, and its own key in the last of them."""

    keys: tuple[str, ...]
    key: str


@dataclasses.dataclass(frozen=True)
class Unwrapped:
    """All tensors of a file by one name each, the keys joined by dots and without what torch puts in; and their places."""

    tensors: dict[str, Tensor]
    places: dict[str, Place]


def unwrap(found: Mapping[Any, Any], where: str) -> Unwrapped:
    """The tensors in nested dictionaries, which may hold themselves. What else is among them is bookkeeping.

    Raises WeightsMismatch for one name twice, and for more entries than any checkpoint has.
    """
    unwrapped = Unwrapped({}, {})
    for count, (place, value) in enumerate(_walk(found, (), ())):
        if count >= _MOST:
            raise WeightsMismatch(f"{where}: has more than {_MOST:,} entries, expected a state dict")
        if place is None:
            continue
        name = plain_name(".".join((*place.keys, place.key)))
        if name in unwrapped.tensors:
            raise WeightsMismatch(f"{where}: holds {name} twice")
        unwrapped.tensors[name] = value
        unwrapped.places[name] = place
    return unwrapped


def _walk(found: Mapping[Any, Any], keys: tuple[str, ...], around: tuple[int, ...]) -> Iterator[tuple[Place | None, Any]]:
    """Every entry; the place is None for what is no named tensor."""
    import torch

    around = (*around, id(found))
    for key, value in found.items():
        is_tensor = isinstance(value, torch.Tensor) and isinstance(key, str)
        yield Place(keys, key) if is_tensor else None, value
        if isinstance(value, Mapping) and len(around) <= _DEEPEST and id(value) not in around:
            yield from _walk(value, (*keys, str(key)), around)


def plain_name(name: str) -> str:
    """A name without what torch puts into it, and as it has been since torchvision 0.3."""
    kept = ".".join(part for part in name.split(".") if part not in _MODULES)
    return _DENSENET_OLD.sub(r"\1\2", kept)


def taken_off(places: Iterable[tuple[str, Place]], prefix: str) -> str:
    """What was unwrapped and stripped, in words, from pairs of a backbone's name and its tensor's place; "" for nothing.

    `prefix` is what stood before the backbone's names once the keys were joined.
    """
    wrappers, before, inside = dict[str, None](), dict[str, None](), dict[str, None]()
    for name, place in places:
        around = _around(place.keys, prefix)
        wrappers.update(dict.fromkeys([".".join(around)] if around else []))
        parts = [part for key in (*place.keys[len(around) :], place.key) for part in key.split(".")]
        lead = _lead(parts, len(plain_name(".".join(parts)).split(".")) - len(name.split(".")))
        before.update(dict.fromkeys([".".join(parts[:lead]) + "."] if lead else []))
        inside.update(dict.fromkeys(part for part in parts[lead:] if part in _MODULES))
    unwrapped = f"unwrapped {_quoted(wrappers)}" if wrappers else ""
    stripped = f"stripped {_quoted(before)} from the names" if before else ""
    within = f"left {_quoted(inside)} out of the names" if inside else ""
    return ", ".join(filter(None, (unwrapped, stripped, within)))


def _around(keys: tuple[str, ...], prefix: str) -> tuple[str, ...]:
    """The keys that make up the prefix or its beginning; the rest are parts of the backbone's own names."""
    for length in range(len(keys), 0, -1):
        joined = plain_name(".".join(keys[:length]))
        if not joined or prefix.startswith(f"{joined}."):
            return keys[:length]
    return ()


def _lead(parts: list[str], plain: int) -> int:
    """How many parts stand before a backbone's name: `plain` ones, and torch's among and behind them."""
    lead = 0
    while lead < len(parts) and (parts[lead] in _MODULES or plain > 0):
        plain -= parts[lead] not in _MODULES
        lead += 1
    return lead


def _quoted(words: Iterable[str]) -> str:
    return " and ".join(repr(word) for word in words)
