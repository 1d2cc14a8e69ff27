"""Views: a flip is Pillow's mirror to the bit, a crop is torchvision's definition, and both depend on the picture alone."""

import dataclasses
import io
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from dataset_samples import Sample, samples, write_folder, write_parquet, write_tar
from extract_samples import array_images, encoded, noise, picture
from hypothesis import strategies as st
from PIL import Image, ImageOps

from headstart.api.pictures import Pictures
from headstart.core.cache.views import FLIP, RANDOM_CROP, asked_by, crop
from headstart.core.extract import datasets
from headstart.core.extract.images import Images, Pixels
from headstart.core.extract.images.arrays import ArrayImages, fingerprint
from headstart.core.extract.pictures.decode import decode_at
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing, prepare
from headstart.core.extract.pictures.views import AREA, RATIO, RandomCrop, Window, random_crop

SQUASH, PRESET = Preprocessing(16), Preprocessing(16, resize=20, crop="center", interpolation="bicubic")
BORDER = Preprocessing(16, resize=20, crop="border")
MARK = "ab" * 32
FORMS = ("folder", "tar", "parquet")


def seen(transform: Preprocessing, view: str) -> Preprocessing:
    return dataclasses.replace(transform, view=view)


def opened(form: str, top: Path, given: list[Sample]) -> Images:
    """The same pictures in one of our forms, in the order of the names."""
    if form == "tar":
        path = write_tar(top / "pets.tar", given)
    elif form == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow")
        path = write_parquet(top / "pets.parquet", given)
    else:
        path = write_folder(top / "pets", given)
    return datasets.open_split(f"{form}:{path}", "all", Path("unused")).in_order("unknown")


def read(images: Any, transform: Preprocessing) -> Pixels:
    """All rows as a backbone would be given them, resized as on a device where that is left to it."""
    import torch

    pixels = images.read(0, images.rows, transform, 2).pixels
    found = prepare(torch.from_numpy(np.array(pixels)), transform, torch.float32, torch.contiguous_format)
    std, mean = (torch.tensor(values).view(3, 1, 1) for values in (transform.std, transform.mean))
    return found.mul(std).add(mean).mul(255).round().numpy().astype(np.uint8).transpose(0, 2, 3, 1)


# ---- words


def test_views_are_spelled_by_value() -> None:
    assert crop(7, 2) == "crop area=0.25-1 ratio=3/4-4/3 seed=7 number=2"
    assert random_crop(crop(7, 2)) == RandomCrop(7, 2)
    assert (AREA, RATIO) == ((0.25, 1.0), (0.75, 4 / 3))
    assert RANDOM_CROP.fullmatch(crop(0, 1))
    assert random_crop("") is random_crop(FLIP) is None


@pytest.mark.parametrize(
    "view",
    [
        "turn 90",
        "Flip",
        "flip ",
        "crop",
        "crop area=0.25-1 ratio=3/4-4/3 seed=07 number=2",
        "crop area=0.25-1 ratio=3/4-4/3 seed=7 number=0",
        "crop area=0.25-1 ratio=3/4-4/3 seed=-1 number=1",
        "crop area=0.08-1 ratio=3/4-4/3 seed=7 number=2",
        "crop area=0.25-1 ratio=3/4-4/3 seed=7 number=2 ",
    ],
)
def test_views_that_are_not_known_are_refused(view: str) -> None:
    with pytest.raises(ValueError, match=r"view is '.*', expected none, flip or 'crop area=0.25-1"):
        Preprocessing(16, view=view)


def test_the_options_that_ask_for_views_are_told() -> None:
    assert asked_by([]) == []
    assert asked_by([crop(3, 1), FLIP, crop(0, 2), crop(3, 4), "turn 90"]) == [
        ("--views", "flip"),
        ("--views", "2", "--seed", "0"),
        ("--views", "4", "--seed", "3"),
    ]


def test_transforms_say_their_view() -> None:
    plain = "both sides resized to 20 px (bilinear), the middle 16 x 16 px of that"
    assert Preprocessing(16, resize=20, view=FLIP).words == f"mirrored, {plain}"
    assert seen(PRESET, crop(7, 2)).words == (
        "random crop 2 of seed 7, of 25 to 100 % of the area and 3:4 to 4:3, resized to 16 x 16 px (bicubic), half of them "
        "mirrored"
    )
    assert seen(PRESET, FLIP).plain == PRESET


def test_a_flip_may_be_left_to_the_device_and_a_crop_may_not() -> None:
    assert [seen(SQUASH, view).on_device for view in ("", FLIP, crop(0, 1))] == [True, True, False]
    assert not seen(PRESET, FLIP).on_device


# ---- the flip


