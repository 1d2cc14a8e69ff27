"""How large sets may get, held against real shards and manifests, and what is said where one would be too large."""

import re

import numpy as np
import pytest
from cache_samples import make_key, make_provenance, make_shard
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache import limits
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.files import MAX_JSON_BYTES
from headstart.core.cache.manifest import Manifest, ShardRecord
from headstart.core.cache.shard import MOST_BYTES, encode_shard
from headstart.core.cache.shard_plan import plan


@pytest.mark.parametrize(("rows", "dim", "dtype"), [(1, 4, "f4"), (64, 32, "f2"), (65, 512, "f2"), (2048, 512, "f4")])
def test_a_shards_file_has_the_size_that_is_said(rows: int, dim: int, dtype: str) -> None:
    shard = make_shard(np.random.default_rng(0), 0, rows, dim=dim, dtype=dtype)
    said = limits.shard_bytes(rows, dim, np.dtype(dtype).itemsize, shard.rows.ids.dtype.itemsize)
    assert said == pytest.approx(len(encode_shard(shard)), rel=0.01)


def test_a_row_takes_no_more_than_is_said() -> None:
    small, large = (make_shard(np.random.default_rng(0), 0, rows, dim=16) for rows in (128, 1280))
    grown = len(encode_shard(large)) - len(encode_shard(small))
    assert grown == pytest.approx(1152 * limits.row_bytes(16, 4, large.rows.ids.dtype.itemsize), rel=0.03)


@pytest.mark.parametrize("count", [1, 3000])
def test_a_manifest_is_no_larger_than_is_said(count: int) -> None:
    key, digest = make_key(), "5c" * 32
    records = tuple(
        ShardRecord(part.file, part.start, part.stop, part.rows, digest, digest, digest, 12.345678901234567)
        for part in plan(count * 100_000, {}, 100_000)
    )
    whole = Manifest(key.feature_key, key.dataset, key.classes, "train", 2048, "float16", records, make_provenance())
    size, said = len(whole.to_bytes()), limits.manifest_bytes(count, key.classes)
    assert size <= said <= size + limits.BESIDE_BYTES + 0.1 * size


def test_a_billion_pictures_fit_in_shards_of_100_000_but_not_of_2_048() -> None:
    limits.check("here", 10**9, 100_000, 2048, 2, ("a",))
    with pytest.raises(ArgumentInvalid, match=r"^here: --shard-rows 2048: .* 488,282 shards, .* use --shard-rows 100000$"):
        limits.check("here", 10**9, 2048, 2048, 2, ("a",))


def test_a_shard_that_nobody_could_read_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match=r"--shard-rows 2000000: a shard of 1,000,000 x 2048 may be larger than"):
        limits.check("here", 10**6, 2_000_000, 2048, 4, ("a",))
    limits.check("here", 1000, 2_000_000, 2048, 4, ("a",))  # as large as there are rows, and no larger


def test_what_no_set_can_hold_says_so() -> None:
    with pytest.raises(ArgumentInvalid, match=r"rows are too many for one set, the most is .*; divide the data set"):
        limits.check("here", 10**13, 2048, 2048, 4, ("a",))
    names = tuple(f"{number:064d}" for number in range(1_000_000))
    with pytest.raises(
        ArgumentInvalid, match="1,000,000 class names leave a manifest no room for shards; divide the data set"
    ):
        limits.check("here", 10, 10, 4, 4, names)


@given(
    rows=st.integers(1, 10**11),
    shard_rows=st.integers(1, 10**9),
    dim=st.integers(1, 10**5),
    itemsize=st.sampled_from([2, 4]),
)
def test_what_is_named_would_do(rows: int, shard_rows: int, dim: int, itemsize: int) -> None:
    try:
        limits.check("here", rows, shard_rows, dim, itemsize, ("a",))
    except ArgumentInvalid as error:
        if named := re.search(r"use --shard-rows (\d+)", str(error)):
            limits.check("here", rows, int(named[1]), dim, itemsize, ("a",)) if "or less" not in str(error) else None
            assert limits.shard_bytes(min(int(named[1]), rows), dim, itemsize) <= MOST_BYTES
    else:
        assert limits.manifest_bytes(-(-rows // shard_rows), ("a",)) <= MAX_JSON_BYTES
