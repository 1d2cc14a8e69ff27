"""The page over HTTP."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from headstart.serve.page.document import page


async def answer(request: Request) -> Response:
    """The page, which needs no token: it shows nothing before it has asked the service."""
    found = page()
    return HTMLResponse(found.html, headers={"content-security-policy": found.policy})