@pytest.mark.parametrize("transform", [SQUASH, PRESET, BORDER], ids=["squash", "preset", "border"])
@pytest.mark.parametrize("form", FORMS)
def test_a_flip_is_pillows_mirror_before_the_transform(tmp_path: Path, form: str, transform: Preprocessing) -> None:
    given = samples(5, "a", "b")
    images = opened(form, tmp_path, given)
    found = images.read(0, 5, seen(transform, FLIP), 2)
    mirrored = [ImageOps.mirror(Image.open(io.BytesIO(one.content))) for one in given]
    assert np.array_equal(found.pixels, np.stack([framed(image, transform) for image in mirrored]))
    assert found.fingerprints == images.fingerprints(0, 5)


@pytest.mark.parametrize("shape", [(8, 8), (8, 12), (40, 24), (16, 16), (24, 40)], ids=str)
@pytest.mark.parametrize("transform", [SQUASH, PRESET], ids=["squash", "preset"])
def test_a_flip_of_arrays_is_the_same(transform: Preprocessing, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, *shape, 3), dtype=np.uint8)
    mirrored = np.stack([np.asarray(ImageOps.mirror(Image.fromarray(one))) for one in pixels])
    own, others = array_images(pixels), array_images(mirrored)
    assert np.array_equal(read(own, seen(transform, FLIP)), read(others, transform))
    assert np.array_equal(own.pick([2, 0], seen(transform, FLIP), 1).pixels, others.pick([2, 0], transform, 1).pixels)
    assert own.read(0, 4, seen(transform, FLIP), 1).pixels.flags.c_contiguous
    assert np.array_equal(read(Pictures.of(pixels), seen(transform, FLIP)), read(Pictures.of(mirrored), transform))


def test_a_flip_is_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(picture(24, 16), "PNG", exif=exif)
    expected = framed(ImageOps.mirror(picture(24, 16).transpose(Image.Transpose.ROTATE_270)), PRESET)
    assert np.array_equal(decode_at(turned, "turned", seen(PRESET, FLIP)), expected)


def test_a_long_picture_is_flipped_too() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1, 200_000, 3), dtype=np.uint8))
    assert np.array_equal(framed(image, seen(PRESET, FLIP)), framed(ImageOps.mirror(image), PRESET))


# ---- the crop


@dataclasses.dataclass(frozen=True)
class Number:
    """A tensor of one number in double precision, as far as torchvision's crop asks for one."""

    value: float = 0.0
    draw: Callable[[], float] = random.random

    def uniform_(self, low: float, high: float) -> "Number":
        return Number(low + (high - low) * self.draw())

    def item(self) -> float:
        return self.value


@dataclasses.dataclass(frozen=True)
class Torch:
    """Stands in for torch in torchvision's crop: the same draws as ours, and no rounding to float32."""

    draw: Callable[[], float]

    def empty(self, _: int) -> Number:
        return Number(draw=self.draw)

    def tensor(self, values: Any) -> list[float]:
        return list(values)

    def log(self, values: list[float]) -> list[float]:
        return [math.log(value) for value in values]

    def exp(self, number: Number) -> Number:
        return Number(math.exp(number.value))

    def randint(self, low: int, high: int, size: tuple[int]) -> Number:
        return Number(low + int(self.draw() * (high - low)))


def draws(own: RandomCrop, digest: str) -> random.Random:
    import hashlib

    return random.Random(int(hashlib.sha256(f"{own.seed} {own.number} {digest}".encode()).hexdigest(), 16))


@pytest.mark.parametrize("size", [(500, 375), (32, 32), (1, 1), (1, 90), (300, 7), (3, 4), (2, 1), (97, 1000)], ids=str)
def test_a_crop_is_torchvisions_of_the_same_draws(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.transforms import RandomResizedCrop, transforms

    image = Image.new("RGB", size)
    for number in range(1, 41):
        own = RandomCrop(5, number)
        drawn = draws(own, MARK)
        monkeypatch.setattr(transforms, "torch", Torch(drawn.random))
        top, left, height, width = RandomResizedCrop.get_params(image, list(AREA), list(RATIO))
        monkeypatch.undo()
        assert own.window(size, MARK) == Window(left, top, width, height, drawn.random() < 0.5)


@pytest.mark.parametrize("transform", [SQUASH, PRESET, BORDER], ids=["squash", "preset", "border"])
def test_a_crop_is_resized_as_torchvision_does(transform: Preprocessing) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F  # noqa: N812

    way, sides = InterpolationMode(transform.interpolation), set()
    for number in range(1, 9):
        for size in ((40, 30), (9, 14), (300, 200)):
            image, window = picture(*size), RandomCrop(1, number).window(size, MARK)
            at = (window.top, window.left, window.height, window.width)
            expected = F.resized_crop(image, *at, [16, 16], way)
            expected = F.hflip(expected) if window.mirrored else expected
            assert np.array_equal(framed(image, seen(transform, crop(1, number)), MARK), np.asarray(expected))
            sides.add(window.mirrored)
    assert sides == {True, False}


@hypothesis.given(
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)), st.integers(0, 2**63 - 1), st.integers(1, 64), st.integers()
)
def test_every_crop_lies_in_the_picture(size: tuple[int, int], seed: int, number: int, content: int) -> None:
    found = RandomCrop(seed, number).window(size, str(content))
    width, height = size
    assert 0 <= found.left < found.left + found.width <= width
    assert 0 <= found.top < found.top + found.height <= height
    assert found.box == (found.left, found.top, found.left + found.width, found.top + found.height)
    if min(size) >= 200 and max(size) <= 2 * min(size):  # no rounding to speak of
        assert 0.25 * 0.98 <= found.width * found.height / (width * height) <= 1
        assert 0.75 * 0.98 <= found.width / found.height <= 4 / 3 * 1.02


