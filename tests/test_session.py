"""A training session end to end on a small store: head and record agree, and neither is used once altered."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heads_samples import CLASSES, blobs, make_config, make_key, only_pair, silent, write_pair, write_set
from heads_samples import one_thread as one_thread

from headstart.core.cache.errors import FeaturesInvalid, FeaturesNotFound, RunDamaged, RunNotFound
from headstart.core.cache.files import sha256_file
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import checkpoint, predictions_file
from headstart.core.heads.config import HEADS, HeadName, TrainConfig
from headstart.core.heads.data import Labelled, Pair
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions.cross_validation import outcomes
from headstart.core.heads.sessions.session import fit, load_head, load_path, same, sweep
from headstart.core.heads.statistics.accuracy import Evaluation, evaluate
from headstart.core.heads.statistics.measures import NAMES
from headstart.core.heads.training.epoch import Epoch
from headstart.core.heads.training.train import predict, probabilities


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Sixty training and thirty test rows."""
    return write_pair(tmp_path / "features")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A runs directory that is not there yet."""
    return RunStore(tmp_path / "runs")


def train(pair: Pair, store: RunStore, config: TrainConfig | None = None) -> Run:
    (run,) = fit(pair, [config or make_config()], "cpu", "a computer", store, silent)
    return run


def kept_of(run: Run, store: RunStore) -> Kept | None:
    """What was kept of a run's cross-validation."""
    return predictions_file.load(store.root / run.name, run.head_sha256)


def head_file(store: RunStore, run: Run) -> Path:
    return store.root / run.name / "head.safetensors"


def alter(path: Path) -> None:
    """Flip a bit of the last tensor's last number."""
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def labels_of(found: checkpoint.Checkpoint, test: Labelled) -> np.ndarray:
    return predict(found.head, test.features, "cpu")


def evaluation_of(found: checkpoint.Checkpoint, test: Labelled) -> Evaluation:
    """How a kept head does, at its temperature."""
    said = outcomes(found.head, found.confidence, test, "cpu")
    return evaluate(said.predicted, said.labels, CLASSES, said.probabilities)


# ----------------------------------------------------------------------------------------------------------------- fit


@pytest.mark.parametrize("kind", HEADS)
def test_a_saved_head_scores_what_its_record_says(kind: HeadName, pair: Pair, store: RunStore) -> None:
    run = train(pair, store, make_config(kind, epochs=1))  # one epoch: some labels are wrong
    test = blobs(30, seed=1)
    assert run.evaluation == evaluation_of(load_head(run, store), test)
    assert (run.evaluation.measures.keys(), run.evaluated_by) == ({*NAMES}, TEST_SPLIT)
    assert run.evaluation.overall.total == 30


def test_a_record_says_what_the_head_was_made_from(pair: Pair, store: RunStore) -> None:
    config = make_config(epochs=4, val_fraction=0.25, seed=3)
    run = train(pair, store, config)
    assert (run.key, run.config, run.device) == (make_key(), config, "a computer")
    assert (run.train_rows, run.val_rows) == (45, 15)
    assert (len(run.losses), len(run.val_accuracies)) == (4, 4)
    assert run.best_epoch in (1, 2, 3, 4)
    for extraction, features in ((run.train, pair.train), (run.test, pair.test)):
        assert features is not None
        assert extraction.folder == features.folder.name
        assert extraction.digest == features.manifest.digest
        assert (extraction.rows, extraction.elapsed_s) == (features.manifest.rows, 2.5)
    assert run.notes == ()


def test_a_record_is_on_disk_with_the_sha256_of_its_head(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    assert store.runs() == [run]
    assert run.head_sha256 == sha256_file(head_file(store, run))


def test_a_head_knows_what_it_needs_to_be_used_elsewhere(pair: Pair, store: RunStore, tmp_path: Path) -> None:
    run = train(pair, store)
    alone = shutil.copy(head_file(store, run), tmp_path / "alone.safetensors")
    found = checkpoint.load(Path(alone))
    assert (found.classes, found.key, found.weights_from) == (CLASSES, make_key(), "https://example.org/weights.pth")


def test_a_head_never_sees_the_test_rows(tmp_path: Path) -> None:
    heads = []
    for name, scale in (("plain", 1.0), ("wild", -1e6)):
        test = dataclasses.replace(blobs(30, seed=1), features=(scale * blobs(30, seed=1).features).astype(np.float32))
        pair, store = write_pair(tmp_path / name, test=test), RunStore(tmp_path / name / "runs")
        heads.append(load_head(train(pair, store), store).head.state_dict())
    assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())


