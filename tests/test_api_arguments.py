"""What a Python caller gives that can't be used: one error that names it, before any picture is read."""

import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_samples import SMALL, here, pets
from PIL import Image

import headstart as hs
from headstart.core.cache.errors import ArgumentInvalid

__all__ = ["here"]

BAD: tuple[tuple[str, object], ...] = (
    ("image_size", "64"), ("image_size", 8), ("image_size", 64.0), ("batch_size", -3), ("batch_size", 0), ("workers", 0),
    ("precision", "x"), ("device", 3), ("weights", 3), ("weights", None),
)  # fmt: skip
OF_EXTRACT: tuple[tuple[str, object], ...] = (
    ("limit", 0), ("limit", -1), ("limit", "10"), ("limit", 2.5), ("engine", "x"), ("on_error", "skipp"),
    ("shard_rows", 0), ("split", "trian"), ("force", "no"), ("no_splits", 1), ("features_dir", 3), ("data_dir", 3),
    ("executor", 3), ("num", 0), ("num", "2"), ("address", 3),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [*BAD, *OF_EXTRACT])
def test_extract_names_the_argument_and_keeps_nothing(here: Path, name: str, value: object) -> None:
    given: dict[str, Any] = {**SMALL, "on_error": "skip", name: value}
    pets(here / "pets", 2)
    with pytest.raises(ArgumentInvalid, match=rf"^{name} is {value!r}, expected "):
        hs.extract("folder:pets", model="resnet18", **given)
    assert os.listdir(here) == ["pets"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"executor": "array"},
            r"^executor='array': a call gives all .*`headstart extract --executor array --task",
        ),
        (
            {"executor": "proceses"},
            r"^executor proceses: unknown \(did you mean processes\?\), expected one of local",
        ),
        (
            {"num": 2},
            r"^num does nothing with executor='local'; leave it out, or take executor='processes' or ",
        ),
        (
            {"executor": "processes", "address": "auto"},
            r"^address does nothing with executor='processes'; .*take executor='ray",
        ),
        ({"executor": "processes"}, r"^executor='processes' on cpu: say how many with num N"),
    ],
)
def test_an_executor_that_can_not_be_had_is_said_and_keeps_nothing(here: Path, given: dict[str, Any], said: str) -> None:
    pets(here / "pets", 2)
    with pytest.raises(ArgumentInvalid, match=said):
        hs.extract("folder:pets", model="resnet18", **SMALL, **given)
    assert os.listdir(here) == ["pets"]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_backbone_names_the_argument(name: str, value: object) -> None:
    backbone = hs.Backbone("resnet18", **{**SMALL, name: value})
    for use in (backbone.fit, backbone.transform):
        with pytest.raises(ArgumentInvalid, match=rf"^{name} is {value!r}, expected "):
            use(["a.jpg"])


def test_a_model_or_data_set_of_another_type_is_named() -> None:
    for given in ({"dataset": 3}, {"model": 3, "dataset": "digits"}):
        name = next(iter(given))
        with pytest.raises(ArgumentInvalid, match=rf"^{name} is 3, expected a text$"):
            hs.extract(**given)  # type: ignore[arg-type]


def test_a_path_is_a_folder_of_pictures(here: Path) -> None:
    features = hs.extract(pets(here / "pets", 2), model="resnet18", **SMALL)
    assert (len(features), features.key.dataset) == (6, "folder-pets")


def test_a_set_without_rows_is_an_error_and_is_not_kept(here: Path) -> None:
    for name in ("a", "b"):
        (here / "ten" / name).mkdir(parents=True)
        (here / "ten" / name / "x.png").write_bytes(b"no picture")
    said = r"ten: none of the 2 images asked for can be used: the first, a/x\.png, .*; no set without rows is kept$"
    for _ in range(2):
        with pytest.raises(hs.HeadstartError, match=said):
            hs.extract("folder:ten", model="resnet18", on_error="skip", **SMALL)
    assert list((here / "features").glob("*/manifest.json")) == list((here / "features").glob("*/*.h5")) == []


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> hs.Features:
    """24 pictures of three classes, without splits."""
    root = tmp_path_factory.mktemp("api")
    return hs.extract(pets(root / "pets"), model="resnet18", features_dir=root / "features", **SMALL)


