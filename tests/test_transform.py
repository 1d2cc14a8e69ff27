"""Which transform a run uses, by data set and by weights; what the key says of it; and that it is the same ever after."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from cache_samples import make_key
from extract_samples import array_images, digits_jobs, encoded, file_images, noise, picture
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from headstart import extraction
from headstart.core.cache.errors import ArgumentInvalid, FeaturesAmbiguous
from headstart.core.cache.key import FeatureKey, NamedKey
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.backbones import Preset, WeightFile, get_backbone
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.images import Images
from headstart.core.extract.pictures.decode import decode_at
from headstart.core.extract.pictures.preprocess import Preprocessing, prepare
from headstart.core.extract.restore import restore
from headstart.core.extract.weights import Weights, presets
from headstart.core.heads import data
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.core.heads.predict import Wanted
from headstart.inference import prediction
from headstart.observer import Observer
from headstart.requests import HeadChoice, InferenceOptions, StudyRequest, TrainingRequest
from headstart.training import train
from headstart.workspace import Workspace

FILES, ARRAYS = "files", "arrays"
V1 = Preprocessing(resize=256, crop="center")


def of(images: str, root: Path) -> Images:
    return file_images(root, 2) if images == FILES else array_images(noise(3, 8))


def weights(label: str = "IMAGENET1K_V1", sha256: str = "ab" * 32) -> Weights:
    return Weights(label, sha256, label)


@pytest.mark.parametrize(
    ("asked", "images", "expected"),
    [
        ("auto", FILES, V1),
        ("auto", ARRAYS, Preprocessing()),
        ("preset", FILES, V1),
        ("preset", ARRAYS, V1),
        ("squash", FILES, Preprocessing()),
        ("squash", ARRAYS, Preprocessing()),
    ],
)
def test_picture_files_have_the_weights_own_transform_and_small_arrays_are_squashed(
    tmp_path: Path, asked: str, images: str, expected: Preprocessing
) -> None:
    config = ExtractConfig(transform=asked)  # type: ignore[arg-type]
    assert presets.chosen(config, get_backbone("resnet50"), weights(), of(images, tmp_path)) == expected


@pytest.mark.parametrize(("size", "resize"), [(None, 256), (224, 256), (64, 73), (448, 512)])
def test_an_image_size_is_that_of_the_crop(tmp_path: Path, size: int | None, resize: int) -> None:
    found = presets.chosen(ExtractConfig(image_size=size), get_backbone("vgg16"), weights(), of(FILES, tmp_path))
    assert (found.image_size, found.resize, found.crop) == (size or 224, resize, "center")


V2_OF_RESNET50 = get_backbone("resnet50").checkpoints["IMAGENET1K_V2"].sha256


@pytest.mark.parametrize(
    ("label", "sha256", "resize"),
    [
        ("IMAGENET1K_V1", "ab" * 32, 256),
        ("IMAGENET1K_V2", "ab" * 32, 232),
        ("random:3", "ab" * 32, 256),
        ("file", "ab" * 32, 256),
        ("file", V2_OF_RESNET50, 232),
        ("file#teacher", "ab" * 32, 256),
    ],
)
def test_weights_have_a_preset_by_name_and_a_file_by_its_content(label: str, sha256: str, resize: int) -> None:
    assert presets.preset_of(get_backbone("resnet50"), weights(label, sha256)).resize == resize


def test_a_backbone_whose_source_says_nothing_has_the_first_weights_transform() -> None:
    silent = dataclasses.replace(get_backbone("resnet18"), preset=None)
    nothing_known = dataclasses.replace(silent, preset=lambda _: None, checkpoints={"A": WeightFile("a/b", "")})
    for backbone in (silent, nothing_known):
        assert presets.preset_of(backbone, weights("file")) == presets.FIRST


def test_squash_keeps_the_weights_own_normalisation_and_size() -> None:
    half = (0.5, 0.5, 0.5)
    backbone = dataclasses.replace(
        get_backbone("resnet18"), preset=lambda _: Preset(400, 384, "bicubic", half, half, "center", 0.96)
    )
    found = presets.chosen(ExtractConfig(transform="squash"), backbone, weights(), None)
    assert found == Preprocessing(384, "bilinear", half, half)
    assert presets.chosen(ExtractConfig(), backbone, weights(), None).resize == 400


def test_a_transform_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="transform is 'crop', expected one of auto, preset, squash"):
        ExtractConfig(transform="crop")  # type: ignore[arg-type]


def test_a_study_squashes_unless_it_is_told_otherwise() -> None:
    assert StudyRequest().extraction("vgg16").config.transform == "squash"
    assert StudyRequest(config=ExtractConfig(transform="preset")).extraction("vgg16").config.transform == "preset"


# ---- the key


def test_a_key_of_squashed_pictures_is_what_it_was() -> None:
    (job,) = digits_jobs("resnet18", split="test")
    assert not {"resize", "crop"} & set(job.key.to_json())
    assert job.key.transform == "squash"
    assert Preprocessing.of_key(job.key) == job.preprocessing == Preprocessing(32)


@pytest.mark.parametrize(
    "preprocessing",
    [V1, Preprocessing(64, "bicubic", resize=70, crop="squash"), Preprocessing(64, crop="border"), Preprocessing(32)],
)
def test_a_key_gives_the_transform_back(preprocessing: Preprocessing) -> None:
    (job,) = digits_jobs("resnet18", split="test")
    key = dataclasses.replace(job, preprocessing=preprocessing).key
    assert Preprocessing.of_key(FeatureKey.from_json(key.to_json())) == preprocessing
    assert (key.digest == job.key.digest) == (preprocessing == Preprocessing(32))


def test_what_was_not_a_fact_once_is_left_out_and_what_is_there_is_checked() -> None:
    squash = make_key()
    cropped = dataclasses.replace(squash, resize=256, crop="center")
    assert NamedKey.from_json(cropped.to_json()) == cropped
    assert (squash.transform, cropped.transform) == ("squash", "preset")
    assert squash.differences(cropped) == ["resize is None, not 256", "crop is 'squash', not 'center'"]
    for name, value in (("resize", None), ("resize", "256"), ("resize", True), ("crop", None), ("crop", 1)):
        with pytest.raises(ValueError, match=f"key: {name} is {value!r}"):
            NamedKey.from_json({**cropped.to_json(), name: value})


def test_a_head_of_a_transform_to_come_is_refused_by_its_name() -> None:
    (job,) = digits_jobs("resnet18", split="test")
    with pytest.raises(Exception, match="crop is 'corner', expected one of squash, center, border, in the head's features"):
        restore(dataclasses.replace(job.key, crop="corner"), "nowhere", None, "cpu", None)


# ---- pictures of every kind

CASES = {
    "grey.png": encoded(picture(70, 90).convert("L"), "PNG"),
    "palette.png": encoded(picture(90, 70).convert("P"), "PNG"),
    "palette.gif": encoded(picture(90, 71).convert("P"), "GIF"),
    "bitmap.png": encoded(picture(64, 65).convert("1"), "PNG"),
    "photo.jpg": encoded(picture(301, 200), "JPEG", quality=90),
    "large.jpg": encoded(picture(1203, 800), "JPEG", quality=90),
    "cmyk.jpg": encoded(picture(100, 60).convert("CMYK"), "JPEG"),
    "opaque.png": encoded(picture(50, 40).convert("RGBA"), "PNG"),
    "line.png": encoded(picture(1, 300), "PNG"),
    "dot.bmp": encoded(picture(1, 1), "BMP"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_any_mode_is_pillows_rgb_through_torchvisions_transform(name: str) -> None:
    own = Preset(72, 64, "bicubic", Preprocessing.mean, Preprocessing.std).at()
    theirs = ImageClassification(crop_size=64, resize_size=72, interpolation=InterpolationMode.BICUBIC)
    found = torch.from_numpy(decode_at(CASES[name], name, own).copy())[None]
    expected = theirs(Image.open(io.BytesIO(CASES[name])).convert("RGB"))
    assert torch.equal(prepare(found, own, torch.float32, torch.contiguous_format)[0], expected)


def test_what_is_upright_deep_or_transparent_is_decoded_as_ever_and_then_cropped() -> None:
    turned = picture(90, 60)
    exif = turned.getexif()
    exif[0x0112] = 6
    own = Preprocessing(32, resize=36, crop="center")
    theirs = ImageClassification(crop_size=32, resize_size=36)
    found = decode_at(encoded(turned, "PNG", exif=exif), "turned", own)
    upright = theirs(turned.transpose(Image.Transpose.ROTATE_270))
    assert torch.equal(
        prepare(torch.from_numpy(found.copy())[None], own, torch.float32, torch.contiguous_format)[0], upright
    )
    deep = Image.fromarray((np.arange(48 * 60).reshape(48, 60) * 22).astype(np.uint16))
    assert decode_at(encoded(deep, "PNG"), "deep", own).shape == (32, 32, 3)


# ---- from a folder to a head and back


class Told(Observer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    top = tmp_path_factory.mktemp("transforms")
    for seed in range(24):
        path = top / "pets" / ("cat" if seed % 2 else "dog") / f"{seed:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(60 + seed, 40, seed=seed).save(path)
    return Workspace(top / "features", top / "runs", top / "data", "cpu")


def request(place: Workspace, asked: str = "auto") -> ExtractionRequest:
    config = ExtractConfig(image_size=32, transform=asked, precision="fp32")  # type: ignore[arg-type]
    return ExtractionRequest(
        ("resnet18",), f"folder:{place.data_dir.parent / 'pets'}", weights=("random:0",), config=config
    )


def test_a_set_of_squashed_pictures_is_said_and_both_are_told_apart_in_words(place: Workspace) -> None:
    told = Told()
    (squashed,) = extraction.extract(place, request(place, "squash"), told)
    assert not [text for text in told.remarks if "squash" in text]
    (cropped,) = extraction.extract(place, request(place), told)
    (said,) = [text for text in told.remarks if "squash" in text]
    assert said == (
        f"resnet18 folder-pets all: another set than {squashed.features.folder.name}, whose pictures were squashed; by "
        f"default they now go through the weights' own transform: short side resized to 36 px (bilinear), the middle "
        f"32 x 32 px of that; --transform squash goes on with that set"
    )
    assert (cropped.computed, cropped.features.manifest.key.crop, cropped.features.manifest.key.resize) == (
        24,
        "center",
        36,
    )
    assert extraction.extract(place, request(place), told)[0].computed == 0
    assert len([text for text in told.remarks if "squash" in text]) == 1  # it is there now
    assert extraction.extract(place, request(place, "squash"), told)[0].features.folder == squashed.features.folder

    store = FeatureStore(place.features_dir)
    pairs = data.pairs(store)
    with pytest.raises(
        FeaturesAmbiguous, match=r"--transform preset \(24 rows.*--transform squash|--transform squash \(24"
    ):
        data.choose(pairs, (), "there")
    (own,) = data.choose(data.pairs(store, choice=FeatureChoice(transform="squash")), (), "there")
    assert own.train.folder == squashed.features.folder


def test_outside_pictures_go_through_the_transform_that_the_head_was_trained_with(place: Workspace) -> None:
    made = [extraction.extract(place, request(place, asked), Told())[0] for asked in ("squash", "preset")]
    pictures = sorted(str(path) for path in (place.data_dir.parent / "pets").rglob("*.png"))
    for outcome in made:
        key = outcome.features.manifest.key
        extractor = restore(key, outcome.features.manifest.provenance.weights_from, None, "cpu", None)
        assert extractor.preprocessing == Preprocessing.of_key(key)
        (run,) = train(place, TrainingRequest(choice=FeatureChoice(transform=key.transform)), Told())
        found = prediction.predict(
            place, pictures, HeadChoice(paths=(place.runs_dir / run.name,)), InferenceOptions(), Wanted(1, None), Told()
        )
        assert len(found.photos) == 24
        assert run.key.transform == key.transform
