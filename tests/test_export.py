"""What is exported is what was kept, in a form that other tools read."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from cache_samples import make_shards, write_set

from cache.errors import FeaturesDamaged, FeaturesInvalid
from cache.export import export
from cache.files import parse_json
from cache.key import FeatureKey
from cache.store import FeatureSet, FeatureStore


@pytest.fixture
def features(tmp_path: Path) -> FeatureSet:
    """A set of three shards with a row left out."""
    return write_set(FeatureStore(tmp_path / "features"), make_shards(np.random.default_rng(0), skipped=(6,)))


def test_one_hdf5_file_holds_all_rows_and_the_key(features: FeatureSet, tmp_path: Path) -> None:
    assert export(features, tmp_path / "out.h5") == [tmp_path / "out.h5"]
    rows = features.load()
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["features"][:], rows.features)
        assert np.array_equal(file["labels"][:], rows.labels)
        assert np.array_equal(file["ids"][:], rows.ids)
        assert FeatureKey.from_json(parse_json(bytes(file.attrs["key"]))) == features.manifest.key


def test_a_pair_of_npy_files_holds_features_and_labels(features: FeatureSet, tmp_path: Path) -> None:
    names = export(features, tmp_path / "out.npy")
    assert [path.name for path in names] == ["out.features.npy", "out.labels.npy"]
    found = [np.load(path, allow_pickle=False) for path in names]
    rows = features.load()
    assert np.array_equal(found[0], rows.features)
    assert np.array_equal(found[1], rows.labels)


def test_parquet_has_a_column_for_each_number(features: FeatureSet, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    export(features, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    rows = features.load()
    assert table.column_names == ["id", "label", "f0", "f1", "f2", "f3"]
    assert np.array_equal(table["f2"].to_numpy(), rows.features[:, 2])
    assert table["label"].to_pylist() == rows.labels.tolist()


def test_parquet_without_pyarrow_names_the_package(
    features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)  # Python's own way to say: not importable
    with pytest.raises(FeaturesInvalid, match="needs pyarrow; `pip install pyarrow`"):
        export(features, tmp_path / "out.parquet")


def test_another_suffix_is_refused_with_the_known_ones(features: FeatureSet, tmp_path: Path) -> None:
    with pytest.raises(FeaturesInvalid, match=r"suffix is '\.mat', expected one of \.h5, \.npy, \.parquet"):
        export(features, tmp_path / "out.mat")


def test_a_damaged_set_is_not_exported(features: FeatureSet, tmp_path: Path) -> None:
    (features.folder / "shard-00001.h5").unlink()
    with pytest.raises(FeaturesDamaged, match=r"shard-00001\.h5: missing"):
        export(features, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
