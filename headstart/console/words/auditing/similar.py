"""The pictures most like some."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns, safe

if TYPE_CHECKING:
    from headstart.auditing.similar import Asked, Similar


def found(said: Similar) -> str:
    """A table for each picture, the most alike first."""
    head = f"{said.model} on {safe(said.dataset)}: the most alike of {said.rows:,} pictures, by cosine"
    return "\n".join([head, *(_one(one) for one in said.asked)])


def found_json(said: Similar) -> dict[str, Any]:
    """The same as JSON values."""
    return dataclasses.asdict(said)


def _one(asked: Asked) -> str:
    if asked.error is not None:
        return f"{safe(asked.picture)}: {safe(asked.error)}"
    lines = [[f"{one.cosine:.4f}", one.label or "no label", one.split, one.id] for one in asked.like]
    table = columns([["cosine", "label", "split", "picture"], *lines])
    return "\n".join([safe(asked.picture), *(f"  {line}" for line in table.splitlines())])
