"""The kept views of a pair's pictures: which are found, which are refused, and what a training makes of them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from heads_samples import blobs, make_config, make_key, only_pair, overlapping, silent, write_pair, write_set
from heads_samples import one_thread as one_thread

from headstart.core.cache.errors import FeaturesInvalid, FeaturesNotFound, FeaturesStale
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.views import crop
from headstart.core.heads import data
from headstart.core.heads.config import RECIPES, TrainConfig, refusal
from headstart.core.heads.data import Labelled, Pair
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.core.heads.runs import Run, RunStore, read
from headstart.core.heads.sessions.session import fit, load_head, same, sweep
from headstart.core.heads.settings import settings_label
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.training.averaging import averaged_score

CROP = crop(0, 1)
VIEWS = (CROP, "flip")


def shifted(of: Labelled, by: float) -> Labelled:
    """Rows that stand for a view of these."""
    return dataclasses.replace(of, features=of.features + np.float32(by))


def write_view(
    store: FeatureStore, of: Labelled, split: str, view: str = "flip", by: float = 0.25, skipped: tuple[int, ...] = ()
) -> FeatureSet:
    return write_set(store, shifted(of, by), split, make_key(view=view), skipped=skipped)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


@pytest.fixture
def pair(store: FeatureStore) -> Pair:
    """Sixty training and thirty test rows with two views of each."""
    write_pair(store.root)
    for view, by in zip(VIEWS, (0.5, 0.25), strict=True):
        write_view(store, blobs(60), "train", view, by)
        write_view(store, blobs(30, seed=1), "test", view, by)
    return only_pair(store)


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def trained(pair: Pair, runs: RunStore, config: TrainConfig | None = None) -> Run:
    (run,) = fit(pair, [data.with_views(pair, config or make_config("logreg"))], "cpu", "a computer", runs, silent)
    return run


# ------------------------------------------------------------------------------------------------ finding them


def test_a_view_is_found_with_its_pictures_and_never_by_itself(pair: Pair, store: FeatureStore) -> None:
    assert [one.manifest.key.view for one in pair.train_views] == [CROP, "flip"]
    assert [one.manifest.split for one in (*pair.train_views, *pair.test_views)] == ["train", "train", "test", "test"]
    found = data.pairs(store)
    assert [one.key.view for one in found] == [""]
    assert data.choose(found, [], store.root) == [pair]  # nothing to tell apart
    assert data.passed_over(found, pair) is None
    flip = FeatureChoice(digest=pair.train_views[1].manifest.key.digest)
    assert data.pairs(store, choice=flip) == []
    with pytest.raises(FeaturesNotFound, match="no features with the key"):
        data.check_choice(store, flip)


def test_views_of_other_features_and_data_sets_are_not_these(store: FeatureStore) -> None:
    pair = write_pair(store.root)
    for change in ({"precision": "bf16"}, {"dataset": "cars"}, {"image_size": 64}):
        write_set(store, blobs(60), "train", make_key(view="flip", **change))
    assert only_pair(store).train_views == ()
    assert pair.test_views == ()
    write_view(store, blobs(30, seed=1), "test")
    assert only_pair(store).train_views == ()
    assert len(only_pair(store).test_views) == 1


def test_views_alone_are_no_features_to_train_on(store: FeatureStore) -> None:
    write_view(store, blobs(60), "train")
    with pytest.raises(FeaturesNotFound, match="no training features"):
        data.choose(data.pairs(store), [], store.root)


def test_the_last_snapshot_of_a_view_counts(pair: Pair, store: FeatureStore) -> None:
    last = write_set(store, shifted(blobs(60), 2.0), "train", make_key(view="flip"), snapshot=True)
    found = only_pair(store)
    assert found.train_views[1].folder == last.folder
    loaded = data.load(found, data.with_views(found, make_config())).training
    assert loaded.views is not None
    np.testing.assert_allclose(loaded.views[1], blobs(60).features + 2, rtol=1e-6)


def test_kept_views_that_nobody_asked_for_are_said_in_a_line(pair: Pair, tmp_path: Path) -> None:
    said = "resnet50 pets: 2 views of each training picture are kept; --views trains on them too"
    assert data.unused(pair) == said
    assert data.unused(write_pair(tmp_path / "others")) is None


# ------------------------------------------------------------------------------------------------ what is refused


def test_without_kept_views_the_command_that_makes_them_is_named(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    expected = (
        r"no view of its pictures is kept; `headstart extract --model resnet50 --dataset pets --views flip` makes one"
    )
    with pytest.raises(FeaturesNotFound, match=expected):
        data.with_views(pair, make_config())


@pytest.mark.parametrize(
    "other",
    [
        lambda store: write_view(store, blobs(57), "train"),
        lambda store: write_view(store, blobs(59), "train", skipped=(3,)),
        lambda store: write_set(store, blobs(63), "train", snapshot=True),
    ],
    ids=["fewer rows", "another row left out", "pictures that changed since"],
)
def test_views_of_other_pictures_are_refused_with_the_command(store: FeatureStore, other: object) -> None:
    write_pair(store.root)
    write_view(store, blobs(60), "train")
    assert callable(other)
    other(store)
    pair = only_pair(store)
    with pytest.raises(FeaturesStale, match=r"the view flip is of other pictures, labels or rows than .* brings it up"):
        data.with_views(pair, make_config())
    with pytest.raises(FeaturesStale, match="`headstart extract --model resnet50 --dataset pets --views flip`"):
        data.load(pair, make_config(views=("flip",)))


def test_a_view_whose_labels_are_others_is_refused(store: FeatureStore) -> None:
    """As a manifest of the same shards would not tell: the samples' shards all name the same inputs."""
    write_pair(store.root)
    relabelled = dataclasses.replace(blobs(60), labels=(blobs(60).labels + 1) % 3)
    write_set(store, relabelled, "train", make_key(view="flip"))
    pair = only_pair(store)
    with pytest.raises(FeaturesStale, match="of other pictures or labels than the set of the pictures as they are"):
        data.load(pair, data.with_views(pair, make_config()))


