"""What is said of a review when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import safe

if TYPE_CHECKING:
    from headstart.review.making import Review
    from headstart.serve.settings import Settings

OPEN = (
    "note: whoever can reach this address can see the pictures and decide on their labels; --token-env NAME asks for a "
    "token, and only a proxy with TLS hides it on the way"
)


def started(url: str, review: Review, settings: Settings) -> str:
    """Where it is, what there is to look at, where decisions go."""
    work, rows = review.work, review.found.rows
    found = work.queue.counts()
    counts = ", ".join(f"{one['count']:,} {one['kind']}" for one in found)
    access = "with the token" if settings.token else "without a token"
    stands = work.decisions.found
    lines = [
        f"review of {safe(rows.sets[0].manifest.dataset)} at {url}, {access}",
        f"  {len(work.contents):,} pictures: {counts}",
        f"  decisions are added to {work.decisions.path}, {len(stands.stands):,} stand; the pictures are not changed",
    ]
    if stands.torn:
        lines.append("  its last line was broken off, which nobody was told is kept; the next decision takes it away")
    return "\n".join(lines)


def started_json(url: str, review: Review) -> dict[str, Any]:
    """The same for a program."""
    work = review.work
    return {
        "url": url,
        "dataset": review.found.rows.sets[0].manifest.dataset,
        "models": review.found.rows.models,
        "pictures": len(work.contents),
        "kinds": {one["kind"]: one["count"] for one in work.queue.counts()},
        "corrections": str(work.decisions.path),
        "decided": len(work.decisions.found.stands),
        "command": review.command,
    }
