"""Checks of what a caller gives by name: each returns the value as it is used, or raises one error that names it."""

import os
import re
from collections.abc import Sequence

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.objects import ObjectPath


def whole(name: str, value: object, least: int) -> int:
    """A whole number from `least` on; numpy's integers too. Raises ArgumentInvalid."""
    expected = f"{name} is {value!r}, expected a whole number from {least} on"
    try:
        number = int(value.__index__())  # type: ignore[attr-defined]  # what has none is refused below
    except (AttributeError, TypeError):
        raise ArgumentInvalid(expected) from None
    if isinstance(value, bool) or number < least:
        raise ArgumentInvalid(expected)
    return number


def choice(name: str, value: object, known: Sequence[str]) -> str:
    """One of the known words. Raises ArgumentInvalid."""
    if not isinstance(value, str) or value not in known:
        raise ArgumentInvalid(f"{name} is {value!r}, expected one of {', '.join(known)}")
    return value


def text(name: str, value: object) -> str:
    """A text that is not empty, or a path, as text. Raises ArgumentInvalid."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else str(value) if isinstance(value, ObjectPath) else value
    if not isinstance(found, str) or not found:
        raise ArgumentInvalid(f"{name} is {value!r}, expected a text")
    return found


def flag(name: str, value: object) -> bool:
    """True or False. Raises ArgumentInvalid."""
    if not isinstance(value, bool):
        raise ArgumentInvalid(f"{name} is {value!r}, expected True or False")
    return value


_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def nbytes(name: str, value: object) -> int:
    """A number of bytes, 1 or more: a whole number, or a text such as 200MB or 1.5GiB. Raises ArgumentInvalid."""
    expected = f"{name} is {value!r}, expected a whole number of bytes, or a size such as 200MB or 1.5GiB"
    if not isinstance(value, str):
        try:
            return whole(name, value, 1)
        except ArgumentInvalid:
            raise ArgumentInvalid(expected) from None
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})", value.strip(), re.ASCII)
    unit = None if match is None else _UNITS.get(match[2].upper() or "B")
    if match is None or unit is None or (found := int(float(match[1]) * unit)) < 1:
        raise ArgumentInvalid(expected)
    return found
