"""A validation split: it chooses heads, epochs and temperatures, is never trained on, and joins where it is no use."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_samples import SMALL, Passes, coloured, here, passes, pets
from extract_samples import encoded
from heads_samples import blobs, make_config, make_key, only_pair, overlapping, same_head, silent, write_set
from heads_samples import one_thread as one_thread

import headstart as hs
from headstart.core.cache.errors import ArgumentInvalid, DataNotFound, FeaturesInvalid, FeaturesNotFound, FeaturesStale
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import data, predictions_file
from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.data import Labelled, Pair, kept_beside
from headstart.core.heads.data.validation import validation
from headstart.core.heads.report import tried
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.selection import procedure, temperature
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.selection.search import divisions
from headstart.core.heads.sessions.cross_validation import cross_validate
from headstart.core.heads.sessions.session import fit, load_head, same, sweep, unwatched
from headstart.core.heads.training.train import carve, scores, train, train_many
from headstart.tidying import outdated, unneeded
from headstart.workspace import Workspace

__all__ = ["here", "passes"]

AUTO = RECIPES["standard"]
LOGREG = dataclasses.replace(AUTO, head="logreg", penalty=100.0)


def write(root: Path, train_rows: Labelled, val: Labelled, test: Labelled | None = None, **changes: Any) -> Pair:
    """The sets of one data set below `root`; without `test` it has no test split."""
    store, key = FeatureStore(root / "features"), make_key(**changes)
    for split, rows in (("train", train_rows), ("val", val), ("test", test)):
        if rows is not None:
            write_set(store, rows, split, key)
    return only_pair(store, key)


def trained(pair: Pair, root: Path, config: TrainConfig = LOGREG) -> Run:
    (run,) = fit(pair, [config], "cpu", "a computer", RunStore(root / "runs"), silent)
    return run


def judged_by(learn: Labelled, judge: Labelled) -> Labelled:
    """Rows to learn from with rows that are judging behind them."""
    return Labelled(
        np.concatenate([learn.features, judge.features]),
        np.concatenate([learn.labels, judge.labels]),
        judging=np.arange(len(learn.labels) + len(judge.labels)) >= len(learn.labels),
    )


# ---- whether it can choose


@pytest.mark.parametrize("test", [None, blobs(30, seed=9, classes=2)], ids=["no test split", "a test split"])
def test_three_of_twenty_pictures_join_the_training_rows(tmp_path: Path, test: Labelled | None) -> None:
    few = {"classes": ("cat", "dog")}
    pair = write(tmp_path, blobs(20, classes=2), blobs(3, seed=1, classes=2), test, **few)
    parts = data.load(pair, LOGREG)
    said = "the validation images are training images too: 3 are too few to choose by, expected 100 or more"
    assert (len(parts.training.labels), parts.training.judging, said in parts.notes) == (23, None, True)
    run = trained(pair, tmp_path, AUTO)
    assert (run.train_rows, said in run.notes) == (23, True)
    assert run.evaluation.overall.total == (20 if test is None else 30)
    assert not any("chosen on" in note for note in run.notes)


def test_a_part_of_few_validation_rows_fills_what_a_limit_leaves(tmp_path: Path) -> None:
    pair = write(tmp_path, blobs(20), blobs(6, seed=1), blobs(30, seed=2))
    for limit, rows in ((10, 10), (20, 20), (24, 24), (26, 26)):
        parts = data.load(pair, dataclasses.replace(LOGREG, train_limit=limit))
        assert (len(parts.training.labels), parts.first_added) == (rows, min(rows, 20))
    with pytest.raises(FeaturesNotFound, match="has only 20 rows, --train-limit 27 asks for more"):
        data.load(pair, dataclasses.replace(LOGREG, train_limit=27))


def labels_of(*counts: int) -> Labelled:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Labelled(np.zeros((len(labels), 2), dtype=np.float32), labels)


@pytest.mark.parametrize(
    ("val", "training", "reason"),
    [
        ((50, 50), (10, 10), None),
        ((50, 49), (10, 10), "99 are too few to choose by, expected 100 or more"),
        ((1, 0), (10, 10), "1 is too few to choose by, expected 100 or more"),
        ((150, 0), (10, 10), "none of them is of the class dog, so that they can't choose"),
        ((150, 0), (1000, 6), None),  # of so rare a class a sample of 150 would hold none
        ((150, 0), (1000, 7), "none of them is of the class dog, so that they can't choose"),
        ((100, 50), (10, 0), "no training image is of the class dog, and some of them are"),
    ],
)
def test_it_chooses_where_it_has_rows_and_classes_enough(
    val: tuple[int, int], training: tuple[int, int], reason: str | None
) -> None:
    assert validation(labels_of(*val), labels_of(*training).labels, ("cat", "dog")).reason == reason


def test_a_class_without_a_validation_picture_is_said_and_all_join(tmp_path: Path) -> None:
    val = blobs(150, seed=1, classes=2)
    run = trained(write(tmp_path, blobs(60), val, blobs(30, seed=2)), tmp_path)
    assert run.train_rows == 210
    (said,) = [note for note in run.notes if "validation" in note]
    assert said == (
        "the validation images are training images too: none of them is of the class frog, so that they can't choose"
    )


def test_150_sorted_classes_are_judged(tmp_path: Path) -> None:
    names = tuple(f"{number:03d}" for number in range(150))
    every = blobs(900, classes=150, dim=160)
    order = np.argsort(every.labels, kind="stable")
    pair = write(tmp_path, every.at(order[::2]), every.at(order[1::2]), classes=names)
    run = trained(pair, tmp_path)
    assert (run.train_rows, run.evaluation.overall.total, run.evaluated_by.kind) == (450, 450, "cross-validation")
    assert any(note.startswith("chosen on 450 validation images") for note in run.notes)


# ---- what it chooses


@pytest.mark.parametrize("penalty", [1.0, 1000.0])
def test_the_penalty_that_the_validation_rows_prefer_is_chosen(tmp_path: Path, penalty: float) -> None:
    learn, unseen = overlapping(90, 3, seed=0, dim=40), overlapping(600, 3, seed=1, dim=40)
    config = dataclasses.replace(AUTO, head="logreg")
    grid = [one for one in procedure.candidates(config, 90) if one.penalty == penalty]
    (preferred,) = train_many(learn, 3, grid, "cpu", silent)
    agreed = scores(preferred.head, unseen.features, "cpu").argmax(dim=1).numpy()
    pair = write(tmp_path, learn, dataclasses.replace(unseen, labels=agreed), blobs(30, seed=2, dim=40))
    run = trained(pair, tmp_path, config)
    assert run.selection is not None
    assert run.selection.config.penalty == penalty
    assert (run.selection.folds, run.selection.rows, run.selection.validation) == (1, 600, True)
    assert tried.on_rows(run.selection) == "600 validation images"
    assert same_head(load_head(run, RunStore(tmp_path / "runs")).head, preferred.head)


@pytest.mark.parametrize("head", ["logreg", "ridge", "svm", "knn", "prototype", "linear", "mlp"])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_validation_rows_change_no_coefficient(head: str, class_weight: str | None) -> None:
    if class_weight and head in ("knn", "prototype"):
        pytest.skip("the head takes no weights")
    learn, config = overlapping(90, 3, seed=0), make_config(head, val_fraction=0.0, class_weight=class_weight)
    plain = train(learn, 3, config, "cpu", silent)
    for seed in (1, 2):
        judge = overlapping(120 + seed, 3, seed=seed)
        far = dataclasses.replace(judge, features=judge.features * 100 + 7)
        found = train(judged_by(learn, far), 3, config, "cpu", silent)
        assert same_head(found.head, plain.head)
        assert (found.rows, found.val_rows) == (90, 0)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_the_epoch_is_chosen_by_the_validation_rows(class_weight: str | None) -> None:
    learn, judge = overlapping(90, 3, seed=0), overlapping(120, 3, seed=1)
    config = make_config("mlp", epochs=12, val_fraction=0.1, lr=0.1, class_weight=class_weight)
    found = train(judged_by(learn, judge), 3, config, "cpu", silent)
    own = dataclasses.replace(config, val_fraction=0.0)
    (watched,) = train_many(learn, 3, [own], "cpu", silent, judge)
    assert found.history.losses == watched.history.losses
    if class_weight is None:
        assert found.history.val_accuracies == watched.history.watched
    assert found.history.best_epoch == 1 + int(np.argmax(found.history.val_accuracies))
    assert (found.rows, found.val_rows) == (90, 120)
    assert np.allclose(found.head.mean.numpy(), learn.features.mean(axis=0), atol=1e-6)


def test_the_epochs_of_a_least_number_of_steps_are_those_of_the_training_rows() -> None:
    config = dataclasses.replace(AUTO, head="linear", epochs=1, batch_size=30, least_steps=9)
    found = train(judged_by(blobs(90), blobs(300, seed=1)), 3, config, "cpu", silent)
    assert len(found.history.losses) == 3


def test_the_rows_that_are_judging_are_the_one_division_and_are_set_aside() -> None:
    judged = judged_by(blobs(9), blobs(6, seed=1))
    ((learn, judge),) = divisions(judged, np.random.default_rng(0))
    assert (learn.tolist(), judge.tolist()) == ([*range(9)], [*range(9, 15)])
    part = carve(judged.labels, AUTO, "cpu", None, judged.judging)
    assert (part.train.tolist(), part.val.tolist()) == (learn.tolist(), judge.tolist())
    assert judged.at(learn).judging is None
    assert judged.at(judge).judging is None
    assert judged.learning.labels.tolist() == judged.labels[:9].tolist()


@pytest.mark.parametrize("config", [LOGREG, make_config("mlp", val_fraction=0.1)], ids=["logreg", "mlp"])
def test_the_temperature_comes_of_the_validation_rows(config: TrainConfig) -> None:
    judge = overlapping(150, 3, seed=1)
    for calibrated in (True, False):
        (found,) = procedure.fit(
            judged_by(overlapping(90, 3, seed=0), judge), 3, [config], "cpu", silent, calibrated=calibrated
        )
        assert found.confidence is not None
        own = scores(found.trained.head, judge.features, "cpu").numpy().astype(np.float64)
        assert (found.confidence.temperature, found.confidence.rows) == (temperature.fit(own, judge.labels), 150)


def test_auto_takes_the_mlp_where_the_training_rows_are_many() -> None:
    """By the number of rows to learn from: those that are judging make no head more probable."""
    judge = blobs(5_000, seed=1)
    (few,) = procedure.fit(judged_by(blobs(60), judge), 3, [AUTO], "cpu", silent)
    assert few.selection is not None
    assert {one.config.head for one in few.selection.tried} == {"logreg"}


# ---- options


def test_a_part_to_set_aside_is_refused_and_none_keeps_the_last_epoch(tmp_path: Path) -> None:
    pair = write(tmp_path, blobs(60), blobs(120, seed=1), blobs(30, seed=2))
    config = make_config("mlp", val_fraction=0.25)
    with pytest.raises(FeaturesInvalid, match=r"--val-fraction 0\.25, but .* a validation split of 120 rows, which choose"):
        trained(pair, tmp_path, config)
    run = trained(pair, tmp_path, dataclasses.replace(config, val_fraction=0.0))
    assert (run.best_epoch, run.val_accuracies, run.val_rows) == (None, (), 0)
    assert "chosen on 120 validation images (temperature), which no head is trained on" in run.notes
    joins = write(tmp_path, blobs(60), blobs(12, seed=1), blobs(30, seed=2), dataset="few")
    assert trained(joins, tmp_path, config).val_rows == 18


def test_the_studys_recipe_chooses_nothing(tmp_path: Path) -> None:
    config = dataclasses.replace(make_config("mlp", "study"), test_fraction=RECIPES["study"].test_fraction)
    run = trained(write(tmp_path, blobs(60), blobs(120, seed=1), blobs(30, seed=2)), tmp_path, config)
    assert "120 validation images have no part in it: nothing is chosen" in run.notes
    assert same_head(load_head(run, RunStore(tmp_path / "runs")).head, train(blobs(60), 3, config, "cpu", silent).head)


@pytest.mark.parametrize("test", [None, blobs(30, seed=9)], ids=["no test split", "a test split"])
def test_sweeps_seeds_curves_and_limits_work(tmp_path: Path, test: Labelled | None) -> None:
    pair, store = write(tmp_path, blobs(90), blobs(120, seed=1), test), RunStore(tmp_path / "runs")
    mlp = make_config("mlp", val_fraction=0.1, epochs=1)
    swept = sweep(pair, mlp, "cpu", "a computer", store, silent)
    assert swept.selection is not None
    assert (len(swept.selection.tried), swept.selection.validation, swept.train_rows) == (12, True, 90)
    assert "chosen on 120 validation images (settings, epoch, temperature), which no head is trained on" in swept.notes
    seeds = fit(pair, [dataclasses.replace(mlp, seed=i) for i in range(2)], "cpu", "a computer", store, silent)
    assert [run.train_rows for run in seeds] == [90, 90]
    (curve,) = fit(pair, [LOGREG], "cpu", "a computer", store, silent, on_draw=unwatched)
    assert curve.curve is not None
    assert (curve.curve.test_rows, curve.curve.points[-1].rows) == ((90, 72) if test is None else (30, 90))
    limited = trained(pair, tmp_path, dataclasses.replace(LOGREG, train_limit=30))
    assert limited.train_rows == 30
    assert "chosen on 120 validation images (temperature), which no head is trained on" in limited.notes


def test_a_part_is_held_out_of_the_training_rows_where_that_is_asked_for(tmp_path: Path) -> None:
    pair = write(tmp_path, blobs(60), blobs(120, seed=1))
    config = dataclasses.replace(LOGREG, test_fraction=0.2)
    run = trained(pair, tmp_path, config)
    assert (run.train_rows, run.evaluation.overall.total, run.evaluated_by.kind) == (48, 12, "held out")
    assert data.testing(pair.train, config).digest == run.test.used
    assert run.val is not None


# ---- what it is tested on


@dataclasses.dataclass
class Spy:
    """A way to heads that notes the rows that it was given."""

    seen: list[Labelled] = dataclasses.field(default_factory=list)

    def __call__(self, rows: Labelled) -> list[Fitted]:
        self.seen.append(rows)
        return procedure.fit(rows, 3, [LOGREG], "cpu", silent, calibrated=False)


def test_each_fold_is_chosen_by_the_validation_rows_and_none_is_tested_on() -> None:
    judged = judged_by(overlapping(60, 3, seed=0), overlapping(120, 3, seed=1))
    spy = Spy()
    (found,) = cross_validate(judged, spy, 1, "cpu", unwatched, repeated=False, added=60)
    assert found.outcomes.labels.tolist() == judged.labels[:60].tolist()
    assert [(len(rows.labels), rows.judging is not None and int(rows.judging.sum())) for rows in spy.seen] == [
        (168, 120)
    ] * 5


def test_a_validation_row_of_a_group_that_is_tested_is_left_out() -> None:
    judged = judged_by(blobs(6), blobs(4, seed=1))
    grouped = dataclasses.replace(judged, groups=np.array([0, 1, 2, 3, 4, 5, 0, 6, 3, 7]))
    assert kept_beside(grouped, 6, np.array([0, 1])).tolist() == [7, 8, 9]
    assert kept_beside(judged, 6, np.array([0, 1])).tolist() == [6, 7, 8, 9]


def test_without_a_test_split_the_training_rows_are_cross_validated(tmp_path: Path) -> None:
    run = trained(write(tmp_path, blobs(60), blobs(120, seed=1)), tmp_path, AUTO)
    assert (run.evaluated_by.kind, run.evaluation.overall.total, run.train_rows) == ("cross-validation", 60, 60)
    assert run.notes[-2:] == (
        "the data set has no test split: tested by cross-validation in 5 folds, 3 times over, and trained on all training "
        "images",
        "chosen on 120 validation images (settings, temperature), which no head is trained on",
    )
    kept = predictions_file.load(tmp_path / "runs" / run.name, run.head_sha256)
    assert kept is not None
    assert kept.rows.tolist() == [*range(60)]


def test_an_earlier_versions_test_split_of_the_same_pictures_is_none(tmp_path: Path) -> None:
    pair = write(tmp_path, blobs(60), blobs(120, seed=1), blobs(120, seed=1))
    assert (pair.test, pair.val is not None) == (None, True)
    assert trained(pair, tmp_path).evaluated_by.cross_validated


def test_what_an_earlier_version_said_of_joined_rows_is_not_said(tmp_path: Path) -> None:
    test = dataclasses.replace(blobs(30), notes=("the pictures in val/ are part of the training split", "a stand-in"))
    run = trained(write(tmp_path, blobs(60), blobs(120, seed=1), test), tmp_path)
    assert "a stand-in" in run.notes
    assert not any("training split" in note for note in run.notes)


# ---- copies and groups


def test_pictures_on_both_sides_are_said(tmp_path: Path) -> None:
    learn, judge = blobs(60), blobs(120, seed=1)
    both = dataclasses.replace(judge, features=np.concatenate([learn.features[:3], judge.features[3:]]))
    run = trained(write(tmp_path, learn, both, blobs(120, seed=1).at(np.arange(3, 33))), tmp_path)
    assert "3 validation pictures are also training pictures" in run.notes
    assert "30 test pictures are also validation pictures" in run.notes
    config = dataclasses.replace(LOGREG, group_by=r"row-(\d+)")
    grouped = trained(write(tmp_path, learn, judge, blobs(30, seed=2), dataset="grouped"), tmp_path, config)
    assert "60 validation pictures of groups that training pictures are of too" in grouped.notes


# ---- identity


def test_a_head_names_the_validation_rows_by_content(tmp_path: Path) -> None:
    store, root = RunStore(tmp_path / "runs"), Workspace(tmp_path / "features", tmp_path / "runs", tmp_path, "cpu")
    pair = write(tmp_path, blobs(60), blobs(120, seed=1), blobs(30, seed=2))
    run = trained(pair, tmp_path)
    assert pair.val is not None
    assert run.val is not None
    assert (run.val.digest, run.val.images, run.val.rows) == (
        pair.val.manifest.digest,
        pair.val.manifest.images_digest,
        120,
    )
    assert same(pair, LOGREG, store) == run
    assert (store.runs(), unneeded(root), outdated(root, [run])) == ([run], [], {})
    write_set(FeatureStore(tmp_path / "features"), blobs(110, seed=3), "val", created="2024-01-01", snapshot=True)
    other = only_pair(FeatureStore(tmp_path / "features"))
    assert other.val is not None
    assert other.val.manifest.rows == 110
    assert same(other, LOGREG, store) is None
    assert (unneeded(root), list(outdated(root, [run]).values())) == (
        [],
        [f"older than its validation features: {other.val.folder.name} is of other pictures or labels by now"],
    )
    again = trained(other, tmp_path)
    assert again.val is not None
    assert again.val.used != run.val.used
    assert again.train.used == run.train.used
    assert again.trained_on != run.trained_on


def test_without_a_validation_split_a_record_says_nothing_of_one(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    for split, seed in (("train", 0), ("test", 1)):
        write_set(store, blobs(60, seed), split)
    run = trained(only_pair(store), tmp_path, AUTO)
    found = json.loads((tmp_path / "runs" / run.name / "run.json").read_bytes())
    assert "val" not in found
    assert "validation" not in found["selection"]
    assert run.trained_on == run.train.digest
    (again,) = RunStore(tmp_path / "runs").runs()
    assert again == run


def test_other_class_names_or_features_are_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    write_set(store, blobs(60), "train")
    write_set(store, blobs(120), "val", make_key(classes=("cat", "dog", "owl")))
    with pytest.raises(FeaturesStale, match=r"val.*: its classes are not those of .*: frog, owl; `headstart extract"):
        trained(only_pair(store), tmp_path)
    other = write(tmp_path, blobs(60), blobs(120, dim=7), dataset="wide")
    with pytest.raises(FeaturesInvalid, match="D is 6, but 7 in its validation set"):
        trained(other, tmp_path)


# ---- from pictures on


def write_pictures(root: Path, each: int, first: int) -> Path:
    for name in ("blue", "red"):
        (root / name).mkdir(parents=True)
        for seed in range(first, first + each):
            (root / name / f"{seed}.png").write_bytes(encoded(coloured(name, seed, (12, 12)), "PNG"))
    return root


def test_pictures_that_were_training_rows_are_divided_anew_without_a_forward_pass(here: Path, passes: Passes) -> None:
    top = here / "pets"
    write_pictures(top / "train", 60, 0)
    write_pictures(top / "test", 4, 100)
    hs.extract("folder:pets", model="resnet18", **SMALL)
    before = passes.count
    assert before > 0
    for name in ("blue", "red"):
        (top / "val" / name).mkdir(parents=True)
        for seed in range(50):
            (top / "train" / name / f"{seed}.png").rename(top / "val" / name / f"{seed}.png")
    features = hs.extract("folder:pets", model="resnet18", **SMALL)
    assert passes.count == before
    assert [found.manifest.split for found in features.sets] == ["train", "val", "test"]
    assert (len(features.train), len(features.val), len(features.test)) == (20, 100, 8)
    assert repr(features).startswith("Features(resnet18 folder-pets train and val and test: 128 x 512")
    head = hs.train(features)
    assert head.run is not None
    assert (head.run.train_rows, head.run.evaluation.overall.total) == (20, 8)
    assert any(note.startswith("chosen on 100 validation images") for note in head.run.notes)
    alone = hs.train(hs.open(features.folders[0]))
    assert alone.run is not None
    assert alone.run.val == head.run.val
    only = hs.extract("folder:pets", model="resnet18", split="val", **SMALL)
    assert (len(only), set(only.split.tolist()), passes.count) == (100, {"val"}, before)
    with pytest.raises(FeaturesNotFound, match="extract, or open, the training split"):
        hs.train(only)


def test_a_head_is_not_scored_on_what_chose_it(here: Path) -> None:
    write_pictures(here / "pets/train", 10, 0)
    write_pictures(here / "pets/val", 50, 50)
    features = hs.extract("folder:pets", model="resnet18", **SMALL)
    head = hs.train(features, head="ridge")
    with pytest.raises(FeaturesInvalid, match="the head was trained or chosen on these"):
        head.score(features.val)
    with pytest.raises(ArgumentInvalid, match="these are the val rows alone"):
        hs.train(features.val)
    whole = hs.extract(pets(here / "whole", 2), model="resnet18", **SMALL)
    with pytest.raises(FeaturesNotFound, match="has no val rows; extract, or open, the val split too"):
        _ = whole.val


def test_a_split_that_is_not_there_can_not_be_asked_for(here: Path) -> None:
    pets(here / "pets", 2)
    with pytest.raises(DataNotFound, match="split val: folder:pets has only all"):
        hs.extract("folder:pets", model="resnet18", split="val", **SMALL)
