"""Pillow's resizing in integers: the weights that its filters give each pixel, and a part of a resized picture alone.

Pillow resizes uint8 images in two passes, width then height, with filter weights in 22-bit fixed point and a rounding to
uint8 after each pass (https://github.com/python-pillow/Pillow, src/libImaging/Resample.c: precompute_coeffs,
normalize_coeffs_8bpc). From version 13 on the height may come first where it shrinks, which changes values by one
(https://github.com/python-pillow/Pillow/pull/9549).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

BITS = 22  # Pillow's PRECISION_BITS: 32 bits less 8 for the pixel and 2 for the sum


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    """Keys' cubic convolution with a = -1/2 (IEEE Trans. ASSP 29, 1981), in the order that Pillow computes it."""
    x, a = abs(x), -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


_FILTERS: dict[str, tuple[Callable[[float], float], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""Each with its half-width, which is widened by the scale when shrinking."""


def weights(size: int, target: int, interpolation: str, rows: range) -> tuple[int, npt.NDArray[np.int64]]:
    """Of a line of `size` pixels resized to `target` the pixels `rows`: the first pixel of the line that they need, and
    the integer weights (len(rows), n), in units of 2^-22, of the n from there on."""
    shape, reach = _FILTERS[interpolation]
    scale = size / target
    support = reach * max(scale, 1.0)
    step = 1.0 / max(scale, 1.0)
    spans = [_span((row + 0.5) * scale, support, size) for row in rows]
    start, stop = spans[0][0], spans[-1][1]
    found = np.zeros((len(rows), stop - start), dtype=np.int64)
    for place, (row, (first, last)) in enumerate(zip(rows, spans, strict=True)):
        centre = (row + 0.5) * scale
        taps = [shape((x - centre + 0.5) * step) for x in range(first, last)]
        total = sum(taps)
        fixed = [tap / total * (1 << BITS) for tap in taps]
        found[place, first - start : last - start] = [int(0.5 + tap if tap >= 0 else -0.5 + tap) for tap in fixed]
    return start, found


def _span(centre: float, support: float, size: int) -> tuple[int, int]:
    """The pixels that a weight falls on."""
    return max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), size)


def resized_part(
    image: Image.Image, size: tuple[int, int], interpolation: str, box: tuple[int, int, int, int]
) -> npt.NDArray[np.uint8]:
    """What `image.resize(size).crop(box)` gives of an RGB picture that grows, uint8 (H, W, 3), without the rest of it."""
    left, top, right, bottom = box
    across, horizontal = weights(image.width, size[0], interpolation, range(left, right))
    down, vertical = weights(image.height, size[1], interpolation, range(top, bottom))
    needed = image.crop((across, down, across + horizontal.shape[1], down + vertical.shape[1]))
    pixels: npt.NDArray[np.int64] = np.asarray(needed).astype(np.int64)
    pixels = _rounded(np.einsum("hwc,tw->htc", pixels, horizontal))
    pixels = _rounded(np.einsum("hwc,th->twc", pixels, vertical))
    return pixels.astype(np.uint8)


def _rounded(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = np.clip((sums + (1 << (BITS - 1))) >> BITS, 0, 255)
    return found
