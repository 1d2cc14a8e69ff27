"""What a browser asks for, checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from headstart.core.cache.corrections import ACTIONS, LABEL
from headstart.serve.web.problems import Problem

MOST_LABEL = 60
"""Characters of a new label: longer ones leave no room in tables."""
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclasses.dataclass(frozen=True)
class Asked:
    """A decision on a picture, by somebody who saw its state `version`."""

    picture: str
    action: str
    label: str
    version: str


def decision_of(body: Any, classes: Collection[str] = ()) -> Asked:
    """The decision in a JSON body. A label that is none of the data set's `classes` must be one that reads well. Raises
    Problem 422."""
    if not isinstance(body, dict):
        raise Problem(422, "the body is no JSON object; expected picture, action, label and version")
    known = ("picture", "action", "label", "version")
    if unknown := sorted(set(body) - set(known)):
        raise Problem(422, f"{unknown[0][:80]!r} is not known; expected {', '.join(known)}")
    found = Asked(*(_text(body, name) for name in known))
    if found.action not in ACTIONS:
        raise Problem(422, f"action is {found.action[:80]!r}, expected one of {', '.join(ACTIONS)}")
    if (found.action == LABEL) != bool(found.label):
        raise Problem(422, f"label is {found.label[:80]!r}, which does not go with action {found.action}")
    if found.label not in classes:
        _check(found.label)
    return found


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "" if name == "label" else None)
    if not isinstance(value, str):
        raise Problem(422, f"{name} is {str(value)[:80]!r}, expected text")
    return value


def _check(label: str) -> None:
    if len(label) > MOST_LABEL:
        raise Problem(422, f"the label has {len(label):,} characters, expected {MOST_LABEL} at most")
    if label != label.strip() or not label.isprintable():
        raise Problem(422, f"label is {label[:80]!r}, expected printable text without blanks at its ends")


def number_of(query: Mapping[str, str], name: str, default: int) -> int:
    """A number from 0 on in a query. Raises Problem 422."""
    text = query.get(name, str(default))
    if not _NUMBER.fullmatch(text):
        raise Problem(422, f"{name} is {text[:80]!r}, expected a whole number from 0 on")
    return int(text)
