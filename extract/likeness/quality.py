"""Whether something is wrong with a picture as a picture: too dark or bright, blank, blurred, tiny, or of an odd shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

DARK, BRIGHT, BLANK, BLURRED, TINY, ODD = "dark", "bright", "blank", "blurred", "tiny", "odd aspect ratio"
FAULTS = (BLANK, DARK, BRIGHT, BLURRED, TINY, ODD)

DECODED = 256
"""The longer side, in pixels, that pictures are decoded at to be measured."""
DARK_BELOW, BRIGHT_ABOVE = 0.32, 0.95
"""Of 0 to 1: dark is a picture whose 99th percentile of grey is lower, bright one whose 5th is higher (the defaults of
cleanvision's dark and light)."""
BLANK_BELOW = 2.0
"""Of 255: a picture whose grey has a smaller standard deviation shows nothing. JPEG makes less of an even area."""
ODD_BELOW = 0.35
"""The shorter side as a share of the longer (cleanvision's odd_aspect_ratio)."""
TINY_BELOW = 32
"""Pixels of the shorter side. It is tiny only where it is less than half of the set's median too."""
FAR = 3.5
"""Robust standard deviations (of 1.4826 median absolute deviations) below the set's median sharpness from which a picture
is blurred (Iglewicz and Hoaglin 1993, "How to detect and handle outliers")."""
ENOUGH = 20
"""Pictures from which there is a distribution of sharpness."""
_SIDE = 128


@dataclasses.dataclass(frozen=True)
class Measured:
    """One picture: its sides in pixels where the longer is less than `DECODED`, else in proportion; the 5th and the 99th
    percentile of its grey, 0 to 1; the standard deviation, of 255; the logarithm of the Laplacian's variance as a share of
    the grey's, on 128 x 128 pixels."""

    width: int
    height: int
    low: float
    high: float
    deviation: float
    sharpness: float


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong with the picture at a `place`, and its `score`: the grey, deviation, side, share or deviations."""

    place: int
    kind: str
    score: float


def measured(picture: Image.Image) -> Measured:
    """A picture whose longer side is at most `DECODED`."""
    grey = picture.convert("L")
    values = np.asarray(grey, dtype=np.float32)
    low, high = np.percentile(values, [5, 99]) / 255
    even = np.asarray(grey.convert("F").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))  # rounding would look sharp
    inner = even[1:-1, 1:-1]
    laplacian = even[:-2, 1:-1] + even[2:, 1:-1] + even[1:-1, :-2] + even[1:-1, 2:] - 4 * inner
    sharpness = float(np.log((laplacian.var() + 1e-3) / (even.var() + 1.0)))
    return Measured(*picture.size, float(low), float(high), float(values.std()), sharpness)


def faults(pictures: Sequence[Measured]) -> list[Fault]:
    """What is wrong with pictures of one set, kind by kind, the worst first."""
    found = [fault for place, one in enumerate(pictures) for fault in _own(place, one)]
    blank = {fault.place for fault in found if fault.kind == BLANK}
    found += _blurred(pictures, blank) + _tiny(pictures)
    return sorted(found, key=lambda one: (FAULTS.index(one.kind), -one.score if one.kind == BRIGHT else one.score))


def _own(place: int, one: Measured) -> list[Fault]:
    """What a picture shows alone. A blank one is not called dark or bright as well."""
    found, share = list[Fault](), min(one.width, one.height) / max(one.width, one.height)
    if one.deviation < BLANK_BELOW:
        found.append(Fault(place, BLANK, one.deviation))
    elif one.high < DARK_BELOW:
        found.append(Fault(place, DARK, one.high))
    elif one.low > BRIGHT_ABOVE:
        found.append(Fault(place, BRIGHT, one.low))
    return [*found, Fault(place, ODD, share)] if share < ODD_BELOW else found


def _blurred(pictures: Sequence[Measured], blank: set[int]) -> list[Fault]:
    own = [place for place in range(len(pictures)) if place not in blank]
    if len(own) < ENOUGH:
        return []
    values: npt.NDArray[np.float64] = np.array([pictures[place].sharpness for place in own])
    apart = values - np.median(values)
    spread = 1.4826 * np.median(np.abs(apart))
    if spread < 1e-6:
        return []
    return [Fault(own[i], BLURRED, float(apart[i] / spread)) for i in np.flatnonzero(apart < -FAR * spread).tolist()]


def _tiny(pictures: Sequence[Measured]) -> list[Fault]:
    """Compared with the set's own median, since a set of small pictures is no fault."""
    if not pictures:
        return []
    usual = float(np.median([min(one.width, one.height) for one in pictures]))
    sides = [(place, min(one.width, one.height), max(one.width, one.height)) for place, one in enumerate(pictures)]
    return [
        Fault(place, TINY, float(short))
        for place, short, longer in sides
        if short < min(TINY_BELOW, usual / 2) and longer < DECODED
    ]
