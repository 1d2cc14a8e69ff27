"""What is exported is what was kept, in a form that other tools read."""

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from cache_samples import make_shard, make_shards, write_set

from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid
from headstart.core.cache.export import export
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import parse_json
from headstart.core.cache.key import NamedKey
from headstart.core.cache.store import FeatureStore


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
        assert NamedKey.from_json(parse_json(bytes(file.attrs["key"]))) == features.manifest.named


def test_the_hdf5_file_is_of_the_form_that_every_reader_knows(features: FeatureSet, tmp_path: Path) -> None:
    export(features, tmp_path / "out.H5")
    assert (tmp_path / "out.H5").read_bytes()[8] == 0  # the first superblock there was
    with h5py.File(tmp_path / "out.H5") as file:
        for name in ("features", "labels", "ids"):
            layout = file[name].id.get_create_plist()
            assert (layout.get_layout(), layout.get_nfilters()) == (h5py.h5d.CONTIGUOUS, 0)


@pytest.mark.parametrize("name", ["out.h5", "out.npy"])
def test_half_precision_is_widened_where_asked_and_loses_nothing(tmp_path: Path, name: str) -> None:
    shards = [make_shard(np.random.default_rng(0), 0, 5, dtype=np.float16)]
    features = write_set(FeatureStore(tmp_path / "features"), shards)
    for dtype in ("float32", "float16", None):
        export(features, tmp_path / name, dtype)
        found = read(tmp_path / name)
        assert found.dtype == (dtype or "float16")
        assert np.array_equal(found, features.load().features)


def read(path: Path) -> npt.NDArray[np.generic]:
    if path.suffix == ".npy":
        found: npt.NDArray[np.generic] = np.load(path.with_suffix(".features.npy"), allow_pickle=False)
        return found
    with h5py.File(path) as file:
        return np.asarray(file["features"])


def test_single_precision_is_narrowed_where_it_fits(features: FeatureSet, tmp_path: Path) -> None:
    export(features, tmp_path / "out.h5", "float16")
    assert np.array_equal(read(tmp_path / "out.h5"), features.load().features.astype(np.float16))


def test_what_half_precision_can_not_hold_is_refused_by_its_image(tmp_path: Path) -> None:
    shard = make_shard(np.random.default_rng(0), 0, 5)
    shard.rows.features[3, 1] = 70_000
    features = write_set(FeatureStore(tmp_path / "features"), [shard])
    with pytest.raises(
        FeaturesInvalid, match=r"out\.h5: the features of 3 are beyond the range of float16; leave --dtype out"
    ):
        export(features, tmp_path / "out.h5", "float16")
    assert not (tmp_path / "out.h5").exists()


def test_parquet_in_half_precision_is_refused(features: FeatureSet, tmp_path: Path) -> None:
    with pytest.raises(FeaturesInvalid, match=r"few readers of Parquet know float16, .*; leave --dtype out"):
        export(features, tmp_path / "out.parquet", "float16")


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
