"""Rows of a feature set a chunk at a time: what `FeatureSet.load` gives, and every damage found out."""

import dataclasses
import itertools
import os
from pathlib import Path

import cache_samples as samples
import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache import places
from headstart.core.cache.errors import FeaturesDamaged, FeaturesInvalid
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.row_reader import RowReader, fletcher32
from headstart.core.cache.store import FeatureStore

KEY = samples.make_key()


def written(
    root: Path,
    edges: tuple[int, ...] = (0, 150, 300),
    dim: int = 3,
    dtype: npt.DTypeLike = np.float16,
    skipped: tuple[int, ...] = (),
) -> FeatureSet:
    """A set of shards whose chunks are of 64 rows, the last of each shorter."""
    rng = np.random.default_rng(0)
    shards = [
        samples.make_shard(rng, first, last, dim=dim, dtype=dtype, skipped=skipped)
        for first, last in itertools.pairwise(edges)
    ]
    with FeatureStore(root).writing(KEY, "train", samples.never_wait) as writer:
        records = [writer.put(shard, index, None, 0.5) for index, shard in enumerate(shards)]
        return writer.commit(records, dim, str(np.dtype(dtype)), samples.make_provenance(split_rows=1000))


def checked(source: FeatureSet, limit: int | None = None) -> RowReader:
    """A reader that has checked its set."""
    reader = RowReader(source, limit)
    for _ in reader.check():
        pass
    return reader


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("limit", [None, 1, 64, 149, 151, 300])
def test_all_chunks_are_the_rows_of_the_set(tmp_path: Path, dtype: npt.DTypeLike, limit: int | None) -> None:
    source = written(tmp_path, dtype=dtype, skipped=(2, 63, 149))
    rows, reader = source.load(limit), RowReader(source, limit)
    parts = list(reader.check())
    assert np.array_equal(np.concatenate([part.labels for part in parts]), rows.labels)
    assert np.array_equal(np.concatenate([part.ids for part in parts]), rows.ids)
    assert np.array_equal(np.concatenate([part.digests for part in parts if part.digests is not None]), rows.digests)
    found = [reader.read(chunk) for chunk in range(len(reader.starts))]
    assert np.concatenate(found).tobytes() == rows.features.tobytes()
    assert [len(part) for part in found] == np.diff([*reader.starts, reader.rows]).tolist()


def test_each_chunk_stands_alone(tmp_path: Path) -> None:
    source = written(tmp_path)
    reader, rows = checked(source), source.load().features
    for chunk in reversed(range(len(reader.starts))):
        found = reader.read(chunk)
        first = int(reader.starts[chunk])
        assert np.array_equal(found, rows[first : first + len(found)])


@given(st.binary(max_size=600).map(lambda content: content[: len(content) // 2 * 2]))
def test_the_checksum_is_that_of_its_definition(content: bytes) -> None:
    first = second = 0
    for place in range(0, len(content), 2):
        first = (first + (content[place] << 8 | content[place + 1])) % 65535
        second = (second + first) % 65535
    found = fletcher32(content)
    assert (found & 0xFFFF) % 65535 == first
    assert (found >> 16) % 65535 == second


@pytest.mark.parametrize("fill", [0, 0xFFFF, 0x8000])
def test_the_checksum_is_that_of_hdf5_for_odd_contents(tmp_path: Path, fill: int) -> None:
    values = np.full((64, 4100), fill, dtype=np.uint16)
    with h5py.File(tmp_path / "one.h5", "w") as file:
        chunk = file.create_dataset("x", data=values, chunks=values.shape, fletcher32=True).id.get_chunk_info(0)
    content = (tmp_path / "one.h5").read_bytes()[chunk.byte_offset : chunk.byte_offset + chunk.size]
    assert fletcher32(content[:-4]) == int.from_bytes(content[-4:], "little")


def test_a_flipped_bit_is_found_before_anything_is_read(tmp_path: Path) -> None:
    source = written(tmp_path)
    samples.flip(source.folder / "shard-00001.h5")
    with pytest.raises(FeaturesDamaged, match=r"shard-00001\.h5: SHA-256 is [0-9a-f]{12}…, expected"):
        checked(source)


def test_a_flipped_bit_after_the_check_is_found_by_the_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(tmp_path)
    reader = checked(source)
    monkeypatch.setattr("headstart.core.cache.row_reader._identity", lambda _: reader._places[0].identity)
    path = source.folder / "shard-00000.h5"
    samples.flip(path, int(reader._places[0].offsets[1]) + 5)
    assert len(reader.read(0)) == 64
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: its rows from 64 on are not what they were"):
        reader.read(1)


def test_a_file_that_was_changed_after_the_check_is_not_read(tmp_path: Path) -> None:
    source = written(tmp_path)
    reader = checked(source)
    path = source.folder / "shard-00000.h5"
    content = path.read_bytes()
    os.unlink(path)
    path.write_bytes(content)
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: another process removed the set or made it anew"):
        reader.read(0)
    path.unlink()
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: another process removed the set or made it anew"):
        reader.read(0)


def test_missing_stray_and_foreign_files_are_named(tmp_path: Path) -> None:
    source, other = written(tmp_path / "one"), written(tmp_path / "other", edges=(0, 100, 250))
    stray = source.folder / "mine.h5"
    stray.write_bytes(b"")
    with pytest.raises(FeaturesDamaged, match=r"mine\.h5: manifest\.json does not list this file"):
        checked(source)
    stray.unlink()
    (source.folder / "shard-00000.h5").unlink()
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: missing, though manifest\.json lists it"):
        checked(source)
    os.mkfifo(source.folder / "shard-00000.h5")
    with pytest.raises(FeaturesDamaged, match=r"shard-00000\.h5: is no regular file"):
        checked(source)
    assert checked(other).rows == 250


def test_chunks_that_cut_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(tmp_path)
    monkeypatch.setattr(h5py.Dataset, "chunks", (64, 2))
    with pytest.raises(FeaturesInvalid, match=r"shard-00000\.h5: its chunks have 2 of 3 features"):
        checked(source)


def test_a_set_in_an_object_store_is_refused(tmp_path: Path) -> None:
    source = dataclasses.replace(written(tmp_path), folder=places.place("s3://bucket/features/a-set"))
    with pytest.raises(FeaturesInvalid, match=r"a-set: --memory reads rows from files of this machine.*leave --memory out"):
        RowReader(source)
