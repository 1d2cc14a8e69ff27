"""The service's page as one document that asks for nothing but the service's answers, and the policy that holds it so."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import importlib.resources

from headstart.core.heads.report.page.style import BASE

SCRIPTS = ("words", "dom", "service", "facts", "answer", "picture", "start")
"""The parts of the script, in their order: each knows those before it."""


@dataclasses.dataclass(frozen=True)
class Page:
    """`html` is the whole document. `policy` is the Content-Security-Policy to send with it: what runs and how it looks is
    what stands in the page, told by its SHA-256; requests go to the service and nowhere else; no text becomes HTML."""

    html: str
    policy: str


@functools.cache
def page() -> Page:
    """The page, the same for every service: what its heads are it asks itself."""
    script = "".join(part(__package__, f"{name}.js") for name in SCRIPTS)
    return assembled(part(__package__, "page.html"), part(__package__, "style.css"), script)


def assembled(html: str, style: str, script: str) -> Page:
    """A page of its own style, beside the one of all pages, and script, which stand where `html` says so."""
    style, script = BASE + style, f'"use strict";\n(() => {{\n{script}}})();\n'
    rules = (
        "default-src 'none'",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return Page(html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script), "; ".join(rules))


def part(package: str | None, name: str) -> str:
    """A file that lies beside a package's modules."""
    assert package is not None
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A text that stands in the page, as a policy names it (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
