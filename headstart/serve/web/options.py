"""What a request asks for: options of the query or of a JSON body, checked, and its pictures."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.files import parse_json
from headstart.core.heads.predict import Wanted
from headstart.serve.engine.asked import Picture, Wishes
from headstart.serve.heads import Served
from headstart.serve.settings import DEFAULT_LABELS, MOST_LABELS, MOST_NAME, MOST_NEIGHBOURS, Limits
from headstart.serve.web.problems import Problem

QUERY = ("topk", "coverage", "head", "neighbours")
FIELDS = ("pictures", "topk", "coverage", "heads", "neighbours")
PICTURE_FIELDS = ("name", "data")

_SPACE = re.compile(r"\s")
_WHOLE = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{0,9}\.?[0-9]{1,30}([eE][-+]?[0-9]{1,3})?")


@dataclasses.dataclass(frozen=True)
class Offer:
    """What can be asked for: the heads, and the coverage where none is named."""

    heads: Sequence[Served]
    coverage: float | None


def of_query(query: QueryParams, offer: Offer) -> dict[str, Any]:
    """The options of a query, by the names of a JSON body's fields. Raises Problem 400."""
    found: dict[str, Any] = {}
    for name in query:
        if name not in QUERY:
            raise Problem(400, f"query: {_shown(name)} is no parameter, expected {', '.join(QUERY)}")
        if name != "head" and len(query.getlist(name)) > 1:
            raise Problem(400, f"query: {name} is there twice")
    for name in ("topk", "neighbours"):
        if name in query:
            if not _WHOLE.fullmatch(query[name]):
                raise Problem(400, f"query: {name} is {_shown(query[name])}, expected a whole number that is not negative")
            found[name] = int(query[name])
    if "coverage" in query:
        if not _NUMBER.fullmatch(query["coverage"]):
            raise Problem(400, f"query: coverage is {_shown(query['coverage'])}, expected a number above 0 and below 1")
        found["coverage"] = float(query["coverage"])
    if "head" in query:
        found["heads"] = query.getlist("head")
    return checked(found, offer, 400, "query")


def of_json(body: bytes, limits: Limits, offer: Offer) -> tuple[dict[str, Any], list[Picture]]:
    """The options and the pictures of a JSON body. Raises Problem."""
    try:
        found = parse_json(body)
    except ValueError as error:  # what is no UTF-8 is one, too
        raise Problem(400, f"the body is no JSON: {_first_line(error)}") from None
    if not isinstance(found, dict):
        raise Problem(422, f"the body is {_kind(found)}, expected an object with pictures")
    _only(found, FIELDS, "the body")
    pictures = found.pop("pictures", None)
    if not isinstance(pictures, list) or not pictures:
        raise Problem(422, f"pictures: {_kind(pictures)} found, expected a list of one or more")
    if len(pictures) > limits.pictures:
        raise Problem(413, f"pictures: {len(pictures):,} found, the limit of a request is {limits.pictures:,}")
    options = checked(found, offer, 422, "the body")
    return options, [_picture(one, place) for place, one in enumerate(pictures)]


def _picture(found: Any, place: int) -> Picture:
    where = f"pictures[{place}]"
    if not isinstance(found, dict):
        raise Problem(422, f"{where}: {_kind(found)} found, expected an object with data")
    _only(found, PICTURE_FIELDS, where)
    name, data = found.get("name"), found.get("data")
    if name is not None and not (isinstance(name, str) and len(name) <= MOST_NAME):
        raise Problem(
            422, f"{where}.name: {_kind(name)} found, expected a text of at most {MOST_NAME:,} characters, or null"
        )
    if not isinstance(data, str):
        raise Problem(422, f"{where}.data: {_kind(data)} found, expected a picture's bytes as base64")
    try:
        return Picture(base64.b64decode(data, validate=True), name)
    except (binascii.Error, ValueError) as error:  # ValueError: characters beyond ASCII
        raise Problem(422, f"{where}.data is no base64: {_first_line(error)}{_hint(data)}") from None


def _hint(data: str) -> str:
    """What to send instead, where others often send this."""
    if data.startswith("data:"):
        return "; leave out what stands before the comma of a data URL, and the comma"
    if _SPACE.search(data):
        return "; leave out line breaks and spaces, as `base64 -w0 FILE` and Python's base64.b64encode do"
    if "-" in data or "_" in data:
        return "; send + and / for - and _, which are base64 for URLs"
    return ""


def checked(found: Mapping[str, Any], offer: Offer, status: int, where: str) -> dict[str, Any]:
    """The options as they are, where each has a value that it can have. Raises Problem of that status."""
    kept = {name: value for name, value in found.items() if value is not None or name not in ("coverage", "heads")}
    for name, least, most in (("topk", 1, MOST_LABELS), ("neighbours", 0, MOST_NEIGHBOURS)):
        value = kept.get(name, least)
        if isinstance(value, float) and value.is_integer():  # JSON Schema takes 3.0 for a whole number
            value = kept[name] = int(value)
        if type(value) is not int or not least <= value <= most:
            raise Problem(status, f"{where}: {name} is {_shown(value)}, expected a whole number from {least} to {most:,}")
    coverage = kept.get("coverage", 0.5)
    if type(coverage) not in (int, float) or not 0 < coverage < 1:
        raise Problem(status, f"{where}: coverage is {_shown(coverage)}, expected a number above 0 and below 1")
    if "heads" in kept:
        _check_heads(kept["heads"], offer, status, where)
    if kept.get("neighbours"):
        _check_neighbours(offer.heads)
    return kept


def _check_neighbours(heads: Sequence[Served]) -> None:
    if all(head.nearest is None for head in heads):
        raise Problem(422, "neighbours: the training pictures are not at hand; GET /v1/heads says of which heads they are")


def _check_heads(found: Any, offer: Offer, status: int, where: str) -> None:
    known = [head.name for head in offer.heads]
    if not isinstance(found, list) or not found:
        raise Problem(status, f"{where}: heads is {_kind(found)}, expected a list of one or more names")
    for name in found:
        if name not in known:
            raise Problem(status, f"{where}: {_shown(name)} is no head of this service; GET /v1/heads lists them")
    if len(set(found)) < len(found):
        raise Problem(status, f"{where}: a head is named twice")


def wishes_of(options: Mapping[str, Any], offer: Offer) -> Wishes:
    """What is asked for in all. Raises Problem 422 for what a head can't give."""
    names = options.get("heads") or [head.name for head in offer.heads]
    heads = [head for head in offer.heads if head.name in names]
    coverage = options.get("coverage")
    if coverage is not None:
        for head in heads:
            if not head.calibrated:
                raise Problem(422, f"coverage: the head {head.name} has no calibration, which prediction sets need")
    elif offer.coverage is not None:
        coverage = offer.coverage
    neighbours = options.get("neighbours", 0)
    if neighbours:
        _check_neighbours(heads)
    try:
        wanted = Wanted(options.get("topk", DEFAULT_LABELS), None if coverage is None else float(coverage))
    except ArgumentInvalid as error:
        raise Problem(422, str(error)) from None
    return Wishes(tuple(head.name for head in heads), wanted, neighbours)


def _only(found: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise Problem(422, f"{where}: {_shown(name)} is no field, expected {', '.join(known)}")


def _kind(value: Any) -> str:
    """What JSON calls it."""
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    names = {dict: "an object", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")


def _shown(value: Any) -> str:
    """A value in a sentence; of a long one its beginning."""
    if isinstance(value, dict | list):
        return _kind(value)
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