def test_each_epoch_is_reported(pair: Pair, store: RunStore) -> None:
    seen: list[Epoch] = []
    configs = [make_config("mlp", seed=seed) for seed in (0, 1)]
    runs = fit(pair, configs, "cpu", "a computer", store, seen.append)
    losses = [list(epoch) for epoch in zip(*(run.losses for run in runs), strict=True)]
    accuracies = [list(epoch) for epoch in zip(*(run.val_accuracies for run in runs), strict=True)]
    assert [(one.number, list(one.losses), list(one.accuracies)) for one in seen] == list(
        zip((1, 2, 3), losses, accuracies, strict=True)
    )


def test_heads_trained_together_are_runs_of_their_own_in_the_order_asked_for(pair: Pair, store: RunStore) -> None:
    configs = [
        make_config(seed=2),
        make_config("ridge"),
        make_config("linear", lr=0.1),
        make_config(seed=1, dropout=0.5, val_fraction=0.1),
        make_config("knn"),
        make_config("linear", lr=0.01),
    ]
    runs = fit(pair, configs, "cpu", "a computer", store, silent)
    assert [run.config for run in runs] == configs
    assert {(run.together, run.elapsed_s) for run in runs} == {(6, runs[0].elapsed_s)}  # the call's, by the clock
    assert store.runs() == runs
    for run in runs:
        found, test = load_head(run, store), blobs(30, seed=1)
        assert dataclasses.replace(found.head.config, penalty=None, neighbours=None) == run.config
        assert run.evaluation == evaluation_of(found, test)
        assert run.head_sha256 == sha256_file(head_file(store, run))


def test_a_diverging_head_leaves_no_run_of_those_trained_with_it(pair: Pair, store: RunStore) -> None:
    configs = [make_config(), make_config(lr=1e30)]
    with pytest.raises(FeaturesInvalid, match=r"\(seed 0\); try a --lr below 1e\+30"):
        fit(pair, configs, "cpu", "a computer", store, silent)
    assert not store.root.exists()


def test_the_same_training_again_is_a_new_run_beside_the_old_one(pair: Pair, store: RunStore) -> None:
    one, other = train(pair, store), train(pair, store)
    assert one.name != other.name
    assert store.runs() == [one, other]
    assert (one.losses, one.evaluation) == (other.losses, other.evaluation)


def test_features_of_different_lengths_are_refused_and_leave_no_run(tmp_path: Path, store: RunStore) -> None:
    pair = write_pair(tmp_path / "features", blobs(60, dim=6), blobs(30, dim=5))
    with pytest.raises(FeaturesInvalid, match="D is 6, but 5 in its test set"):
        train(pair, store)
    assert not store.root.exists()


def test_a_limit_beyond_what_is_there_leaves_no_run(pair: Pair, store: RunStore) -> None:
    with pytest.raises(
        FeaturesNotFound, match="the train split has only 60 rows, --train-limit 61 asks for more; use 60 at most"
    ):
        train(pair, store, make_config(train_limit=61))
    assert not store.root.exists()


# --------------------------------------------------------------------------------------------------------------- notes


def test_an_untrained_backbone_is_said_of_every_run(tmp_path: Path, store: RunStore) -> None:
    pair = write_pair(tmp_path / "features", key=make_key(weights="random:0"))
    assert train(pair, store).notes == ("untrained backbone: its weights are random numbers",)


def test_a_limit_is_said_of_the_run(pair: Pair, store: RunStore) -> None:
    assert train(pair, store, make_config(train_limit=24)).notes == (
        "trained on 24 of 60 training images, drawn from each class in its share",
    )


def test_a_limit_that_takes_all_rows_is_not_worth_a_word(pair: Pair, store: RunStore) -> None:
    assert train(pair, store, make_config(train_limit=60)).notes == ()


