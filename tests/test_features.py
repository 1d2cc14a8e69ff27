"""Feature sets as arrays: their rows, their parts, and what they are to numpy, torch and pandas."""

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from api_samples import SMALL, here, pets
from extract_samples import write_picture
from heads_samples import blobs, make_config, make_key, only_pair, write_pair, write_set
from torch.utils.data import DataLoader

import headstart as hs
from headstart.api.features import Features
from headstart.core.cache.errors import ArgumentInvalid, FeaturesDamaged, FeaturesInvalid, FeaturesNotFound, WeightsMismatch
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import data

__all__ = ["here"]


def split_set(root: Path) -> Features:
    pair = write_pair(root)
    assert pair.test is not None
    return Features([pair.train, pair.test])


def test_rows_stand_split_after_split(tmp_path: Path) -> None:
    features = split_set(tmp_path)
    assert len(features) == 90
    assert features.X.dtype == np.float32
    assert np.array_equal(features.X, np.concatenate([blobs(60).features, blobs(30, seed=1).features]))
    assert features.split.tolist() == ["train"] * 60 + ["test"] * 30
    assert features.ids[0] == "row-0"
    assert np.array_equal(features.test.X, blobs(30, seed=1).features)
    assert np.shares_memory(features.train.X, features.X)


def test_a_part_is_no_whole(tmp_path: Path) -> None:
    part = split_set(tmp_path).train
    assert part.train is part
    with pytest.raises(ArgumentInvalid, match=r"these are the train rows alone; take \.test of the whole set"):
        part.test  # noqa: B018


def test_a_set_without_splits_is_divided_as_for_a_training(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    features = Features([write_set(store, blobs(40), "all")])
    parts = data.load(only_pair(store), make_config(test_fraction=0.2))
    assert parts.testing is not None
    assert np.array_equal(features.train.X, parts.training.features)
    assert np.array_equal(features.test.X, parts.testing.features)
    few = Features(features.sets, limit=20)
    assert len(few.X) == len(few) == 20
    assert {*few.train.ids} <= {*features.train.ids}
    assert {*few.test.ids} <= {*features.test.ids}


def test_a_limit_gives_no_more_rows_and_counts_images_left_out(tmp_path: Path) -> None:
    found = write_set(FeatureStore(tmp_path), blobs(20), "train", skipped=(3,))
    assert Features([found], limit=10).ids.tolist() == [f"row-{i}" for i in range(10) if i != 3]
    assert len(Features([found], limit=100).X) == 20


def test_missing_rows_are_said(tmp_path: Path) -> None:
    found = write_set(FeatureStore(tmp_path), blobs(20), "train")
    with pytest.raises(FeaturesNotFound, match="has no test rows; extract, or open, the test split too"):
        Features([found]).test  # noqa: B018


def test_rows_without_labels_are_features_that_can_not_be_divided(here: Path) -> None:
    for seed in range(4):
        write_picture(here / "new" / f"{seed}.png", seed)
    features = hs.extract("folder:new", model="resnet18", **SMALL)
    assert features.y.tolist() == [-1] * 4
    assert features.classes == ()
    with pytest.raises(FeaturesInvalid, match="rows without a label can't be divided"):
        features.train  # noqa: B018
    with pytest.raises(FeaturesInvalid, match="have no label"):
        hs.train(features)


def test_a_set_is_an_array_and_a_data_set(tmp_path: Path) -> None:
    features = split_set(tmp_path)
    assert np.array_equal(np.asarray(features), features.X)
    assert np.asarray(features, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(features), features.X)
    row, label = features[-1]
    assert np.array_equal(row, features.X[-1])
    assert type(label) is int
    rows, labels = features[2:5]
    assert (rows.shape, labels.tolist()) == ((3, 6), [2, 0, 1])
    assert repr(features) == "Features(resnet50 pets train and test: 90 x 6, 3 classes)"


def test_torch_loads_it_as_it_stands(tmp_path: Path) -> None:
    features = split_set(tmp_path).train
    batches = list(DataLoader(features, batch_size=25))  # type: ignore[arg-type]
    assert [len(labels) for _, labels in batches] == [25, 25, 10]
    assert torch.cat([rows for rows, _ in batches]).numpy().tobytes() == features.X.tobytes()
    assert torch.cat([labels for _, labels in batches]).tolist() == features.y.tolist()


def test_pandas_gets_names(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    frame = split_set(tmp_path).to_pandas()
    assert [*frame.columns[:4]] == ["id", "split", "label", "f0"]
    assert frame.loc[1, "label"] == "dog"
    assert frame.shape == (90, 9)


def test_without_pandas_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"Features.to_pandas needs pandas; `pip install pandas`"):
        split_set(tmp_path).to_pandas()


def test_open_checks_what_it_reads(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    assert len(hs.open(pair.train.folder)) == 60
    (pair.train.folder / "shard-00000.h5").write_bytes(b"other")
    with pytest.raises(FeaturesDamaged, match="SHA-256 is"):
        hs.open(str(pair.train.folder))
    with pytest.raises(FeaturesNotFound, match="no complete feature set; there are: "):
        hs.open(tmp_path / "nothing")


def test_extract_goes_on_and_says_what_a_command_says(here: Path) -> None:
    class Told(hs.Observer):
        def __init__(self) -> None:
            self.notes: list[str] = []
            self.rows = 0

        def warn(self, text: str) -> None:
            self.notes.append(text)

        def advance(self, rows: int) -> None:
            self.rows += rows

    pets(here / "pets", each=3)
    told = Told()
    first = hs.extract("folder:pets", "resnet18", limit=5, observer=told, **SMALL)
    assert (len(first.X), told.rows) == (5, 5)
    assert any("random:0" in note for note in told.notes)
    whole = hs.extract("folder:pets", "resnet18", shard_rows=5, observer=told, **SMALL)
    assert (len(whole.X), told.rows) == (9, 9)
    assert np.array_equal(whole.X[:5], first.X)
    assert len(hs.extract("folder:pets", "resnet18", limit=5, observer=told, **SMALL).X) == 5
    assert told.rows == 9
    assert (here / "features").is_dir()


def test_folders_come_from_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_FEATURES", str(here / "elsewhere"))
    features = hs.extract("digits", "resnet18", split="test", limit=3, **SMALL)
    assert features.folders[0].parent == here / "elsewhere"
    assert features.key.backbone != make_key().backbone


def test_a_feature_set_is_of_one_backbone(here: Path) -> None:
    with pytest.raises(WeightsMismatch, match="model 'all' is unknown"):
        hs.extract("digits", "all", **SMALL)
