"""A trained head with its backbone: training, saving, labels of pictures."""

import dataclasses
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from api_samples import SMALL, Passes, coloured, here, passes, pets
from heads_samples import Labelled, blobs, same_head, silent, write_pair, write_set

import headstart as hs
from headstart.api.features import Features
from headstart.core.cache.errors import (
    ArgumentInvalid,
    FeaturesInvalid,
    FeaturesNotFound,
    ImageUnreadable,
    RunDamaged,
    RunNotFound,
)
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import timings
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import RECIPES
from headstart.core.heads.runs import RunStore
from headstart.core.heads.sessions.session import fit
from headstart.observer import Observer

__all__ = ["here", "passes"]


def trained(root: Path, **settings: object) -> hs.Classifier:
    pair = write_pair(root / "features")
    assert pair.test is not None
    return hs.train(Features([pair.train, pair.test]), device="cpu", **{"head": "mlp", "epochs": 3, **settings})  # type: ignore[arg-type]


@pytest.fixture
def pet_head(here: Path) -> hs.Classifier:
    """A head that tells the colours of pictures in `here/pets`."""
    pets(here / "pets")
    return hs.train(hs.extract("folder:pets", model="resnet18", **SMALL), head="ridge", device="cpu")


def test_it_is_the_head_that_the_command_trains(tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "features")
    assert pair.test is not None
    head = hs.train(Features([pair.train, pair.test]), seed=3, device="cpu")
    config = RECIPES["standard"].__class__(**{**RECIPES["standard"].to_json(), "seed": 3})
    (run,) = fit(pair, [config], "cpu", "cpu", RunStore(tmp_path / "runs"), silent)
    assert head.run is not None
    assert (head.run.config, head.run.evaluation, head.run.losses) == (run.config, run.evaluation, run.losses)
    assert head.run.head_sha256 == run.head_sha256


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    head = trained(tmp_path)
    head.save(tmp_path / "runs/mine")
    again = hs.load(tmp_path / "runs/mine")
    assert same_head(again.checkpoint.head, head.checkpoint.head)
    assert again.run is not None
    assert head.run is not None
    assert (again.run.name, again.run.head_sha256) == ("mine", head.run.head_sha256)
    assert repr(hs.load(tmp_path / "runs/mine/head.safetensors")) == repr(head)
    assert json.loads((tmp_path / "runs/mine/run.json").read_bytes())["name"] == "mine"


def test_saving_again_replaces_the_head_and_what_was_measured_of_it(tmp_path: Path) -> None:
    trained(tmp_path).save(tmp_path / "mine")
    (tmp_path / "mine" / timings.NAME).write_text("{}")
    other = trained(tmp_path, seed=1)
    other.save(tmp_path / "mine")
    assert same_head(hs.load(tmp_path / "mine").checkpoint.head, other.checkpoint.head)
    assert not (tmp_path / "mine" / timings.NAME).exists()