@pytest.fixture(scope="module")
def head(features: hs.Features) -> hs.Classifier:
    return hs.train(features, head="ridge", penalty=1.0)


def test_load_names_the_argument(head: hs.Classifier, tmp_path: Path) -> None:
    head.save(tmp_path / "head")
    for name, value in (("workers", 0), ("batch_size", 0), ("batch_size", "3"), ("device", 3), ("weights", 3)):
        with pytest.raises(ArgumentInvalid, match=rf"^{name} is {value!r}, expected "):
            hs.load(tmp_path / "head", **{name: value})  # type: ignore[arg-type]
    for use in (hs.load, hs.open):
        with pytest.raises(ArgumentInvalid, match=r"^path is None, expected a text$"):
            use(None)  # type: ignore[arg-type]


GREY = np.zeros((4, 4), np.uint8)
RGBA = np.zeros((4, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("call", "builtin", "said"),
    [
        (lambda f, _h: hs.train(f, head="svn"), ValueError, "head is 'svn', expected one of "),
        (lambda f, _h: hs.train(f, head="mlp", epochs=0), ValueError, "epochs is 0, expected a whole number"),
        (lambda f, _h: hs.train(f, curve="yes"), ValueError, "curve is 'yes', expected True or False"),
        (lambda f, _h: hs.train(f.train), ValueError, "these are the train rows alone"),
        (lambda f, _h: f.train.test, ValueError, "these are the train rows alone"),
        (lambda _f, _h: hs.train(None), TypeError, "features: a NoneType found"),
        (lambda _f, h: h.predict([]), ValueError, "pictures: none found"),
        (lambda _f, h: h.predict(None), TypeError, "pictures: a NoneType found"),
        (lambda _f, h: h.predict([3]), TypeError, "picture 0: a int found"),
        (lambda _f, h: h.predict([GREY]), ValueError, r"picture 0: uint8 \(4, 4\) found"),
        (lambda _f, h: h.predict(GREY), ValueError, r"pictures: uint8 \(4, 4\) found"),
        (lambda _f, h: h.predict([RGBA]), ValueError, r"picture 0: uint8 \(4, 4, 4\) found"),
        (lambda _f, h: h.predict("nope.jpg"), FileNotFoundError, r"nope\.jpg: can't be opened"),
        (lambda f, h: h.predict_set(f, 95), ValueError, "coverage is 95, expected"),
        (lambda f, h: h.predict_set(f, "x"), ValueError, "coverage is 'x', expected"),
        (lambda _f, h: h.score(["a.jpg"]), ValueError, "labels are missing"),
        (lambda _f, h: h.score([Image.new("RGB", (40, 30))], ["gren"]), ValueError, r"'gren' is no .*mean green\?"),
        (
            lambda _f, h: h.score([Image.new("RGB", (40, 30))], [3]),
            ValueError,
            "label 3 is no class of the head; there are",
        ),
        (lambda _f, _h: hs.extract("fooo", weights="random:0"), ValueError, "^dataset fooo: unknown"),
        (lambda _f, _h: hs.extract("folder:nope", weights="random:0"), FileNotFoundError, "nope"),
        (lambda _f, _h: hs.extract("digits", model="x"), ValueError, "model 'x' is unknown"),
        (lambda _f, _h: hs.Head("svn").fit([[0.0], [1.0]], [0, 1]), ValueError, "head is 'svn'"),
        (lambda _f, _h: hs.Head("ridge").fit([[0.0], [1.0]], [1, 1]), ValueError, "y has 1 class"),
        (lambda f, _h: hs.train(f, device="cuda:9"), RuntimeError, r"^device=.cuda:9.: \d .*use device='auto'"),
    ],
)
def test_what_a_user_causes_is_our_error_and_the_builtin_one(
    features: hs.Features, head: hs.Classifier, call: Any, builtin: type[Exception], said: str
) -> None:
    with pytest.raises(hs.HeadstartError, match=said) as caught:
        call(features, head)
    assert isinstance(caught.value, builtin)
    assert "--" not in str(caught.value)


def test_signatures_are_still_those_of_the_functions() -> None:
    assert "batch_size" in inspect.signature(hs.extract).parameters
