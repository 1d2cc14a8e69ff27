"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

from headstart.serve.settings import Settings
from headstart.serve.web.options import Offer


def document(settings: Settings, offer: Offer) -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {"openapi": "3.1.0", "info": {"title": "headstart serve", "version": "1"}, "paths": {}}
