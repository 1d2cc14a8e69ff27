"""The pictures of training rows over HTTP: small, and only those that a head learned from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headstart.core.cache.errors import HeadstartError
from headstart.serve.neighbours.neighbourhood import ADDRESS, Neighbourhood
from headstart.serve.web.bodies import Hand
from headstart.serve.web.openapi import problems
from headstart.serve.web.problems import Problem

AT_ONCE = 2
"""Thumbnails that are made at once: labels come first."""
KEPT_S = 3600
"""Seconds that a browser may show one again without asking."""
_ROW = re.compile(r"[0-9]{1,12}")
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_PART = {"type": "string"}
"""Any text may stand in the path: what is no digest or no row names no picture, which is 404."""

PATHS: dict[str, Any] = {
    ADDRESS: {
        "get": {
            "operationId": "thumbnail",
            "summary": "A picture that a head learned from, small; predictions with neighbours say which there are",
            "parameters": [
                {"name": "digest", "in": "path", "required": True, "schema": _PART},
                {"name": "row", "in": "path", "required": True, "schema": _PART},
            ],
            "responses": {
                "200": {"description": "The picture", "content": {"image/jpeg": _PICTURE, "image/png": _PICTURE}},
                **problems(404, 429),
            },
        }
    }
}
"""Its part of the OpenAPI document."""


class Thumbnails:
    """Answers `ADDRESS`, from the neighbourhoods by their heads' digests."""

    def __init__(self, neighbourhoods: Mapping[str, Neighbourhood], hand: Hand) -> None:
        self._neighbourhoods, self._hand = neighbourhoods, hand
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """A PNG or JPEG file. Raises Problem 404 where there is none, 429 where too much is in hand."""
        digest, row = request.path_params["digest"], request.path_params["row"]
        found = self._neighbourhoods.get(digest)
        if found is None or not _ROW.fullmatch(row):
            raise Problem(404, "no such training picture; POST /v1/predict?neighbours=6 says where there are some")
        with self._hand.taking():
            async with self._turns:
                try:
                    content = await asyncio.to_thread(found.thumbnail, int(row))
                except (HeadstartError, OSError):  # whose words have paths of this machine
                    raise Problem(404, "the training picture is not there, or another one by now") from None
        kind = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(content, media_type=kind, headers={"cache-control": f"private, max-age={KEPT_S}"})
