"""What is said of backbones that were compared on a sample: a table, which one to take, and what to do next."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns, safe

if TYPE_CHECKING:
    from headstart.choosing.candidate import Candidate, Speed
    from headstart.choosing.comparison import Chosen
    from headstart.core.heads.statistics.compare import Comparison

HEADING = ("", "model", "accuracy", "95 % interval", "images/s", "features", "parameters", "fp32", "GFLOPs")


def chosen(found: Chosen) -> str:
    """The candidates, the best first, what is recommended and why, what must be said beside it, and the next command."""
    lines = [[*HEADING, "less than the best" if found.recommendation.against else ""]]
    lines += [_line(found, candidate) for candidate in found.candidates]
    remarks = [text for text in (_speeds(found), _paired(found)) if text]
    return "\n".join(
        [
            *(_sampled(found), "", columns(lines), "", recommendation(found), *remarks),
            *(f"note: {text}" for text in found.notes),
            f"Next, all images; those of the sample are not computed again:\n    {next_command(found)}",
        ]
    )


def _sampled(found: Chosen) -> str:
    """On which images the backbones were compared, and how."""
    which = "" if found.split == "all" else f"{found.split} "
    share = (
        f"the first {found.images:,} of {found.split_rows:,}"
        if found.images < found.split_rows
        else f"all {found.images:,}"
    )
    unread = f", {found.images - found.rows:,} of them unreadable" if found.rows < found.images else ""
    how = f"the auto head, cross-validated in {found.folds} folds"
    return f"{safe(found.dataset)}: {share} {which}images{unread}, {found.classes:,} classes; {how}"


def _line(found: Chosen, one: Candidate) -> list[str]:
    low, high = one.score.interval
    against = {comparison.second: comparison for comparison in found.recommendation.against}
    return [
        "*" if one.model == found.recommendation.recommended else "",
        one.model,
        f"{one.score.accuracy:>8.2%}",
        f"{low:.1%} to {high:.1%}",
        _rate(one.speed, found.rows),
        f"{one.manifest.feature_dim:>8,}",
        f"{one.parameters / 1e6:.1f} M".rjust(10),
        f"{one.nbytes / 1e6:,.0f} MB",
        f"{one.flops / 1e9:6.1f}",
        _less(against[one.model]) if one.model in against else "",
    ]


def _rate(speed: Speed | None, rows: int) -> str:
    if speed is None:
        return "unknown"
    return f"{speed.images_per_s:.1f}" + (" (1)" if speed.recorded else " (2)" if speed.images < rows else "")


def _less(found: Comparison) -> str:
    """By how many points, with the interval and the p-value."""
    paired = found.paired
    low, high = (100 * end for end in paired.interval)
    return f"{100 * paired.difference:.1f} points ({low:.1f} to {high:.1f}), {_p(found)}"


def _p(found: Comparison) -> str:
    return "p < 0.001" if found.adjusted < 0.001 else f"p = {found.adjusted:.3f}"


def recommendation(found: Chosen) -> str:
    """Which one to take, and whether the difference to the others may be chance."""
    advice = found.recommendation
    best, take, against = advice.best, advice.recommended, advice.against
    if not against:
        return f"{best} was compared with nothing: name several models to choose between them."
    if len(advice.tied) == 1:
        nearest = (
            f"{best} is better by {100 * against[0].paired.difference:.1f} points than {against[0].second}, the nearest"
        )
        return f"Recommended: {best}. {nearest}; chance does not explain that ({_p(against[0])})."
    *others, last = advice.tied
    may_be = f"what tells {', '.join(others)} and {last} apart may be chance on {found.rows:,} images"
    less = "time" if found.by_speed else "operations"
    if take == best:
        shared = against[0].paired.difference == 0
        leads = f"none is more accurate than {best}" if shared else f"{best} has the highest accuracy"
        why = f"{may_be}; {leads}, and none of the others takes clearly less {less} for an image"
    else:
        why = f"{may_be}, and {take} takes clearly less {less} for an image"
    more = " A larger --sample tells smaller differences." if found.images < found.split_rows else ""
    return f"Recommended: {take}; {why}.{more}"


def _paired(found: Chosen) -> str:
    """How the differences were tested; nothing where there are none."""
    pairs = found.recommendation.pairs
    if not pairs:
        return ""
    corrected = "" if pairs == 1 else f", corrected by Holm for the {pairs} pairs of models"
    return f"p: McNemar's test on the same images{corrected}. The intervals are of each figure alone."


def _speeds(found: Chosen) -> str:
    """Where speeds come from that this command did not measure on the whole sample."""
    speeds = [one.speed for one in found.candidates]
    told = []
    if any(speed is not None and speed.recorded for speed in speeds):
        told.append("(1) as recorded when the features were made")
    if any(speed is not None and not speed.recorded and speed.images < found.rows for speed in speeds):
        told.append("(2) of the images that were not there yet")
    if None in speeds:
        told.append("unknown: the features were there, and no time was recorded for all of them")
    return f"images/s: {'; '.join(told)}." if told else ""


def next_command(found: Chosen) -> str:
    """The command that makes the features of all images."""
    return shlex.join(["headstart", "extract", *found.next_options])


def chosen_json(found: Chosen) -> dict[str, Any]:
    """The same as JSON values."""
    advice = found.recommendation
    names = ("dataset", "split", "classes", "images", "rows", "split_rows", "folds")
    return {
        **{name: getattr(found, name) for name in names},
        "recommended": advice.recommended,
        "best": advice.best,
        "tied": list(advice.tied),
        "cheapest_by": "images/s" if found.by_speed else "flops",
        "models": [_candidate_json(one) for one in found.candidates],
        "pairs_compared": advice.pairs,
        "against_best": [{**dataclasses.asdict(one), "may_be_chance": one.second in advice.tied} for one in advice.against],
        "notes": list(found.notes),
        "next": next_command(found),
    }


def _candidate_json(one: Candidate) -> dict[str, Any]:
    return {
        "model": one.model,
        "accuracy": one.score.accuracy,
        "interval": list(one.score.interval),
        "correct": one.score.correct,
        "speed": None if one.speed is None else dataclasses.asdict(one.speed),
        "feature_dim": one.manifest.feature_dim,
        "parameters": one.parameters,
        "fp32_bytes": one.nbytes,
        "flops": one.flops,
        "key": one.key.feature_key.to_json(),
        "folder": one.folder,
    }