def test_a_view_that_is_not_kept_or_not_finite_is_refused(pair: Pair, store: FeatureStore) -> None:
    with pytest.raises(FeaturesNotFound, match=r"its view turn is not kept; `headstart extract .* makes it"):
        data.load(pair, make_config(views=("turn",)))
    bad = blobs(60)
    bad.features[7, 1] = np.nan
    write_set(store, bad, "train", make_key(view="flip"), snapshot=True)
    found = only_pair(store)
    with pytest.raises(FeaturesInvalid, match="the features of image row-7 are not finite"):
        data.load(found, data.with_views(found, make_config()))


def test_the_study_recipe_takes_no_views(pair: Pair) -> None:
    with pytest.raises(FeaturesInvalid, match="--views: the study recipe is the published protocol"):
        data.with_views(pair, RECIPES["study"])
    assert refusal(RECIPES["standard"], (), views=True, curve=True) is None
    assert refusal(make_config("mlp"), (), views=True, seeds=3, sweep=True) is None


# ------------------------------------------------------------------------------------------------ rows


def test_all_parts_have_the_views_of_their_pictures(pair: Pair) -> None:
    parts = data.load(pair, data.with_views(pair, make_config()))
    assert parts.testing is not None
    for part in (parts.training, parts.testing):
        assert part.views is not None
        assert part.views.dtype == np.float32
        np.testing.assert_allclose(part.views[0], part.features + 0.5, rtol=1e-6)
        np.testing.assert_allclose(part.views[1], part.features + 0.25, rtol=1e-6)
    assert "trained on views of each picture too: flip, crop 1 of seed 0" in parts.notes
    without = data.load(pair, make_config())
    assert without.training.views is None
    assert without.notes == ()


@pytest.mark.parametrize("order", ["unknown", "mixed"])
def test_a_limit_takes_the_views_of_the_rows_that_are_used(store: FeatureStore, order: str) -> None:
    for view, by in (("", 0.0), ("flip", 0.25)):
        write_set(store, shifted(blobs(60), by), "train", make_key(view=view), order=order)  # type: ignore[arg-type]
        write_set(store, shifted(blobs(30, 1), by), "test", make_key(view=view))
    pair = only_pair(store)
    part = data.load(pair, data.with_views(pair, make_config(train_limit=12))).training
    assert part.views is not None
    assert part.views.shape == (1, 12, part.features.shape[1])
    np.testing.assert_allclose(part.views[0], part.features + 0.25, rtol=1e-6)
    assert (part.rows.max() < 12) == (order == "mixed")


def test_rows_left_out_of_both_sets_stay_left_out(store: FeatureStore) -> None:
    for view, by in (("", 0.0), ("flip", 0.25)):
        write_set(store, shifted(blobs(58), by), "train", make_key(view=view), skipped=(0, 31))
        write_set(store, blobs(30, 1), "test", make_key(view=view))
    pair = only_pair(store)
    part = data.load(pair, data.with_views(pair, make_config())).training
    assert part.views is not None
    np.testing.assert_allclose(part.views[0], part.features + 0.25, rtol=1e-6)


