"""Pictures resized and cropped as torchvision and timm do it, to the bit, whatever their shape, size and mode."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from extract_samples import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from headstart.core.extract.backbones import Preset, get_backbone
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.pictures import framing
from headstart.core.extract.pictures.framing import framed, resized_size
from headstart.core.extract.pictures.preprocess import Preprocessing, normalise, prepare
from headstart.core.extract.pictures.resampling import resized_part

HALF = (0.5, 0.5, 0.5)
MEAN, STD = Preprocessing.mean, Preprocessing.std

SIZES = (
    (1, 1),
    (1, 2),
    (2, 1),
    (3, 3),
    (1, 17),
    (40, 1),
    (31, 33),
    (33, 500),
    (500, 33),
    (64, 64),
    (64, 63),
    (63, 64),
    (72, 72),
    (73, 72),
    (127, 128),
    (128, 128),
    (144, 72),
    (200, 201),
    (223, 225),
    (224, 224),
    (225, 224),
    (255, 257),
    (256, 256),
    (256, 341),
    (300, 999),
    (333, 500),
    (500, 375),
    (512, 512),
    (640, 480),
    (97, 389),
    (1024, 683),
    (1, 300),
    (1700, 1300),
)
"""Widths and heights: single pixels, lines, squares, odd beside even, exact multiples, and a photograph's."""


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Noise with edges from black to white, where rounding and clipping show."""
    values = np.random.default_rng(width * 10_007 + height).integers(0, 256, (height, width, 4), dtype=np.uint8)
    values[: height // 2, : width // 2] = 255
    values[height // 2 :, width // 2 :] //= 255
    whole = Image.fromarray(values, "RGBA")
    return whole if mode == "RGBA" else whole.convert("RGB").convert(mode)


def ours(image: Image.Image, transform: Preprocessing) -> torch.Tensor:
    """The backbone's input (3, S, S)."""
    pixels = torch.from_numpy(framed(image, transform).copy())[None]
    return prepare(pixels, transform, torch.float32, torch.contiguous_format)[0]


# ---- torchvision


@dataclasses.dataclass(frozen=True)
class Theirs:
    """An evaluation transform of torchvision, and ours."""

    name: str
    theirs: ImageClassification
    own: Preset

    def __str__(self) -> str:
        return self.name


def of_torchvision(name: str, resize: int, crop: int, interpolation: str = "bilinear", mean: Any = MEAN) -> Theirs:
    theirs = ImageClassification(
        crop_size=crop, resize_size=resize, mean=mean, interpolation=InterpolationMode(interpolation)
    )
    return Theirs(name, theirs, Preset(resize, crop, interpolation, mean, STD))


TORCHVISION = (
    of_torchvision("classic", 256, 224),
    of_torchvision("V2", 232, 224),
    of_torchvision("small bicubic", 72, 64, "bicubic", HALF),
    of_torchvision("odd", 342, 299),
    of_torchvision("no margin", 128, 128, "bicubic"),
    of_torchvision("crop beyond the picture", 48, 64),
)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("case", TORCHVISION, ids=str)
def test_a_preset_is_torchvisions_transform_to_the_bit(case: Theirs, size: tuple[int, int]) -> None:
    image = picture(*size)
    assert torch.equal(ours(image, case.own.at()), case.theirs(image))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (name, label)
        for name in ("vgg16", "vgg19", "resnet18", "resnet50", "resnet152", "densenet169")
        for label in get_backbone(name).checkpoints
    ],
)
def test_published_weights_have_the_preset_of_torchvisions_enum(name: str, label: str) -> None:
    theirs = torchvision.models.get_model_weights(name)[label].transforms()
    backbone = get_backbone(name)
    assert backbone.preset is not None
    own = backbone.preset(label)
    assert own is not None
    assert ([own.resize], [own.crop]) == (theirs.resize_size, theirs.crop_size)
    assert (list(own.mean), list(own.std)) == (theirs.mean, theirs.std)
    assert (own.interpolation, own.mode) == (theirs.interpolation.value, "center")
    image = picture(341, 257)
    assert torch.equal(ours(image, own.at()), theirs(image))


# ---- timm


@dataclasses.dataclass(frozen=True)
class Config:
    """What timm's models say of their pictures."""

    size: int = 64
    crop_pct: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = MEAN

    def __str__(self) -> str:
        return f"{self.size}-{self.crop_pct}-{self.crop_mode}-{self.interpolation}"

    @property
    def own(self) -> Preprocessing:
        """Ours, from what timm's configuration says."""
        preset = Preset(0, self.size, self.interpolation, self.mean, STD, self.crop_mode, self.crop_pct)
        return preset.at()


