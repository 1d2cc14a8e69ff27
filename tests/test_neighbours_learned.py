"""Which rows a head learned from: those that its training used, whatever became of the others."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from heads_samples import Labelled, blobs, make_config, make_key, make_run, silent, write_set

from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import data
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Pair
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions.session import fit
from headstart.serve.neighbours import learned as module
from headstart.serve.neighbours.learned import learned


def trained(root: Path, pair: Pair, **settings: object) -> Run:
    config = make_config("ridge", **settings)
    (run,) = fit(pair, [config], "cpu", "cpu", RunStore(root / "runs"), silent)
    return run


def by_digest(pair: Pair) -> dict[str, FeatureSet]:
    return {one.manifest.digest: one for one in pair.sets}


def numbers(pair: Pair, config: TrainConfig) -> list[int]:
    """The rows that a training learns from, in its own words."""
    return data.load(pair, config).training.learning.rows.tolist()


def written(store: FeatureStore, rows: Labelled, split: str, **more: object) -> FeatureSet:
    return write_set(store, rows, split, make_key(), **more)  # type: ignore[arg-type]


def alike(rows: int, seed: int = 0) -> Labelled:
    """Rows of which each stands there twice, with another label now and then."""
    found = blobs(rows, seed)
    return dataclasses.replace(found, features=np.repeat(found.features[::2], 2, axis=0)[:rows])


CASES: dict[str, tuple[Sequence[tuple[str, Labelled]], dict[str, object]]] = {
    "a test split": ([("train", blobs(40)), ("test", blobs(20, seed=1))], {}),
    "some rows, drawn": ([("train", blobs(40)), ("test", blobs(20, seed=1))], {"train_limit": 25}),
    "cross-validated": ([("all", blobs(40))], {"test_fraction": None}),
    "a part held out": ([("all", blobs(40))], {"test_fraction": 0.25}),
    "a part held out of equal rows": ([("all", alike(40))], {"test_fraction": 0.25}),
    "a part held out by group": ([("all", blobs(40))], {"test_fraction": 0.25, "group_by": "row-(.)"}),
    "some rows of what is not held out": ([("all", blobs(40))], {"test_fraction": 0.25, "train_limit": 20}),
    "a validation split that judges": ([("train", blobs(40)), ("val", blobs(120, seed=2)), ("test", blobs(9))], {}),
    "one that is trained on": ([("train", blobs(40)), ("val", blobs(12, seed=2)), ("test", blobs(9))], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_the_training(case: str, tmp_path: Path) -> None:
    parts, settings = CASES[case]
    store = FeatureStore(tmp_path / "features")
    sets = {split: written(store, rows, split) for split, rows in parts}
    pair = Pair(sets.get("train") or sets["all"], sets.get("test"), sets.get("val"))
    run = trained(tmp_path, pair, **settings)
    found = learned(run, by_digest(pair))
    assert [row for part in found.parts for row in part.rows.tolist()] == numbers(pair, run.config)
    places = [found.place(row) for row in range(len(found.ids))]
    assert [name.decode() for name in found.ids.tolist()] == [f"row-{row}" for _, row in places]
    features = np.concatenate([block.features for block in found.rows.blocks(np.ones(len(places), dtype=bool), 7)])
    for row, (source, number) in enumerate(places):
        rows = source.load()
        assert np.array_equal(features[row], rows.features[number].astype(np.float32))
        assert found.rows.labels[row] == rows.labels[number]
    with pytest.raises(IndexError):
        found.place(len(places))
    with pytest.raises(IndexError):
        found.place(-1)


def test_rows_that_were_left_out_have_no_place(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    pair = Pair(written(store, blobs(30), "train", skipped=(0, 7)), written(store, blobs(9, seed=1), "test"))
    found = learned(trained(tmp_path, pair), by_digest(pair))
    assert found.parts[0].rows.tolist() == [row for row in range(32) if row not in (0, 7)]
    assert found.ids[6] == b"row-8"


def test_features_that_are_gone_are_not_replaced_by_others(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    pair = Pair(written(store, blobs(30), "train"), written(store, blobs(9, seed=1), "test"))
    run = trained(tmp_path, pair)
    later = written(store, blobs(30, seed=5), "train", snapshot=True)
    with pytest.raises(FeaturesNotFound, match=r"the features that it was trained on, .* are not there"):
        learned(run, {later.manifest.digest: later})


def test_rows_that_can_not_be_told_are_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path / "features")
    pair = Pair(written(store, alike(40), "all"), None)
    run = trained(tmp_path, pair, test_fraction=0.25, group_by="row-(.)")
    monkeypatch.setattr(module, "IN_MEMORY", 10)
    with pytest.raises(
        FeaturesNotFound, match=r"which rows of .* can't be told; train it again with `headstart train-head`"
    ):
        learned(run, by_digest(pair))
    old = make_run(train=dataclasses.replace(run.train, used=""))
    with pytest.raises(FeaturesNotFound, match="can't be told"):
        learned(old, by_digest(pair))


def test_a_damaged_set_is_an_error(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    pair = Pair(written(store, blobs(30), "train"), written(store, blobs(9, seed=1), "test"))
    run = trained(tmp_path, pair)
    (path,) = pair.train.folder.glob("*.h5")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: SHA-256"):
        learned(run, by_digest(pair))


def test_sets_of_another_dimension_are_not_mixed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    first, other = written(store, blobs(30), "train"), written(store, blobs(9, dim=3), "val")
    with pytest.raises(FeaturesInvalid, match="its validation set has another D"):
        module.located((module.Part(first, np.arange(30)), module.Part(other, np.arange(9))))
