"""A request's pictures as JSON: what each head says of each, or the problem with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.core.cache.errors import ImageTooLarge
from headstart.serve.engine.asked import Answer, Picture
from headstart.serve.heads import Served
from headstart.serve.web.problems import Problem


def problem_of(picture: Picture) -> Problem | None:
    """What is wrong with a picture that has no answers."""
    if picture.error is None:
        return None
    said = str(picture.error).removeprefix(f"{picture.name or 'the picture'}: ")
    return Problem(413 if isinstance(picture.error, ImageTooLarge) else 422, f"the picture: {said}")


def answered(pictures: Sequence[Picture], heads: Sequence[Served]) -> dict[str, Any]:
    """The answer to a request."""
    return {"pictures": [_picture(picture, heads) for picture in pictures]}


def _picture(picture: Picture, heads: Sequence[Served]) -> dict[str, Any]:
    problem = problem_of(picture)
    return {
        "name": picture.name,
        "sha256": picture.sha256,
        "width": picture.width or None,
        "height": picture.height or None,
        "heads": [_head(head, picture.answers[head.name]) for head in heads if head.name in picture.answers],
        "problem": None if problem is None else problem.to_json(),
    }


def _head(head: Served, answer: Answer) -> dict[str, Any]:
    possible = answer.possible
    return {
        "head": head.name,
        "title": head.title,
        "digest": head.digest,
        "labels": [{"label": label, "share": share} for label, share in answer.labels],
        "set": None if possible is None else list(possible.names),
        "unsure": None if possible is None else possible.unsure,
        "neighbours": answer.nearest,
    }