def test_copies_are_found_among_pictures_as_they_are(store: FeatureStore) -> None:
    """A view that shows two pictures alike makes no copies of them."""
    wide = blobs(60, dim=70)
    alike = dataclasses.replace(wide, features=np.tile(wide.features[:3], (20, 1)))
    write_pair(store.root, wide, blobs(30, 1, dim=70))
    write_set(store, alike, "train", make_key(view="flip"))
    pair = only_pair(store)
    assert data.load(pair, data.with_views(pair, make_config())).training.groups is None


# ------------------------------------------------------------------------------------------------ heads


def test_a_record_says_which_views_and_how_good_averages_are(pair: Pair, runs: RunStore) -> None:
    run = trained(pair, runs)
    assert run.config.views == VIEWS
    assert run.averaged is not None
    assert run.averaged.total == 30
    assert "trained on views of each picture too: flip, crop 1 of seed 0" in run.notes
    assert settings_label(run.config) == f"{SMALL}, views {CROP} + flip"
    assert read(runs.root / run.name / "run.json") == run
    facts = json.loads((runs.root / run.name / "run.json").read_text())
    assert facts["config"]["views"] == list(VIEWS)
    assert all(one["config"]["views"] == list(VIEWS) for one in facts["selection"]["tried"])
    assert facts["averaged"] == {"correct": run.averaged.correct, "total": 30}
    kept = load_head(run, runs)
    assert kept.head.config.views == VIEWS
    testing = data.load(pair, run.config).testing
    assert testing is not None
    assert kept.confidence is not None
    assert run.averaged == averaged_score(kept.head, testing, "cpu", kept.confidence.temperature)


SMALL = settings_label(make_config("logreg"))


def test_a_record_without_views_is_what_it_was(pair: Pair, runs: RunStore) -> None:
    (run,) = fit(pair, [make_config("logreg")], "cpu", "a computer", runs, silent)
    text = (runs.root / run.name / "run.json").read_text()
    assert "views" not in text
    assert "averaged" not in text
    assert "views" not in make_config().to_json()
    assert TrainConfig.from_json(make_config().to_json()) == make_config()
    assert TrainConfig.from_json(make_config(views=VIEWS).to_json()) == make_config(views=VIEWS)


def test_a_head_with_views_is_another_than_one_without(pair: Pair, runs: RunStore) -> None:
    (fixed,) = fit(pair, [make_config("logreg", penalty=1.0, views=VIEWS)], "cpu", "a computer", runs, silent)
    assert same(pair, fixed.config, runs) == fixed
    assert same(pair, dataclasses.replace(fixed.config, views=()), runs) is None


@pytest.mark.parametrize("kept", ["none", "one of two", "older"])
def test_without_the_same_views_of_test_pictures_averages_are_not_known(
    store: FeatureStore, runs: RunStore, kept: str
) -> None:
    write_pair(store.root)
    for view in VIEWS:
        write_view(store, blobs(60), "train", view)
    if kept != "none":
        write_view(store, blobs(30, seed=1), "test", "flip")
    if kept == "older":
        write_view(store, blobs(27, seed=1), "test", CROP)
    run = trained(only_pair(store), runs)
    assert run.averaged is None
    reason = "they are of other pictures by now" if kept == "older" else "not all are kept"
    (note,) = [note for note in run.notes if note.startswith("no accuracy averaged over the views of test pictures")]
    assert reason in note
    assert "`headstart extract --model resnet50 --dataset pets --views" in note


def test_averages_choose_nothing(store: FeatureStore, runs: RunStore) -> None:
    """A head is the same whatever the test pictures' views are."""
    write_pair(store.root, overlapping(60, 3, 0), overlapping(30, 3, 1))
    write_view(store, overlapping(60, 3, 0), "train")
    first = trained(only_pair(store), runs)
    write_view(store, overlapping(30, 3, 1), "test", by=9.0)
    second = trained(only_pair(store), runs)
    assert (first.head_sha256, first.averaged) == (second.head_sha256, None)
    assert second.averaged is not None
    assert first.evaluation == second.evaluation


def test_a_set_without_test_split_is_cross_validated_by_picture(store: FeatureStore, runs: RunStore) -> None:
    rows = overlapping(45, 3, 0)
    write_set(store, rows, "all")
    write_view(store, rows, "all", by=0.0)
    pair = only_pair(store)
    run = trained(pair, runs, make_config("logreg", penalty=10.0))
    assert run.evaluated_by.cross_validated
    assert run.evaluation.overall.total == 45
    assert run.averaged == run.evaluation.overall  # the view is the picture
    (plain,) = fit(pair, [make_config("logreg", penalty=10.0)], "cpu", "a computer", runs, silent)
    assert abs(plain.evaluation.overall.correct - run.evaluation.overall.correct) <= 1


