"""What is said of a service when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns, volume

if TYPE_CHECKING:
    from headstart.serve.settings import Settings

OPEN = (
    "note: whoever can reach this address can have pictures labelled, read the heads' class names and the metrics, and "
    "keep the processor busy; --token-env NAME asks for a token, and only a proxy with TLS hides it on the way"
)


def started(url: str, described: Mapping[str, Any], settings: Settings) -> str:
    """Where it is, which heads it has, what it takes."""
    lines: list[list[object]] = [["head", "title", "classes", "accuracy", "calibrated"]]
    for head in described["heads"]:
        accuracy = head["accuracy"]
        known = "" if accuracy is None else f"{accuracy['value']:.2%} ({accuracy['by']})"
        lines.append([head["name"], head["title"], len(head["classes"]), known, "yes" if head["calibrated"] else "no"])
    limits, coverage = settings.limits, described["coverage"]
    sets = "no sets where none are asked for" if coverage is None else f"sets of {100 * coverage:.10g}% coverage"
    taken = (
        f"  a request: {volume(limits.body)}, {limits.pictures:,} pictures of {limits.pixels / 1e6:,.1f} megapixels, "
        f"{limits.body_s:g} s to send, {limits.answer_s:g} s to answer; {limits.requests:,} at once"
    )
    kept = "no picture is kept" if settings.keep is None else f"pictures and answers are kept in {settings.keep}"
    access = "with the token" if settings.token else "without a token"
    return "\n".join([f"serving at {url}, {access}; {sets}; {kept}", taken, columns(lines)])


def started_json(url: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a program: `url`, and what GET /v1/heads says."""
    return {"url": url, **described}