def test_a_part_of_the_training_images_is_said_of_the_run(tmp_path: Path, store: RunStore) -> None:
    features = FeatureStore(tmp_path / "features")
    write_set(features, blobs(60), "train", split_rows=50_000)
    write_set(features, blobs(30, seed=1), "test")
    assert train(only_pair(features), store).notes == ("trained on the first 60 of 50,000 training images",)


def test_images_left_out_are_not_taken_for_a_limit(tmp_path: Path, store: RunStore) -> None:
    features = FeatureStore(tmp_path / "features")
    write_set(features, blobs(60), "train", skipped=[0, 9])
    write_set(features, blobs(30, seed=1), "test")
    assert train(only_pair(features), store).notes == ("2 unreadable train images left out",)


def test_a_part_is_held_out_of_a_set_without_splits_where_that_is_asked_for_and_said_once(
    tmp_path: Path, store: RunStore
) -> None:
    features = FeatureStore(tmp_path / "features")
    write_set(features, blobs(60), "all")
    run = train(only_pair(features), store, make_config(test_fraction=0.2))
    assert run.notes == (
        "the data set has no test split: 12 of its 60 images, drawn from each class in its share, were held out",
    )
    assert run.evaluated_by == HELD_OUT
    assert (run.train_rows + run.val_rows, run.evaluation.overall.total) == (48, 12)
    assert dataclasses.replace(run.train, used="") == dataclasses.replace(run.test, used="")
    assert run.train.used != run.test.used
    assert kept_of(run, store) is None


def test_a_part_of_a_set_without_splits_is_said_of_the_run(tmp_path: Path, store: RunStore) -> None:
    features = FeatureStore(tmp_path / "features")
    write_set(features, blobs(60), "all", split_rows=5_000)
    assert any("first 60 of" in note and "5,000" in note for note in train(only_pair(features), store).notes)


# ---------------------------------------------------------------------------------------------------- cross-validation


@pytest.fixture
def unsplit(tmp_path: Path) -> Pair:
    """Sixty rows without splits."""
    features = FeatureStore(tmp_path / "features")
    write_set(features, blobs(60), "all")
    return only_pair(features)


@pytest.mark.parametrize("kind", HEADS)
def test_a_set_without_splits_is_cross_validated_and_all_of_it_trained_on(
    kind: HeadName, unsplit: Pair, store: RunStore
) -> None:
    told: list[tuple[int, int]] = []
    epochs: list[int] = []
    (run,) = fit(
        unsplit,
        [make_config(kind, val_fraction=0.0)],
        "cpu",
        "a computer",
        store,
        lambda epoch: epochs.append(epoch.number),
        lambda *fold: told.append(fold),
    )
    assert run.train_rows == run.evaluation.overall.total == 60
    assert run.train == run.test
    by = run.evaluated_by
    assert (by.kind, by.folds, by.repeats, len(by.accuracies)) == ("cross-validation", 5, 3, 3)
    assert by.accuracies[0] == run.evaluation.overall.accuracy
    assert told == [(done, 180) for done in range(0, 181, 12)]
    assert epochs == [*range(1, len(run.losses) + 1)]  # those of the folds are not told of
    assert run.notes == (
        "the data set has no test split: tested by cross-validation in 5 folds, 3 times over, and trained on all images",
    )


def test_what_the_folds_said_is_kept_and_is_not_what_the_kept_head_says(unsplit: Pair, store: RunStore) -> None:
    run = train(unsplit, store, make_config("knn"))
    kept = kept_of(run, store)
    assert kept is not None
    assert kept.rows.tolist() == list(range(60))
    assert kept.classes == CLASSES
    assert np.array_equal(kept.outcomes.labels, blobs(60).labels)
    assert run.evaluation == evaluate(kept.outcomes.predicted, blobs(60).labels, CLASSES, kept.outcomes.probabilities)
    own = probabilities(load_head(run, store).head, blobs(60).features, "cpu")
    assert not np.allclose(own, kept.outcomes.probabilities)  # it has seen them: each is its own nearest neighbour


