"""Whether pictures show the same: kept otherwise, mirrored, cut and brightened they do, others do not."""

import io
from collections.abc import Callable

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from headstart.auditing.pixels.verified import SAME
from headstart.core.extract.likeness.pixels import grey, likeness


def scene(seed: int, width: int = 120, height: int = 90) -> Image.Image:
    """Something with large and small parts, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    fine = Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
    return Image.blend(coarse, fine, 0.3)


def jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return Image.open(buffer)


def like(one: Image.Image, other: Image.Image) -> float:
    return float(likeness(grey(one)[None], grey(other)[None])[0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "alter",
    [
        jpeg,
        lambda picture: picture.resize((108, 81)),
        lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda picture: picture.crop((6, 4, 120, 90)),
        lambda picture: picture.crop((3, 2, 117, 88)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
        lambda picture: picture.convert("L"),
    ],
)
def test_the_same_picture_kept_otherwise_is_the_same(alter: Callable[[Image.Image], Image.Image], seed: int) -> None:
    assert like(scene(seed), alter(scene(seed))) >= SAME


def test_other_pictures_are_not_the_same() -> None:
    seen = np.stack([grey(scene(seed)) for seed in range(20)])
    one, other = np.triu_indices(20, 1)
    assert likeness(seen[one], seen[other]).max() < 0.8


@hypothesis.settings(max_examples=25, deadline=None)
@given(one=st.integers(0, 1000), other=st.integers(0, 1000))
def test_it_is_the_same_either_way_round_and_1_for_itself(one: int, other: int) -> None:
    assert like(scene(one), scene(other)) == pytest.approx(like(scene(other), scene(one)), abs=1e-3)
    assert like(scene(one), scene(one)) == pytest.approx(1, abs=1e-3)


def test_blank_pictures_are_the_same_as_each_other_alone() -> None:
    white, black = Image.new("RGB", (40, 40), "white"), Image.new("RGB", (20, 30), "black")
    assert like(white, black) == 1
    assert like(white, scene(0)) == 0
    assert like(scene(0), white) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (700, 3)])
def test_any_size_can_be_compared(size: tuple[int, int]) -> None:
    assert np.isfinite(like(scene(0).resize(size), scene(1)))
