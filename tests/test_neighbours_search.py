"""The nearest rows: exactly those with the highest cosine, in memory and from the disk, whatever the blocks."""

import itertools
from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from heads_samples import Labelled, make_key, write_set
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.row_reader import RowReader
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.neighbours import search
from headstart.core.heads.neighbours.search import Search
from headstart.core.heads.streams.on_disk import OnDisk


def on_disk(root: Path, features: npt.NDArray[np.float32]) -> OnDisk:
    labels = np.zeros(len(features), dtype=np.int64)
    reader = RowReader(write_set(FeatureStore(root), Labelled(features, labels), "train", make_key()))
    list(reader.check())
    return OnDisk([reader], np.arange(len(features)), labels)


def cosine(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """In float64, one number after the other."""
    length = float(np.linalg.norm(one.astype(np.float64)) * np.linalg.norm(other.astype(np.float64)))
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True)) / length if length else 0.0


@hypothesis.settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 150), dim=st.integers(1, 9), block=st.integers(1, 2**13),
    count=st.integers(0, 25), keep=st.booleans(),
)  # fmt: skip
def test_they_are_those_that_a_loop_finds(
    seed: int, rows: int, dim: int, block: int, count: int, keep: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    # small integers: many rows are equal, opposite, multiples of each other, or zeros
    features = rng.integers(-2, 3, (rows, dim)).astype(np.float32)
    asked = rng.integers(-2, 3, (3, dim)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK", block)
        found = Search(on_disk(tmp_path_factory.mktemp("set"), features), keep=keep)
        places, cosines = found.nearest(asked, count)
    assert places.shape == cosines.shape == (3, min(count, rows))
    for one, own, values in zip(asked, places.tolist(), cosines.tolist(), strict=True):
        every = [cosine(one, row) for row in features]
        assert values == pytest.approx(sorted(every, reverse=True)[:count], abs=1e-9)
        assert values == pytest.approx([every[place] for place in own], abs=1e-9)
        assert len({*own}) == len(own)
        same = [(before, place) for before, place in itertools.pairwise(own) if (features[before] == features[place]).all()]
        assert all(before < place for before, place in same)


@pytest.mark.parametrize("keep", [True, False])
def test_lengths_do_not_matter_however_large(keep: bool, tmp_path: Path) -> None:
    # squares of these are no float32
    features = np.array([[3e25, 4e25], [1, 0], [0, 2e-25]], dtype=np.float32)
    places, cosines = Search(on_disk(tmp_path, features), keep=keep).nearest(np.array([[3e20, 4e20]], dtype=np.float32), 3)
    assert places.tolist() == [[0, 2, 1]]
    assert cosines[0].tolist() == pytest.approx([1, 0.8, 0.6])


def test_rows_on_the_disk_that_changed_are_not_shown(tmp_path: Path) -> None:
    rows = on_disk(tmp_path, np.eye(4, dtype=np.float32))
    asleep, awake = Search(rows, keep=True), Search(rows, keep=False)
    (path,) = tmp_path.rglob("shard-*.h5")
    path.write_bytes(path.read_bytes()[:-1])
    assert asleep.nearest(np.eye(4, dtype=np.float32)[:1], 1)[0].tolist() == [[0]]
    with pytest.raises(FeaturesDamaged, match=r"shard-00000.h5: .*made it anew while it was read"):
        awake.nearest(np.eye(4, dtype=np.float32)[:1], 1)


def test_a_question_that_was_just_asked_is_not_worked_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "REMEMBERED", 2)
    found = Search(on_disk(tmp_path, np.eye(4, dtype=np.float32)), keep=False)
    asked = [row + np.float32(0.5) for row in np.eye(4, dtype=np.float32)]
    first = [found.nearest_to(row, 2) for row in asked]
    assert [places.tolist() for places, _ in first] == [[0, 1], [1, 0], [2, 0], [3, 0]]
    (path,) = tmp_path.rglob("shard-*.h5")
    path.unlink()
    assert found.nearest_to(asked[3], 2) is first[3]
    assert found.nearest_to(asked[2].copy(), 2) is first[2]
    with pytest.raises(FeaturesDamaged, match="while it was read"):
        found.nearest_to(asked[3], 1)
    with pytest.raises(FeaturesDamaged, match="while it was read"):
        found.nearest_to(asked[0], 2)
