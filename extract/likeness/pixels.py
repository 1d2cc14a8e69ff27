"""Whether two pictures are the same but for the way they were kept: small grey versions, laid on each other as well as they
fit, mirrored or not, then compared in their grey and in their edges.

They are laid on each other by Gauss-Newton steps (Lucas and Kanade 1981, "An iterative image registration technique with an
application to stereo vision") on a stretch and a shift of either axis, and on contrast and brightness. So nothing has to be
guessed of what was cut off, and where.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

SIZE = 32
"""Pixels that are compared, squared: what JPEG and resizing change is in the details that this leaves out."""
STEPS = 6
"""Gauss-Newton steps."""
STRETCH, SHIFT = 0.15, 4.0
"""How far a picture may be stretched, as a share, and moved, in pixels of `SIZE`: an eighth of its side."""
FLAT = 1.0
"""Of 255: a picture whose grey has a smaller standard deviation has no pattern."""
_BLOCK = 512
_MOVE = np.array([0.1, 2.0, 0.1, 2.0])  # the most that one step stretches and shifts
_MOST = np.array([STRETCH, SHIFT, STRETCH, SHIFT])
_LEAST_GAIN = 0.2  # of contrast, so that a step stays finite
_CENTRED = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2


def grey(picture: Image.Image) -> Grey:
    """A picture of any size in grey, (32, 32), its shape squashed."""
    small = picture.convert("L").resize((SIZE, SIZE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(small)


def likeness(one: Grey, other: Grey) -> Floats:
    """How alike pictures (P, 32, 32) are to others, pair by pair, either way round: the lesser of the correlations of their
    grey and of their edges, -1 to 1, (P,); 1 for the same picture in another brightness. 0 where one has no pattern, 1
    where neither has."""
    blank = np.stack([flat(one), flat(other)]).reshape(2, -1)
    found: Floats = np.where(blank.all(axis=0), np.float32(1), np.float32(0))
    shown = np.flatnonzero(~blank.any(axis=0))
    for at in range(0, len(shown), _BLOCK):
        own = shown[at : at + _BLOCK]
        found[own] = _block(_smooth(one[own]), _smooth(other[own]))
    return found


def flat(pictures: Grey) -> npt.NDArray[np.bool_]:
    """Which of pictures (N, 32, 32) have no pattern, (N,)."""
    found = np.empty(len(pictures), dtype=np.bool_)
    for at in range(0, len(pictures), _BLOCK):
        found[at : at + _BLOCK] = _smooth(pictures[at : at + _BLOCK]).std(axis=(1, 2)) < FLAT
    return found


def _block(one: Floats, other: Floats) -> Floats:
    ways = [_laid(*pair) for second in (other, other[:, :, ::-1]) for pair in ((one, second), (second, one))]
    found: Floats = np.max(ways, axis=0)
    return found


def _smooth(pictures: Grey) -> Floats:
    """Weights of 1, 2, 1 along both axes: the noise of JPEG, and shifts by a part of a pixel, matter less."""
    wide = np.pad(pictures.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows: Floats = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / np.float32(4)
    found: Floats = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(4)
    return found


def _laid(one: Floats, other: Floats) -> Floats:
    """The likeness of pictures with others that are laid on them."""
    down, right = np.gradient(other, axis=(1, 2))
    places = np.zeros((len(one), 4))  # the stretch and shift of columns, and of rows
    for _ in range(STEPS):
        across, along, mask = _taken(places)
        seen = [along @ values @ across for values in (other, right, down)]
        places = np.clip(places + _step(seen, one, mask), -_MOST, _MOST)
    across, along, mask = _taken(places)
    laid = (along @ other @ across).astype(np.float32, copy=False)
    own, edges = (
        _correlation([(one, laid)], mask),
        _correlation(list(zip(_edges(one), _edges(laid), strict=True)), _inner(mask)),
    )
    return np.minimum(own, edges)


def _taken(places: npt.NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
    """Matrices (P, 32, 32) that take columns and rows by linear interpolation, where axes are stretched and shifted, and
    which pixels (P, 32, 32) are of what is there."""
    weights, there = [], []
    for stretch, shift in (places[:, :2].T, places[:, 2:].T):
        at = _CENTRED * (1 + stretch[:, None]) + shift[:, None] + (SIZE - 1) / 2
        there.append((at >= -0.5) & (at <= SIZE - 0.5))
        apart = np.abs(np.clip(at, 0, SIZE - 1)[:, :, None] - np.arange(SIZE))
        weights.append(np.maximum(0, 1 - apart).astype(np.float32))
    mask = there[1][:, :, None] & there[0][:, None, :]
    return weights[0].transpose(0, 2, 1), weights[1], mask.astype(np.float32)


def _step(seen: list[Floats], target: Floats, mask: Floats) -> npt.NDArray[np.float64]:
    """How places (P, 4) should change: the target is what is seen, times a contrast, plus a brightness, moved by slopes."""
    values, right, down = seen
    parts = [values, np.ones_like(values), right * _CENTRED, right, down * _CENTRED[:, None], down]
    design = np.stack([part.reshape(len(values), -1) for part in parts], axis=1)
    weighted = design * mask.reshape(len(mask), 1, -1)
    normal = (weighted @ design.transpose(0, 2, 1)).astype(np.float64)
    ridge = 1e-4 * np.einsum("pii->pi", normal) + 1e-3  # a picture without slopes stays where it is
    normal += np.eye(len(parts)) * ridge[:, None, :]
    found = np.linalg.solve(normal, (weighted @ target.reshape(len(target), -1, 1)).astype(np.float64))[:, :, 0]
    gain = np.where(np.abs(found[:, :1]) < _LEAST_GAIN, _LEAST_GAIN, found[:, :1])
    moved: npt.NDArray[np.float64] = np.clip(found[:, 2:] / gain, -_MOVE, _MOVE)
    return moved


def _edges(pictures: Floats) -> tuple[Floats, Floats]:
    """Slopes along rows and along columns, (P, 30, 30) each."""
    return pictures[:, 1:-1, 2:] - pictures[:, 1:-1, :-2], pictures[:, 2:, 1:-1] - pictures[:, :-2, 1:-1]


def _inner(mask: Floats) -> Floats:
    """Where slopes are of pixels that are all there."""
    whole: Floats = mask[:, 1:-1, 2:] * mask[:, 1:-1, :-2] * mask[:, 2:, 1:-1] * mask[:, :-2, 1:-1]
    return whole


def _correlation(pairs: list[tuple[Floats, Floats]], mask: Floats) -> Floats:
    """Of all parts together (P,), each less its mean, where the mask (P, H, W) is 1."""
    count = np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)
    product, first, second = (np.zeros(len(mask), dtype=np.float32) for _ in range(3))
    for pair in pairs:
        a, b = ((part - (part * mask).sum(axis=(1, 2), keepdims=True) / count) * mask for part in pair)
        product += np.einsum("pij,pij->p", a, b)
        first += np.einsum("pij,pij->p", a, a)
        second += np.einsum("pij,pij->p", b, b)
    lengths = np.sqrt(first * second)
    found: Floats = product / np.maximum(lengths, 1e-6)
    return found