def test_crops_are_spread_as_they_should_be() -> None:
    found = [RandomCrop(0, 1).window((1000, 1000), str(content)) for content in range(4000)]
    areas = np.array([one.width * one.height / 1e6 for one in found])
    ratios = np.log([one.width / one.height for one in found])
    assert 0.24 < areas.min() < 0.27
    assert abs(float(ratios.mean())) < 0.02
    assert abs(sum(one.mirrored for one in found) / 4000 - 0.5) < 0.04
    free = np.array(
        [
            (one.left / (1000 - one.width), one.top / (1000 - one.height))
            for one in found
            if max(one.width, one.height) < 900
        ]
    )
    assert np.abs(free.mean(axis=0) - 0.5).max() < 0.04


def test_a_crop_depends_on_seed_number_and_content() -> None:
    windows = {RandomCrop(seed, number).window((900, 900), mark) for seed in (0, 1) for number in (1, 2) for mark in "ab"}
    assert len(windows) == 8
    # 1 and 11, 11 and 1: where one number ends and the next begins is told
    assert RandomCrop(1, 11).window((900, 900), "a") != RandomCrop(11, 1).window((900, 900), "a")


def test_crops_are_the_same_in_every_release() -> None:
    # should they drift, one set would hold crops of two kinds
    assert RandomCrop(0, 1).window((500, 375), MARK) == Window(173, 42, 234, 262, False)
    assert RandomCrop(7, 3).window((32, 32), "cd" * 32) == Window(7, 6, 24, 26, False)
    assert RandomCrop(7, 3).window((1, 1000), "cd" * 32) == Window(0, 499, 1, 1, False)


def test_equal_pictures_have_equal_crops_in_every_form(tmp_path: Path) -> None:
    given, transform = samples(6, "a", "b"), seen(PRESET, crop(3, 2))
    forms = {form: opened(form, tmp_path, given) for form in ("folder", "tar")}
    expected = np.stack([decode_at(one.content, one.name, transform) for one in given])
    for images in forms.values():
        assert np.array_equal(images.read(0, 6, transform, 2).pixels, expected)
        assert np.array_equal(images.read(2, 4, transform, 1).pixels, expected[2:4])
        assert np.array_equal(images.pick([5, 0], transform, 1).pixels, expected[[5, 0]])
    paths = [tmp_path / "pets" / str(one.label) / f"{one.name}.png" for one in given]
    assert np.array_equal(read(Pictures.of(paths), transform), expected)
    assert np.array_equal(read(Pictures.of(paths).marked(1), transform), expected)


def test_equal_arrays_have_equal_crops_in_every_order() -> None:
    pixels, transform = noise(6, 12), seen(SQUASH, crop(3, 2))
    pixels[4] = pixels[1]
    expected = np.stack([framed(Image.fromarray(one), transform, fingerprint(one)) for one in pixels])
    assert np.array_equal(array_images(pixels).read(0, 6, transform, 1).pixels, expected)
    assert np.array_equal(array_images(pixels[::-1]).read(2, 5, transform, 1).pixels, expected[::-1][2:5])
    assert np.array_equal(expected[4], expected[1])
    assert np.array_equal(read(Pictures.of(pixels), transform), expected)
    assert np.array_equal(read(Pictures.of([Image.fromarray(one) for one in pixels]), transform), expected)


def test_a_crop_without_a_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="drawn by the picture's digest, and none was given"):
        framed(picture(), seen(SQUASH, crop(0, 1)))


def test_no_rows_have_no_crops() -> None:
    images: ArrayImages = array_images(noise(3, 8))
    for view in (FLIP, crop(0, 1)):
        assert len(images.read(1, 1, seen(SQUASH, view), 1).pixels) == 0