def test_predictions_that_were_altered_are_refused(unsplit: Pair, store: RunStore) -> None:
    run = train(unsplit, store, make_config("ridge"))
    path = store.root / run.name / "predictions.safetensors"
    alter(path)
    with pytest.raises(RunDamaged, match=r"predictions\.safetensors: not predictions of ours, or altered"):
        kept_of(run, store)
    path.unlink()
    assert kept_of(run, store) is None


def test_several_seeds_are_tested_on_the_same_folds_once_each(unsplit: Pair, store: RunStore) -> None:
    told: list[tuple[int, int]] = []
    configs = [make_config("mlp", seed=seed) for seed in range(3)]
    runs = fit(unsplit, configs, "cpu", "a computer", store, silent, lambda *fold: told.append(fold))
    assert told[-1] == (60, 60)
    assert {(run.evaluated_by.folds, run.evaluated_by.repeats) for run in runs} == {(5, 1)}
    kept = [kept_of(run, store) for run in runs]
    assert len({found.outcomes.probabilities.tobytes() for found in kept if found}) == 3


def test_a_sweep_is_cross_validated_whole(unsplit: Pair, store: RunStore) -> None:
    told: list[tuple[int, int]] = []
    config = make_config("linear", val_fraction=0.2, epochs=2)
    run = sweep(unsplit, config, "cpu", "a computer", store, silent, lambda *fold: told.append(fold))
    assert told[-1] == (180, 180)
    assert run.selection is not None
    assert run.config == run.selection.config
    assert run.evaluated_by.cross_validated


def test_a_sweep_is_tested_on_test_rows_where_there_are_some(pair: Pair, store: RunStore) -> None:
    run = sweep(pair, make_config("linear", epochs=2), "cpu", "a computer", store, silent)
    assert run.evaluated_by == TEST_SPLIT
    assert kept_of(run, store) is None


def test_a_head_that_fails_in_a_fold_leaves_no_run(tmp_path: Path, store: RunStore) -> None:
    features = FeatureStore(tmp_path / "features")
    write_set(features, blobs(4, classes=2), "all")
    message = r"pets-all-.*: in the cross-validation, on 2 of 4 rows: .* leave none for validation; use --val-fraction 0"
    with pytest.raises(FeaturesInvalid, match=message):
        train(only_pair(features), store, make_config(val_fraction=0.1))
    assert not store.root.exists()


def test_a_limit_of_a_set_without_splits_is_of_the_rows_that_are_cross_validated(unsplit: Pair, store: RunStore) -> None:
    run = train(unsplit, store, make_config("ridge", train_limit=20))
    assert (run.train_rows, run.evaluation.overall.total) == (20, 20)
    assert run.train.used == run.test.used
    kept = kept_of(run, store)
    assert kept is not None
    assert len(kept.rows) == 20


# ---------------------------------------------------------------------------------------------------------------- same


def test_the_same_training_is_found_again(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    train(pair, store, make_config(seed=1))
    assert same(pair, make_config(), store) == run


def test_of_several_the_newest_is_found(pair: Pair, store: RunStore) -> None:
    train(pair, store)
    newest = train(pair, store)
    assert same(pair, make_config(), store) == newest


def test_nothing_is_found_where_nothing_was_trained(pair: Pair, store: RunStore) -> None:
    assert same(pair, make_config(), store) is None


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 4},
        {"head": "linear"},
        {"recipe": "study"},
        {"train_limit": 60},
        {"test_fraction": 0.2},
        {"group_by": "^row"},
    ],
    ids=str,
)
def test_another_configuration_is_another_training(change: dict[str, Any], pair: Pair, store: RunStore) -> None:
    train(pair, store)
    assert same(pair, dataclasses.replace(make_config(), **change), store) is None


@pytest.mark.parametrize("split", ["train", "test"])
def test_other_features_are_another_training(split: str, pair: Pair, store: RunStore, tmp_path: Path) -> None:
    train(pair, store)
    more = blobs(90, seed=2)
    others = (
        write_pair(tmp_path / "others", more, None) if split == "train" else write_pair(tmp_path / "others", None, more)
    )
    assert same(others, make_config(), store) is None


def test_the_same_features_elsewhere_are_the_same_training(pair: Pair, store: RunStore, tmp_path: Path) -> None:
    run = train(pair, store)
    assert same(write_pair(tmp_path / "elsewhere"), make_config(), store) == run


