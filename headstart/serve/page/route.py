"""The page over HTTP."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from headstart.serve.page.document import page
from headstart.serve.web.openapi import problems

PATHS: dict[str, Any] = {
    "/": {
        "get": {
            "operationId": "page",
            "summary": "A page that asks the service what is in a picture",
            "responses": {
                "200": {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}},
                **problems(),
            },
            "security": [],
        }
    }
}
"""Its part of the OpenAPI document."""


async def answer(request: Request) -> Response:
    """The page, which needs no token: it shows nothing before it has asked the service."""
    found = page()
    return HTMLResponse(found.html, headers={"content-security-policy": found.policy})
