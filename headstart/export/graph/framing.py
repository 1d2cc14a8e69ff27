"""uint8 pictures of any size to the square that a backbone sees, to the bit of `extract.pictures.framing`, in a graph."""

from __future__ import annotations

import dataclasses

import PIL
import torch
from torch import Tensor, nn

from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.export.graph import lines

HEIGHT_FIRST_SINCE = 13
"""The version of Pillow from which on the height may be resized first (src/libImaging/Resample.c, ImagingResampleInner)."""


def pillow_takes_height_first() -> bool:
    """Whether the Pillow that is installed, whose bits `predict` has, resizes the height first in some pictures."""
    return int(PIL.__version__.partition(".")[0]) >= HEIGHT_FIRST_SINCE


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Of one side of a picture: its pixels (n,), how many there are once it is resized, and the weights (S, n) of those
    that are seen. `seen` (S,) says which of the square's there are; the others are a border."""

    along: Tensor
    resized: Tensor
    weights: Tensor
    seen: Tensor

    @property
    def lost(self) -> Tensor:
        """How many pixels it loses by being resized."""
        return self.along[-1] + 1 - self.resized


class Framing(nn.Module):
    """`extract.pictures.framing.framed` for a batch of pictures of one size. Raises ValueError for a view."""

    _fill: Tensor

    def __init__(self, transform: Preprocessing, height_first: bool) -> None:
        super().__init__()
        if transform.view:
            raise ValueError(f"pictures are shown as they are, not by the view {transform.view}")
        self.transform, self.height_first = transform, height_first
        fill = [round(255 * value) for value in transform.mean] if transform.crop == "border" else [0, 0, 0]
        self.register_buffer("_fill", torch.tensor(fill, dtype=torch.float64).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to float32 (N, 3, S, S) of whole numbers 0 to 255."""
        height, width = lines.places(images.shape[1]), lines.places(images.shape[2])
        tall, wide = self._resized(height[-1] + 1, width[-1] + 1)
        down, across = self._axis(height, tall), self._axis(width, wide)
        pixels = images.permute(0, 3, 1, 2).to(torch.float64)
        found = self._weighed(pixels, down, across)
        if self.transform.crop != "squash" or self.transform.resize is not None:
            found = torch.where(down.seen[:, None] & across.seen[None], found, self._fill)
        return found.float()

    def _resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width after resizing: `extract.pictures.framing.resized_size`."""
        transform = self.transform
        target = lines.doubles(transform.resize or transform.image_size)
        if transform.crop == "squash":
            return target, target
        if transform.crop == "center":
            long = (target * torch.maximum(height, width) / torch.minimum(height, width)).floor()
            return torch.where(width <= height, long, target), torch.where(width <= height, target, long)
        ratio = torch.maximum(height / target, width / target)
        return (height / ratio).round().clamp(min=1.0), (width / ratio).round().clamp(min=1.0)

    def _axis(self, along: Tensor, resized: Tensor) -> _Axis:
        side = self.transform.image_size
        missing = (side - resized).clamp(min=0.0)
        start = ((resized - side) / 2.0).round().clamp(min=0.0)
        rows = lines.places(side) + start - (missing / 2.0).floor()
        found = lines.weights(along, resized, rows, self.transform.interpolation)
        return _Axis(along, resized, found, (rows >= 0.0) & (rows < resized))

    def _weighed(self, pixels: Tensor, down: _Axis, across: _Axis) -> Tensor:
        given = (pixels, down.weights, across.weights)
        if not self.height_first:
            return lines.width_first(*given)
        if torch.compiler.is_exporting():
            swap = (down.lost > 0.0) & (down.lost > across.lost * 2.0)
            found: Tensor = torch.cond(swap, lines.height_first, lines.width_first, given)
            return found
        swapped = bool((down.lost > 0.0) & (down.lost > across.lost * 2.0))
        return (lines.height_first if swapped else lines.width_first)(*given)
