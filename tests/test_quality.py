"""What is wrong with pictures as pictures: each fault is found where it is, and sets of one kind have none."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart.core.extract.likeness.quality import BLANK, BLURRED, BRIGHT, DARK, ODD, TINY, faults, measured


def scene(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3)).astype(np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def spot() -> Image.Image:
    """White, with black on a fortieth of it."""
    found = Image.new("RGB", (64, 64), "white")
    found.paste("black", (0, 0, 10, 10))
    return found


USUAL = [scene(seed) for seed in range(30)]


def kinds(*pictures: Image.Image) -> list[tuple[int, str]]:
    return [(one.place, one.kind) for one in faults([measured(picture) for picture in (*pictures, *USUAL)])]


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (scene(99).point(lambda value: value // 5), DARK),
        (spot(), BRIGHT),
        (Image.new("RGB", (64, 64), "white"), BLANK),
        (Image.new("L", (64, 64), 0), BLANK),
        (scene(99).filter(ImageFilter.GaussianBlur(6)), BLURRED),
        (scene(99, 20, 20), TINY),
        (scene(99, 200, 60), ODD),
    ],
)
def test_a_fault_is_found_in_its_picture(picture: Image.Image, kind: str) -> None:
    assert (0, kind) in kinds(picture)


def test_usual_pictures_have_none_and_a_set_of_small_ones_neither() -> None:
    assert kinds() == []
    assert faults([measured(scene(seed, 16, 16)) for seed in range(30)]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (250, 2)])
@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB"])
def test_any_size_and_mode_can_be_measured(size: tuple[int, int], mode: str) -> None:
    found = faults([measured(scene(0).resize(size).convert(mode))])
    assert (size == (1, 1)) == (ODD not in {one.kind for one in found})


def test_a_set_of_blank_pictures_is_blank_and_no_pictures_have_no_fault() -> None:
    blank = [measured(Image.new("RGB", (32, 32), "grey"))] * 25
    assert {one.kind for one in faults(blank)} == {BLANK}
    assert faults([]) == []
