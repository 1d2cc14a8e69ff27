"""The review's page as one document."""

from __future__ import annotations

import functools

from headstart.serve import page as shared
from headstart.serve.page.document import Page, assembled, part

SHARED, SCRIPTS = ("dom", "service"), ("words", "state", "cards", "grid", "decide", "labels", "training", "start")
"""The parts of the script, in their order: those of the page of `headstart serve`, then its own."""


@functools.cache
def page() -> Page:
    """The page, the same for every review: what there is to look at it asks itself."""
    script = "".join(part(shared.__name__, f"{name}.js") for name in SHARED)
    script += "".join(part(__package__, f"{name}.js") for name in SCRIPTS)
    return assembled(part(__package__, "page.html"), part(__package__, "style.css"), script)