def test_a_part_held_out_has_its_views_with_it(store: FeatureStore, runs: RunStore) -> None:
    write_set(store, blobs(60), "all")
    write_view(store, blobs(60), "all")
    config = make_config("logreg", test_fraction=0.2)
    parts = data.load(only_pair(store), data.with_views(only_pair(store), config))
    assert parts.testing is not None
    assert parts.testing.views is not None
    assert parts.training.views is not None
    assert (parts.training.views.shape[1], parts.testing.views.shape[1]) == (48, 12)
    np.testing.assert_allclose(parts.testing.views[0], parts.testing.features + 0.25, rtol=1e-6)
    run = trained(only_pair(store), runs, config)
    assert run.averaged is not None
    assert run.averaged.total == 12


def test_a_sweep_several_seeds_and_a_curve_take_views(pair: Pair, runs: RunStore) -> None:
    config = data.with_views(pair, make_config("mlp", epochs=1))
    assert sweep(pair, config, "cpu", "a computer", runs, silent).config.views == VIEWS
    seeds = [dataclasses.replace(config, seed=seed) for seed in (0, 1)]
    together = fit(pair, seeds, "cpu", "a computer", runs, silent)
    for one, run in zip(seeds, together, strict=True):
        (alone,) = fit(pair, [one], "cpu", "a computer", runs, silent)
        assert (alone.losses, alone.evaluation.overall) == (run.losses, run.evaluation.overall)
    asked = data.with_views(pair, make_config("logreg", penalty=1.0))
    (run,) = fit(pair, [asked], "cpu", "a computer", runs, silent, on_draw=lambda *_: None)
    assert run.curve is not None
    assert run.curve.test_rows == 30


def test_twenty_pictures_of_two_classes_and_one_picture_of_a_third(store: FeatureStore, runs: RunStore) -> None:
    labels = np.append(np.arange(20) % 2, 2).astype(np.int64)
    rows = dataclasses.replace(blobs(21), labels=labels)
    write_pair(store.root, rows, blobs(6, 1))
    write_view(store, rows, "train")
    write_view(store, blobs(6, 1), "test")
    run = trained(only_pair(store), runs, RECIPES["standard"])
    assert run.averaged is not None
    assert isinstance(run.averaged, Score)
    assert run.selection is not None
    assert run.selection.rows == 20


# ------------------------------------------------------------------------------------------------ a validation split


def write_validation(store: FeatureStore, rows: Labelled, views: bool) -> None:
    """A validation split beside the pair's sets, with the same views or without."""
    write_set(store, rows, "val", make_key())
    for view, by in zip(VIEWS, (0.5, 0.25), strict=True):
        if views:
            write_view(store, rows, "val", view, by)


@pytest.mark.parametrize("head", ["logreg", "ridge", "knn", "mlp"])
def test_a_validation_split_judges_pictures_as_they_are(pair: Pair, store: FeatureStore, runs: RunStore, head: str) -> None:
    """Whatever the views of its pictures are, and whether there are any: they are neither trained on nor judged by."""
    config = dataclasses.replace(make_config(head), val_fraction=0.1 if head == "mlp" else 0.0)
    write_validation(store, blobs(120, seed=5), views=False)
    without = trained(only_pair(store), runs, config)
    write_validation(store, blobs(120, seed=5), views=True)
    parts = data.load(only_pair(store), data.with_views(only_pair(store), config))
    assert (parts.training.judging is not None, parts.training.versions) == (True, 3)
    assert (without.train_rows, without.val_rows) == (60, 0)  # none of the training rows was set aside
    assert trained(only_pair(store), runs, config).head_sha256 == without.head_sha256


def test_a_validation_split_that_joins_needs_its_views(pair: Pair, store: FeatureStore, runs: RunStore) -> None:
    write_validation(store, blobs(12, seed=5), views=False)
    with pytest.raises(
        FeaturesNotFound,
        match=r"-val-.*its view crop 1 of seed 0 is not kept; `headstart extract .* --views 1 --seed 0` makes",
    ):
        trained(only_pair(store), runs)
    write_validation(store, blobs(12, seed=5), views=True)
    found = only_pair(store)
    training = data.load(found, data.with_views(found, make_config("logreg"))).training
    assert training.views is not None
    np.testing.assert_allclose(training.views[1], training.features + np.float32(0.25), rtol=1e-6)
    assert trained(found, runs).train_rows == 72


def test_the_command_that_makes_crops_names_number_and_seed(store: FeatureStore) -> None:
    write_pair(store.root)
    for number in (1, 2, 3):
        write_view(store, blobs(60), "train", crop(7, number))
    write_set(store, shifted(blobs(61), 0.0), "train", make_key(), snapshot=True)
    found = only_pair(store)
    with pytest.raises(FeaturesStale, match=r"`headstart extract .* --views 3 --seed 7` brings it up to date"):
        data.with_views(found, make_config("logreg"))