# ------------------------------------------------------------------------------------------------------------- loading


def test_an_altered_head_is_refused(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    alter(head_file(store, run))
    with pytest.raises(RunDamaged, match=r"head\.safetensors: SHA-256 is .*run\.json says .*train the head again"):
        load_head(run, store)


def test_a_whole_head_of_another_run_is_refused(pair: Pair, store: RunStore) -> None:
    run, other = train(pair, store), train(pair, store, make_config(seed=1))
    shutil.copy(head_file(store, other), head_file(store, run))
    with pytest.raises(RunDamaged, match=r"SHA-256 is .*run\.json says"):
        load_head(run, store)


def test_a_missing_head_is_not_found(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    head_file(store, run).unlink()
    with pytest.raises(RunNotFound, match=r"head\.safetensors: can't be read"):
        load_head(run, store)


@pytest.mark.parametrize("name", ["", "head.safetensors"], ids=["the folder", "the file"])
def test_a_path_to_a_run_gives_head_and_record(name: str, pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    found, record = load_path(store.root / run.name / name)
    assert record == run
    assert np.array_equal(labels_of(found, blobs(30, seed=1)), labels_of(load_head(run, store), blobs(30, seed=1)))


@pytest.mark.parametrize("path", [".", "head.safetensors"])
def test_a_run_is_found_from_within_its_own_folder(
    path: str, pair: Pair, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(pair, store)
    monkeypatch.chdir(store.root / run.name)
    _, record = load_path(Path(path))
    assert record == run


@pytest.mark.parametrize("name", ["", "head.safetensors"], ids=["the folder", "the file"])
def test_a_path_to_an_altered_head_is_refused(name: str, pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    alter(head_file(store, run))
    with pytest.raises(RunDamaged, match="SHA-256 is"):
        load_path(store.root / run.name / name)


def test_a_lone_head_is_used_without_a_record(pair: Pair, store: RunStore, tmp_path: Path) -> None:
    run = train(pair, store)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(head_file(store, run), alone / "mine.safetensors")
    found, record = load_path(alone / "mine.safetensors")
    assert (record, found.classes) == (None, CLASSES)


def test_a_folder_with_a_lone_head_is_used_without_a_record(pair: Pair, store: RunStore, tmp_path: Path) -> None:
    run = train(pair, store)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(head_file(store, run), alone)
    found, record = load_path(alone)
    assert (record, found.classes) == (None, CLASSES)


@pytest.mark.parametrize("name", ["nowhere", "nowhere/head.safetensors"])
def test_a_path_to_nothing_is_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"nowhere.*can't be read"):
        load_path(tmp_path / name)


def test_a_runs_folder_may_be_renamed(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    (store.root / run.name).rename(store.root / "the-good-one")
    found, record = load_path(store.root / "the-good-one")
    assert found.classes == CLASSES
    assert record is not None
    assert record.head_sha256 == run.head_sha256


def test_a_copy_of_a_run_is_checked_by_its_own_head(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    copy = Path(shutil.copytree(store.root / run.name, store.root / "copy"))
    alter(copy / "head.safetensors")
    with pytest.raises(RunDamaged, match="SHA-256 is"):
        load_path(copy)


def test_a_renamed_runs_folder_is_still_found_by_its_model(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    (store.root / run.name).rename(store.root / "the-good-one")
    (found,) = store.newest(["resnet50"])
    assert load_head(found, store).classes == CLASSES


def test_another_head_beside_a_runs_own_is_the_one_that_is_used(pair: Pair, store: RunStore) -> None:
    run, other = train(pair, store), train(pair, store, make_config(seed=1))
    beside = store.root / run.name / "other.safetensors"
    shutil.copy(head_file(store, other), beside)
    found, record = load_path(beside)
    assert (found.head.config.seed, record) == (1, None)


def test_a_missing_file_in_a_runs_folder_is_not_found(pair: Pair, store: RunStore) -> None:
    run = train(pair, store)
    with pytest.raises(RunNotFound, match=r"haed\.safetensors: can't be read"):
        load_path(store.root / run.name / "haed.safetensors")