CONFIGS = (
    Config(),
    Config(224, interpolation="bilinear"),
    Config(224, 0.9),
    Config(224, 0.95, mean=HALF),
    Config(128, 1.0),
    Config(128, 1.0, "squash"),
    Config(128, 1.0, "squash", "bilinear"),
    Config(224, 0.95, "squash", mean=HALF),
    Config(128, 1.0, "border"),
    Config(112, 0.9, "border", mean=HALF),
    Config(75, 0.94),
)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("case", CONFIGS, ids=str)
def test_a_preset_is_timms_transform_to_the_bit(case: Config, size: tuple[int, int]) -> None:
    data = pytest.importorskip("timm.data", reason="timm is not installed")
    theirs = data.create_transform(
        (3, case.size, case.size),
        is_training=False,
        crop_pct=case.crop_pct,
        crop_mode=case.crop_mode,
        interpolation=case.interpolation,
        mean=case.mean,
        std=STD,
    )
    image = picture(*size)
    try:
        expected = theirs(image)
    except ValueError:
        expected = None
    if expected is None:  # of a line timm's border mode would leave no row; ours keeps one
        assert (case.crop_mode, ours(image, case.own).shape) == ("border", (3, case.size, case.size))
    else:
        assert torch.equal(ours(image, case.own), expected)


TIMM = (
    "resnet18.a1_in1k",
    "vit_small_patch16_224.augreg_in1k",
    "vit_base_patch16_siglip_224.webli",
    "tf_efficientnetv2_b3.in21k_ft_in1k",
    "dm_nfnet_f0.dm_in1k",
    "vit_base_patch32_clip_384.openai_ft_in12k_in1k",
)
"""Of each crop mode that stands in many of timm's configurations, with and without a margin."""


@pytest.mark.parametrize("model", TIMM)
def test_a_models_own_configuration_gives_its_transform(model: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    backbone = get_backbone(f"timm/{model}")
    assert backbone.preset is not None
    preset = backbone.preset(model.partition(".")[2])
    assert preset is not None
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(model).to_dict())
    for image in (picture(333, 500), picture(500, 333), picture(64, 64)):
        assert torch.equal(ours(image, preset.at()), timm.data.create_transform(**config, is_training=False)(image))
    larger = timm.data.create_transform(**{**config, "input_size": (3, 257, 257)}, is_training=False)
    assert torch.equal(ours(picture(333, 500), preset.at(257)), larger(picture(333, 500)))


# ---- sizes


def test_another_size_sees_the_same_part_of_a_picture() -> None:
    classic = Preset(256, 224, "bilinear", MEAN, STD)
    assert [classic.at(size).resize for size in (224, 112, 64, 448, 100)] == [256, 128, 73, 512, 114]
    assert classic.at() == classic.at(224)
    assert dataclasses.replace(classic, crop_pct=0.9).at(384).resize == 426  # timm's floor(384 / 0.9)
    assert dataclasses.replace(classic, resize=224).at(100).resize is None


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(["center", "squash", "border"]), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_every_picture_becomes_a_square(width: int, height: int, crop: str, margin: int) -> None:
    transform = Preprocessing(32, "bicubic", resize=32 + margin, crop=crop)
    assert framed(picture(width, height), transform).shape == (32, 32, 3)


def test_one_that_is_far_longer_than_wide_is_resized_in_part_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    for interpolation in ("bilinear", "bicubic"):
        transform = Preprocessing(64, interpolation, resize=72, crop="center")
        for size in ((1, 900), (900, 1), (7, 2000), (71, 300), (300, 71), (64, 500)):
            image = picture(*size)
            whole = framed(image, transform)
            with monkeypatch.context() as patch:
                patch.setattr(framing, "LARGE", 0)
                assert np.array_equal(framed(image, transform), whole), (size, interpolation)


