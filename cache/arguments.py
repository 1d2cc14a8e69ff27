"""Checks of what a caller gives by name: each returns the value as it is used, or raises one error that names it."""

import os
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
