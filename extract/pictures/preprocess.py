"""From uint8 pixels to a backbone's input: torchvision's Resize, ToTensor and Normalize, on any device, bit for bit.

Pillow's sums (`resampling`) are done here as float32 matrix products of integers small enough to be exact.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from headstart.core.cache.key import FeatureKey
from headstart.core.cache.views import FLIP
from headstart.core.extract.pictures import views
from headstart.core.extract.pictures.resampling import BITS, weights

if TYPE_CHECKING:
    from torch import Tensor

_HALF = 11  # each weight is split into two numbers of eleven bits, which TF32 holds exactly too
_MAX_EXACT_TAPS = 32  # 32 taps x 255 x 2^11 stays below 2^24, up to where float32 counts integers without a gap


Crop = Literal["squash", "center", "border"]

CROPS: tuple[str, ...] = get_args(Crop)
INTERPOLATIONS = ("bilinear", "bicubic")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What happens to a picture before the backbone sees it; sizes in pixels, mean and std per channel of [0, 1].

    `squash`: the whole picture is resized to `resize` squared, whatever its shape. `center`: its short side is resized to
    `resize`. `border`: its long side is. Of what that gives the middle is cut out, `image_size` squared, with borders in
    the mean's colour where `border` leaves less. `resize` None is `image_size`, and stands where the two are equal, so
    that equal transforms are equal values. `view` says which other picture is made of each (`extract.pictures.views`):
    `flip` goes through all that, a random crop takes the place of resizing and cropping; empty is the picture as it is.
    Raises ValueError for other words.
    """

    image_size: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resize: int | None = None
    crop: str = "squash"
    view: str = ""

    def __post_init__(self) -> None:
        for name, known in (("interpolation", INTERPOLATIONS), ("crop", CROPS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")
        views.random_crop(self.view)
        if self.resize == self.image_size:
            object.__setattr__(self, "resize", None)

    @classmethod
    def of_key(cls, key: FeatureKey) -> Preprocessing:
        """The transform that features of a key came from. Raises ValueError for one that this version does not know."""
        mean, std = ((values[0], values[1], values[2]) for values in (key.mean, key.std))
        return cls(key.image_size, key.interpolation, mean, std, key.resize, key.crop, key.view)

    @property
    def plain(self) -> Preprocessing:
        """What happens to the picture as it is."""
        return dataclasses.replace(self, view="")

    @property
    def random_crop(self) -> views.RandomCrop | None:
        """The view, where it is a random crop."""
        return views.random_crop(self.view)

    @property
    def is_flipped(self) -> bool:
        """Whether every picture is mirrored before all else."""
        return self.view == FLIP

    @property
    def words(self) -> str:
        """What is done to a picture, for people."""
        size, resize = f"{self.image_size} x {self.image_size} px", self.resize or self.image_size
        if (drawn := self.random_crop) is not None:
            what = f"random crop {drawn.number} of seed {drawn.seed}, of 25 to 100 % of the area and 3:4 to 4:3"
            return f"{what}, resized to {size} ({self.interpolation}), half of them mirrored"
        if self.is_flipped:
            return f"mirrored, {self.plain.words}"
        if self.crop == "squash" and self.resize is None:
            return f"resized to {size} ({self.interpolation})"
        side = {"squash": "both sides", "center": "short side", "border": "long side"}[self.crop]
        return f"{side} resized to {resize} px ({self.interpolation}), the middle {size} of that"

    @property
    def on_device(self) -> bool:
        """Whether `prepare` may resize pictures of any size; all others are prepared by Pillow (`framing`).
        Whoever leaves `flip` to it mirrors them before."""
        squashed = self.crop == "squash" and self.resize is None and self.interpolation == "bilinear"
        return squashed and self.random_crop is None


@functools.lru_cache(maxsize=16)
def resize_weights(size: int, target: int) -> npt.NDArray[np.int64]:
    """The (target, size) integer weights, in units of 2^-22, that Pillow's bilinear filter gives each pixel.

    Sizes in pixels.
    """
    _, found = weights(size, target, "bilinear", range(target))
    return found


def is_exact(size: int, target: int) -> bool:
    """Whether `resize` reproduces Pillow for this pair of sizes to the bit; it does up to a shrinking by about 15."""
    return math.ceil(max(size / target, 1.0)) * 2 + 1 <= _MAX_EXACT_TAPS


def resize(images: Tensor, target: int) -> Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, target, target) with Pillow's rounded values, 0 to 255.

    Raises ValueError for pictures so large that float32 sums would no longer be exact.
    """
    _, height, width, _ = images.shape
    for size in (height, width):
        if not is_exact(size, target):
            raise ValueError(f"pictures of {width}x{height} px can't be resized to {target} px here; let Pillow do it")
    pixels = images.permute(0, 3, 1, 2).float()
    if width != target:
        pixels = _weigh(pixels, width, target)
    if height != target:
        pixels = _weigh(pixels.transpose(2, 3), height, target).transpose(2, 3)
    return pixels


def _weigh(pixels: Tensor, size: int, target: int) -> Tensor:
    """floor((weights . pixels + 1/2) / 1) in fixed point along the last axis, rounded and clipped as Pillow does."""
    high, low = _split_weights(size, target, pixels.device)
    carry = (pixels @ low).add_(float(1 << (BITS - 1))).mul_(2.0**-_HALF).floor_()
    return (pixels @ high).add_(carry).mul_(2.0**-_HALF).floor_().clamp_(0.0, 255.0)


@functools.lru_cache(maxsize=16)
def _split_weights(size: int, target: int, device: Any) -> tuple[Tensor, Tensor]:
    import torch

    whole = torch.from_numpy(resize_weights(size, target).T.copy())
    high, low = whole >> _HALF, whole & ((1 << _HALF) - 1)
    return high.float().to(device), low.float().to(device)


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """float32 (N, 3, H, W) of 0 to 255 to the backbone's input: ToTensor's and Normalize's operations in their order."""
    mean, std = _statistics(preprocessing.mean, preprocessing.std, pixels.device)
    return pixels.div(255).sub_(mean).div_(std)


@functools.lru_cache(maxsize=16)
def _statistics(mean: tuple[float, ...], std: tuple[float, ...], device: Any) -> tuple[Tensor, Tensor]:
    """Both as (3, 1, 1) on the device: copying them there anew for every batch would make the host wait for the device."""
    import torch

    mean_there, std_there = (torch.tensor(values).view(3, 1, 1).to(device) for values in (mean, std))
    return mean_there, std_there


_CHUNK_BYTES = 2**21
"""What is prepared at once on a CPU: float32 pixels that stay in a core's own cache. In chunks of 2 or 4 images of 224 px
one core took 0.66 ms an image, and 1.5 ms where a whole batch of 16 went through memory at each step (Zen 4)."""


def prepare(images: Tensor, preprocessing: Preprocessing, dtype: Any, memory_format: Any) -> Tensor:
    """uint8 (N, H, W, 3) to the backbone's input (N, 3, S, S), resized in float32 whatever the `dtype`.

    Raises ValueError for pictures of another size than S where the transform is not `on_device`.
    """
    import torch

    if not preprocessing.on_device and images.shape[1:3] != (preprocessing.image_size,) * 2:
        raise ValueError(f"pictures of {tuple(images.shape[1:3])} px are not prepared, as {preprocessing} needs it")
    size = preprocessing.image_size
    shape = (len(images), 3, size, size)
    found = torch.empty(shape, dtype=dtype, device=images.device, memory_format=memory_format)
    height, width = images.shape[1:3]
    largest = 3 * max(size * size, height * width, size * height) * 4
    rows = max(1, _CHUNK_BYTES // largest) if images.device.type == "cpu" else len(images)
    for start in range(0, len(images), rows):
        found[start : start + rows] = normalise(resize(images[start : start + rows], size), preprocessing)
    return found