def test_a_line_of_a_hundred_thousand_pixels_takes_no_memory() -> None:
    transform = Preprocessing(224, resize=256, crop="center")
    values = np.arange(100_000, dtype=np.uint32).astype(np.uint8)
    image = Image.fromarray(np.repeat(values[None, :, None], 3, axis=2))
    assert resized_size(image.size, transform) == (25_600_000, 256)
    found = framed(image, transform)
    assert found.shape == (224, 224, 3)
    assert np.array_equal(found, np.repeat(found[:1], 224, axis=0))
    assert set(np.unique(found)) <= {int(value) for value in values[49_990:50_010]}


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 80),
    st.integers(1, 80),
    st.sampled_from(["bilinear", "bicubic"]),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_a_part_of_a_resized_picture_is_pillows(
    width: int, height: int, to_width: int, to_height: int, interpolation: str, data: st.DataObject
) -> None:
    to_width, to_height = max(width, to_width), max(height, to_height)
    left, top = data.draw(st.integers(0, to_width - 1)), data.draw(st.integers(0, to_height - 1))
    box = (left, top, data.draw(st.integers(left + 1, to_width)), data.draw(st.integers(top + 1, to_height)))
    image = picture(width, height)
    resampling = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    expected = np.asarray(image.resize((to_width, to_height), resampling).crop(box))
    assert np.array_equal(resized_part(image, (to_width, to_height), interpolation, box), expected)


# ---- the transform as a value


def test_equal_transforms_are_equal_values() -> None:
    assert Preprocessing(64, resize=64) == Preprocessing(64)
    assert Preprocessing(64, resize=64).on_device
    assert not Preprocessing(64, "bicubic").on_device
    assert not Preprocessing(64, resize=72).on_device
    assert not Preprocessing(64, crop="center").on_device


@pytest.mark.parametrize(("field", "value"), [("interpolation", "lanczos"), ("crop", "corner")])
def test_an_unknown_word_is_refused_with_those_that_are_known(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} is '{value}', expected one of .*(bicubic|border)"):
        Preprocessing(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (Preprocessing(), "resized to 224 x 224 px (bilinear)"),
        (
            Preprocessing(resize=256, crop="center"),
            "short side resized to 256 px (bilinear), the middle 224 x 224 px of that",
        ),
        (
            Preprocessing(64, "bicubic", crop="border"),
            "long side resized to 64 px (bicubic), the middle 64 x 64 px of that",
        ),
        (Preprocessing(64, resize=70), "both sides resized to 70 px (bilinear), the middle 64 x 64 px of that"),
    ],
)
def test_a_transform_is_said_in_words(transform: Preprocessing, said: str) -> None:
    assert transform.words == said


# ---- arrays


def test_arrays_that_are_not_squashed_are_prepared_by_pillow() -> None:
    values = noise(5, 32)
    images = ArrayImages("a", "all", ("x",), 5, "memory", lambda start, stop: (values[start:stop], np.zeros(stop - start)))
    transform = Preset(256, 224, "bilinear", MEAN, STD).at(64)
    batch = images.read(1, 4, transform, 2)
    assert (batch.start, batch.rows.tolist()) == (1, [1, 2, 3])
    assert np.array_equal(batch.pixels, np.stack([framed(Image.fromarray(one), transform) for one in values[1:4]]))
    assert batch.fingerprints == images.fingerprints(1, 4)
    theirs = ImageClassification(crop_size=64, resize_size=73)
    found = prepare(torch.from_numpy(batch.pixels), transform, torch.float32, torch.contiguous_format)
    assert torch.equal(found[2], theirs(Image.fromarray(values[3])))
    assert np.array_equal(images.read(1, 4, Preprocessing(64), 2).pixels, values[1:4])
    assert images.read(2, 2, transform, 1).rows.tolist() == []
    picked = images.pick([4, 0], transform, 1)
    assert np.array_equal(picked.pixels[1], framed(Image.fromarray(values[0]), transform))


@pytest.mark.parametrize("size", [(48, 20), (20, 48), (300, 33)], ids=str)
def test_long_arrays_that_shrink_are_squashed_by_pillow(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    images = ArrayImages("a", "all", ("x",), 3, "memory", lambda start, stop: (values[start:stop], np.zeros(stop - start)))
    found = prepare(
        torch.from_numpy(images.read(0, 3, Preprocessing(32), 1).pixels),
        Preprocessing(32),
        torch.float32,
        torch.contiguous_format,
    )
    theirs = torchvision.transforms.Resize((32, 32))
    assert torch.equal(found, torch.stack([ours(theirs(Image.fromarray(one)), Preprocessing(32)) for one in values]))


def test_pixels_that_are_not_prepared_are_refused() -> None:
    transform = Preprocessing(16, resize=20, crop="center")
    with pytest.raises(ValueError, match=r"pictures of \(20, 16\) px are not prepared"):
        prepare(torch.zeros((1, 20, 16, 3), dtype=torch.uint8), transform, torch.float32, torch.contiguous_format)
    whole = torch.from_numpy(noise(1, 16))
    assert torch.equal(
        prepare(whole, transform, torch.float32, torch.contiguous_format),
        normalise(whole.permute(0, 3, 1, 2).float(), transform),
    )
