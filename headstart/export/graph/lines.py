"""Lines of pixels resized as Pillow does it, in a graph: sizes are tensors, so that one graph takes pictures of any size.

The arithmetic is that of `extract.pictures.resampling`, in float64. The weights of a pixel add up to
2^22, their amounts to less than twice as much: sums of whole numbers up to 255 times them stay far below 2^53, so that
matrix products are exact, in whatever order they add up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.core.extract.pictures.resampling import BITS

REACH = {"bilinear": 1.0, "bicubic": 2.0}
"""The half-width of each filter, which is widened by the scale when shrinking."""


def doubles(value: float) -> Tensor:
    """A number as a float64 tensor ()."""
    return torch.tensor(float(value), dtype=torch.float64)


def places(size: int) -> Tensor:
    """0 to `size` - 1 in float64, (size,); `size` may be unknown while the graph is made."""
    return torch.arange(size, dtype=torch.float64)


def weights(along: Tensor, target: Tensor, rows: Tensor, interpolation: str) -> Tensor:
    """The weights (R, n) in units of 2^-22, whole numbers in float64, that the pixels `along` (n,) of a line have for the
    pixels `rows` (R,) of the same line resized to `target` () pixels. Rows outside of that are 0."""
    size = along[-1] + 1
    scale = size / target
    wide = scale.clamp(min=1.0)
    support, step, centre = REACH[interpolation] * wide, 1.0 / wide, ((rows + 0.5) * scale)[:, None]
    first = (centre - support + 0.5).trunc().clamp(min=0.0)
    last = torch.minimum((centre + support + 0.5).trunc(), size)
    at = along[None]
    taps = _filter((at - centre + 0.5) * step, interpolation)
    used = (at >= first) & (at < last) & (rows >= 0.0)[:, None] & (rows < target)[:, None]
    taps = torch.where(used, taps, 0.0)
    total = taps.cumsum(1)[:, -1:]  # one after the other, as Pillow adds them; a sum may go in any order
    fixed = taps / torch.where(total == 0.0, 1.0, total) * float(1 << BITS)
    return torch.where(fixed >= 0.0, (fixed + 0.5).floor(), (fixed - 0.5).ceil())


def _filter(x: Tensor, interpolation: str) -> Tensor:
    """Pillow's filters at these distances, in the order in which it computes them."""
    x = x.abs()
    if interpolation == "bilinear":
        return (1.0 - x).clamp(min=0.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))


def rounded(sums: Tensor) -> Tensor:
    """Sums in units of 2^-22 to the whole numbers 0 to 255 that Pillow keeps, in float64."""
    return ((sums + float(1 << (BITS - 1))) * 2.0**-BITS).floor().clamp(0.0, 255.0)


def width_first(pixels: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Pixels (N, C, H, W) in float64 by the weights (S, H) and (S, W) to (N, C, S, S)."""
    return rounded(down @ rounded(pixels @ across.T))


def height_first(pixels: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """The same in the other order, which can change a value by one."""
    return rounded(rounded(down @ pixels) @ across.T)