def test_a_head_without_a_record_is_saved_without_one(tmp_path: Path) -> None:
    trained(tmp_path).save(tmp_path / "mine")
    (tmp_path / "mine/run.json").unlink()
    hs.load(tmp_path / "mine/head.safetensors").save(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["head.safetensors"]


def test_a_runs_directory_gets_a_folder(tmp_path: Path) -> None:
    head = trained(tmp_path, runs_dir=tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    assert head.run is not None
    assert head.run.name == folder.name
    assert same_head(hs.load(folder).checkpoint.head, head.checkpoint.head)


def test_what_is_not_there_or_not_whole_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="can't be read"):
        hs.load(tmp_path / "nothing")
    folder = trained(tmp_path).save(tmp_path / "mine")
    (folder / "head.safetensors").write_bytes(b"other")
    with pytest.raises(RunDamaged, match="SHA-256 is"):
        hs.load(folder)


def test_parts_are_refused(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    assert pair.test is not None
    features = Features([pair.train, pair.test])
    with pytest.raises(ArgumentInvalid, match="these are the train rows alone; give train the whole feature set"):
        hs.train(features.train)
    with pytest.raises(FeaturesNotFound, match="holds test rows alone"):
        hs.train(Features([pair.test]))
    alone = write_set(FeatureStore(tmp_path / "alone"), blobs(30), "train")
    with pytest.raises(FeaturesNotFound, match="has no test set beside it"):
        hs.train(Features([alone]))


def test_an_opened_training_set_is_tested_on_the_test_set_beside_it(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    head = hs.train(hs.open(pair.train.folder), head="ridge", device="cpu")
    assert head.run is not None
    assert head.run.evaluation.overall.total == 30


def test_rows_beyond_the_limit_are_not_trained_on(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    whole = write_set(store, blobs(60), "all", order="stratified")
    few = Features([whole], limit=30)
    head = hs.train(few, head="knn", test_fraction=0.2, device="cpu")
    assert head.run is not None
    assert head.run.train_rows == len(few.train)
    assert head.run.evaluation.overall.total == 12  # all that are held out: none was trained on
    head = hs.train(few, head="knn", device="cpu")
    assert head.run is not None
    assert head.run.train_rows == head.run.evaluation.overall.total == 30


def test_a_cross_validated_head_keeps_how_it_was_tested_and_is_not_scored_on_what_it_saw(tmp_path: Path) -> None:
    whole = Features([write_set(FeatureStore(tmp_path), blobs(60), "all")])
    head = hs.train(whole, head="ridge", device="cpu")
    assert head.run is not None
    assert head.run.evaluated_by.cross_validated
    for part in (whole, whole.test, whole.train):
        with pytest.raises(
            FeaturesInvalid, match=r"was trained on these; its cross-validated accuracy .*test_fraction=0\.2"
        ):
            head.score(part)
    assert head.predict(whole.test).shape == (12,)
    folder = head.save(tmp_path / "mine")
    again = hs.load(hs.load(folder / "head.safetensors").save(tmp_path / "copy"))
    for found in (head, again):
        assert found.predictions is not None
        assert found.predictions.rows.tolist() == list(range(60))
    hs.train(whole, head="ridge", test_fraction=0.2, device="cpu").save(folder)
    assert not (folder / "predictions.safetensors").exists()
    assert hs.load(folder).score(whole.test) == 1.0


def test_folds_and_epochs_are_told_of_one_after_the_other(tmp_path: Path) -> None:
    told: list[str] = []

    class Watch(Observer):
        def begin(self, title: str, rows: int, done: int) -> None:
            told.append(f"{title} {rows}")

        def advance(self, rows: int) -> None:
            told.append(f"{rows} more")

        def end(self) -> None:
            told.append("end")

    whole = Features([write_set(FeatureStore(tmp_path), blobs(60), "all")])
    hs.train(whole, head="mlp", epochs=2, device="cpu", observer=Watch())
    folds, epochs = "resnet50 on pets: cross-validation 180", "resnet50 mlp: epochs 2"
    assert told == [folds, *["12 more"] * 15, "end", epochs, "1 more", "1 more", "end"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_fraction": 0}, "test_fraction is 0, expected a number between 0 and 1"),
        ({"test_fraction": 1}, "test_fraction is 1, expected a number between 0 and 1"),
        ({"group_by": "("}, r"group_by is '\(', expected a regular expression \(missing \)"),
        ({"group_by": 3}, r"group_by is 3, expected a regular expression \(expected a text, found int\)"),
    ],
)
def test_divisions_that_are_none_are_refused(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        trained(tmp_path, **settings)


def test_two_classes_one_of_a_single_picture(tmp_path: Path) -> None:
    data = blobs(20, classes=2)
    labels = np.zeros(20, dtype=np.int64)
    labels[7] = 1
    store = FeatureStore(tmp_path)
    found = Features([write_set(store, Labelled(data.features, labels), "all")])
    with pytest.raises(FeaturesInvalid, match=r"20 rows of 2 classes can't be .*, or use test_fraction=0\.2$"):
        hs.train(found, head="mlp", epochs=2, device="cpu")
    head = hs.train(found, head="mlp", epochs=2, device="cpu", test_fraction=0.2)
    assert head.run is not None
    assert head.run.evaluation.overall.total == 4
    one = write_set(FeatureStore(tmp_path / "one"), Labelled(data.features, labels * 0), "all")
    with pytest.raises(FeaturesInvalid, match="all 20 training rows are of the class cat"):
        hs.train(Features([one]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"head": "mpl"}, "head is 'mpl', expected one of "),
        ({"lr": -1.0}, "lr is -1.0, expected a finite number above 0"),
        ({"head": "ridge", "epochs": None, "seed": 1}, "seed: a ridge head is the same for every seed; leave it out"),
    ],
)
def test_settings_are_checked(tmp_path: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(tmp_path, **given)


def test_pictures_get_labels(here: Path, pet_head: hs.Classifier) -> None:
    new = [coloured(name, 50, (21, 33)) for name in ("green", "red", "blue", "red")]
    assert pet_head.predict(new).tolist() == ["green", "red", "blue", "red"]
    assert pet_head.predict(new[0]).tolist() == ["green"]
    assert pet_head.predict(np.asarray(new[1])).tolist() == ["red"]
    assert pet_head.predict(np.stack([np.asarray(one) for one in new])).tolist() == ["green", "red", "blue", "red"]
    shares = pet_head.predict_proba(new)
    assert (shares.shape, shares.dtype) == ((4, 3), np.float32)
    assert shares.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert pet_head.score(new, ["green", "red", "blue", "blue"]) == 0.75
    assert pet_head.score(new, [1, 2, 0, 2]) == 1.0


def test_probabilities_come_of_the_rows_that_labels_came_of(here: Path, passes: Passes, pet_head: hs.Classifier) -> None:
    new = [coloured(name, 60) for name in ("green", "red")]
    pet_head.predict(new)
    before = passes.count
    pet_head.predict_proba(new)
    hs.load(pet_head.save("runs/pets")).predict(new)
    assert passes.count == before


def test_pictures_that_are_none_are_refused(here: Path, pet_head: hs.Classifier) -> None:
    (here / "a.jpg").write_bytes(b"")
    with pytest.raises(ImageUnreadable, match=r"a\.jpg: can't be decoded"):
        pet_head.predict("a.jpg")
    with pytest.raises(ValueError, match="labels are missing"):
        pet_head.score([coloured("red", 1)])
    with pytest.raises(ValueError, match=r"labels of shape \(2,\) for 1 pictures"):
        pet_head.score([coloured("red", 1)], ["red", "blue"])


def test_features_of_another_backbone_are_refused(here: Path, pet_head: hs.Classifier) -> None:
    other = hs.extract("folder:pets", model="resnet18", **{**SMALL, "image_size": 40})
    with pytest.raises(FeaturesInvalid, match="the head learned from other features: image_size is 32, not 40"):
        pet_head.predict(other)


def calibrated(head: hs.Classifier, rows: int = 99, observer: Observer | None = None) -> hs.Classifier:
    """The head, as if calibrated on so many rows whose labels had probabilities from 0.01 to 0.99."""
    sure = Confidence(0.25, np.linspace(0.01, 0.99, rows, dtype=np.float32), rows)
    return hs.Classifier(dataclasses.replace(head.checkpoint, confidence=sure), head.run, device="cpu", observer=observer)


class Remarks(Observer):
    """Keeps what must be said."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def remark(self, text: str) -> None:
        self.found.append(text)


def test_probabilities_are_those_at_the_temperature_and_labels_are_the_same(pet_head: hs.Classifier) -> None:
    new, sure = [coloured("green", 91), coloured("red", 92)], calibrated(pet_head)
    bare = hs.Classifier(dataclasses.replace(pet_head.checkpoint, confidence=None), None, device="cpu")
    plain, sharper = bare.predict_proba(new).astype(float), sure.predict_proba(new)
    assert sharper == pytest.approx(plain**4 / (plain**4).sum(axis=1, keepdims=True), rel=1e-4)
    assert (sure.predict(new) == pet_head.predict(new)).all()


def test_sets_have_the_classes_that_a_picture_may_be_of(pet_head: hs.Classifier) -> None:
    new, sure = [coloured("green", 91), coloured("red", 92)], calibrated(pet_head)
    shares = sure.predict_proba(new)
    expected = [{name for name, share in zip(sure.classes, row, strict=True) if share >= 0.0999} for row in shares]
    found = sure.predict_set(new, 0.9)
    assert [set(names) for names in found] == expected
    assert [names[0] for names in found] == sure.predict(new).tolist()
    assert hs.load(sure.save("runs/sure")).predict_set(new, 0.9) == found


def test_sets_of_few_rows_have_every_class_and_that_is_told(pet_head: hs.Classifier) -> None:
    watch = Remarks()
    ((*names,),) = calibrated(pet_head, 18, watch).predict_set(coloured("red", 92), 0.95)
    assert sorted(names) == ["blue", "green", "red"]
    assert watch.found == ["a coverage of 0.95 needs 19 rows of calibration, the head has 18: no class is left out"]


def test_sets_of_a_head_without_calibration_and_of_no_coverage_are_refused(tmp_path: Path) -> None:
    head = trained(tmp_path, recipe="study")
    with pytest.raises(
        RunNotFound, match="has no calibration, which prediction sets need; `headstart train-head -m resnet50`"
    ):
        head.predict_set([], 0.9)
    with pytest.raises(ValueError, match="coverage is 95, expected a number above 0 and below 1"):
        calibrated(head).predict_set([], 95)


def test_threads_predict_at_once(pet_head: hs.Classifier) -> None:
    names, found = ["red", "green", "blue", "green"], dict[int, list[str]]()

    def work(number: int) -> None:
        found[number] = pet_head.predict([coloured(name, 80 + number) for name in names]).tolist()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert list(found.values()) == [names] * 4


def test_a_pickle_holds_the_head_and_no_backbone(pet_head: hs.Classifier) -> None:
    pet_head.predict(coloured("red", 0))
    content = pickle.dumps(pet_head)
    assert len(content) < 200_000
    # how joblib and multiprocessing send it; the bytes are this test's own
    assert pickle.loads(content).predict(coloured("red", 0)).tolist() == ["red"]
