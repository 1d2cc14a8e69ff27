"""A picture to the square of pixels that a backbone sees: resized, cropped and padded by Pillow as its authors do.

The sizes and offsets are torchvision's (transforms/functional.py: _compute_resized_output_size, center_crop) and timm's
(data/transforms.py: ResizeKeepRatio, CenterCropOrPad; data/transforms_factory.py: transforms_imagenet_eval), rounded as
they round.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.pictures.resampling import resized_part
from headstart.core.extract.pictures.views import Window

Pixels = npt.NDArray[np.uint8]

LARGE = 2**24
"""Pixels, of 4 bytes, that a resized picture may have beside the one that is being read."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def framed(image: Image.Image, transform: Preprocessing, digest: str = "") -> Pixels:
    """An RGB picture as uint8 (S, S, 3). `digest` is the SHA-256 of what it was read from, which random crops are drawn by;
    raises ValueError for one without it.

    Of a small one that is far longer than wide the part that is seen is enlarged alone, to the same bits: 1 x 100,000 px
    would take 26 GB at 256 px.
    """
    if (drawn := transform.random_crop) is not None:
        if not digest:
            raise ValueError("a random crop is drawn by the picture's digest, and none was given")
        return _resized_crop(image, transform, drawn.window(image.size, digest))
    if transform.is_flipped:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    width, height = resized_size(image.size, transform)
    if width * height <= max(LARGE, image.width * image.height):
        return _cropped(np.asarray(image.resize((width, height), _FILTERS[transform.interpolation])), transform)
    across, down = _middle(width, transform.image_size), _middle(height, transform.image_size)
    box = (across.start, down.start, across.stop, down.stop)
    return _cropped(resized_part(image, (width, height), transform.interpolation, box), transform)


def _resized_crop(image: Image.Image, transform: Preprocessing, window: Window) -> Pixels:
    """A part of a picture at the size that the backbone sees; the filter takes nothing from outside it."""
    size = (transform.image_size, transform.image_size)
    found = image.crop(window.box).resize(size, _FILTERS[transform.interpolation])
    return np.asarray(found.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if window.mirrored else found)


def resized_size(size: tuple[int, int], transform: Preprocessing) -> tuple[int, int]:
    """The width and height, in pixels, that a picture of `size` is resized to before it is cropped."""
    width, height = size
    target = transform.resize or transform.image_size
    if transform.crop == "squash":
        return target, target
    if transform.crop == "center":
        long = int(target * max(size) / min(size))
        return (target, long) if width <= height else (long, target)
    ratio = max(height / target, width / target)
    return max(1, round(width / ratio)), max(1, round(height / ratio))  # where timm would have no row left, one stays


def _cropped(pixels: Pixels, transform: Preprocessing) -> Pixels:
    """The middle of a picture (H, W, 3), on the mean colour where it is smaller than that."""
    side = transform.image_size
    if pixels.shape[:2] == (side, side):
        return pixels
    missing = [max(0, side - length) for length in pixels.shape[:2]]
    if any(missing):
        around = [(each // 2, (each + 1) // 2) for each in missing]
        bands = [np.pad(pixels[..., band], around, constant_values=fill) for band, fill in enumerate(_fill(transform))]
        pixels = np.stack(bands, axis=-1)
    return pixels[_middle(pixels.shape[0], side), _middle(pixels.shape[1], side)]


def _middle(length: int, side: int) -> slice:
    """The `side` pixels in the middle of a line; all of a shorter one."""
    start = max(0, round((length - side) / 2.0))
    return slice(start, min(length, start + side))


def _fill(transform: Preprocessing) -> tuple[int, ...]:
    """The colour around a picture: timm's borders have the mean's, torchvision's crops are padded with black."""
    return tuple(round(255 * value) for value in transform.mean) if transform.crop == "border" else (0, 0, 0)
