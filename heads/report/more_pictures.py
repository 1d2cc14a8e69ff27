"""What a few-shot curve says, in lines and in a sentence, as the terminal and every form of the report show it."""

import dataclasses

from headstart.core.heads.curve.record import Curve

LITTLE = 0.01
"""A gain, as a fraction of 1, for which nobody would take twice as many pictures."""
_UNKNOWN = "Whether more pictures would help can't be told"
RULE = (
    "each point is the mean over heads that were chosen and trained on so many images alone, drawn with each class in its "
    "share"
)


@dataclasses.dataclass(frozen=True)
class Line:
    """A point in words: training images, mean accuracy with its standard error, its lowest and highest draw, the draws."""

    images: str
    accuracy: str
    error: str
    lowest: str
    highest: str
    draws: str


def lines(curve: Curve) -> list[Line]:
    """The points by rising numbers of images."""
    return [
        Line(
            f"{it.rows:,}",
            f"{it.mean:.2%}",
            f"± {100 * it.error:.2f}",
            f"{min(it.accuracies):.2%}",
            f"{max(it.accuracies):.2%}",
            f"{len(it.accuracies)}",
        )
        for it in curve.points
    ]


def verdict(curve: Curve) -> str:
    """Whether more pictures would help: `probably`, `hardly`, or `unknown` where the curve can't tell."""
    ends = curve.doubled()
    if ends is None:
        return "unknown"
    if ends[1] <= LITTLE:
        return "hardly"
    return "probably" if ends[0] > 0 else "unknown"


def sentence(curve: Curve) -> str:
    """Whether more pictures would help, and why, in one sentence."""
    ends, last = curve.doubled(), curve.points[-1].rows
    if curve.gain is None or ends is None:
        return f"{_UNKNOWN}: {last:,} training images are too few to leave half of them out."
    value, error = 100 * curve.gain.value, 100 * curve.gain.error
    seen = f"from {curve.points[-2].rows:,} to {last:,} training images the accuracy changed by {value:+.1f} points"
    seen += f" (standard error {error:.1f})"
    found, (low, high) = verdict(curve), (100 * end for end in ends)
    if found == "unknown":
        return f"{_UNKNOWN}: {seen}."
    more = f"{max(high, 0):.1f} points at most" if found == "hardly" else f"{low:.1f} to {high:.1f} points"
    return f"More pictures would {found} help: {seen}; if it goes on so, twice as many add {more}."
