"""Views: other pictures made of each picture, before or in place of the transform. None is the picture as it is.

`flip` is the picture mirrored left to right, which then goes through the transform. `crop area=0.25-1 ratio=3/4-4/3 seed=S
number=K` is torchvision's RandomResizedCrop, resized straight to the square that the backbone sees, then its
RandomHorizontalFlip (torchvision/transforms/transforms.py, 0.29: `RandomResizedCrop.get_params`, `RandomHorizontalFlip`).

What is drawn depends on seed, number and the picture's content alone, so that equal pictures have equal crops in whatever
data set, order or batch, and features are found again by content.
"""

import dataclasses
import math
import random

from headstart.core.cache.files import sha256
from headstart.core.cache.views import FLIP, RANDOM_CROP, crop

AREA, RATIO = (0.25, 1.0), (3 / 4, 4 / 3)
"""From and to: the part of the picture's area that a crop covers, and its width by its height."""
TRIES = 10
"""Crops that are drawn before one is taken from the middle."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A crop of a picture in pixels, and whether it is mirrored afterwards."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """As Pillow has it: left, top, right, bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """The `number`-th random crop of each picture, drawn from `seed`."""

    seed: int
    number: int

    def window(self, size: tuple[int, int], digest: str) -> Window:
        """The crop of a picture of `size` (width, height) whose content has the SHA-256 `digest`."""
        # a generator seeded by a whole number gives the same `random()` in every release of Python, by its documentation
        drawn = random.Random(int(sha256(b"%d %d %s" % (self.seed, self.number, digest.encode())), 16))
        found = _tried(size, drawn) or _middle(size)
        return dataclasses.replace(found, mirrored=drawn.random() < 0.5)


def random_crop(view: str) -> RandomCrop | None:
    """The crop that a view is; None where it is none. Raises ValueError for a view that this version does not know."""
    if view in ("", FLIP):
        return None
    if (found := RANDOM_CROP.fullmatch(view)) is None:
        raise ValueError(f"view is {view!r}, expected none, {FLIP} or '{crop('S', 'K')}'")
    return RandomCrop(int(found[1]), int(found[2]))


def _tried(size: tuple[int, int], drawn: random.Random) -> Window | None:
    """The first crop that lies in the picture, of ten; None where none does."""
    width, height = size
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for _ in range(TRIES):
        area = width * height * _between(*AREA, drawn)
        ratio = math.exp(_between(low, high, drawn))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            top = int(drawn.random() * (height - down + 1))
            return Window(int(drawn.random() * (width - across + 1)), top, across, down)
    return None


def _middle(size: tuple[int, int]) -> Window:
    """The largest crop of the middle whose ratio is allowed."""
    width, height = size
    across, down = width, height
    if width / height < RATIO[0]:
        down = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        across = round(height * RATIO[1])
    return Window((width - across) // 2, (height - down) // 2, across, down)


def _between(low: float, high: float, drawn: random.Random) -> float:
    return low + (high - low) * drawn.random()
