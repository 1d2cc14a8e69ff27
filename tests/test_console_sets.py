"""What `cache ls` says: sizes, ages, states."""

import datetime
from pathlib import Path

import numpy as np
import pytest
from cache_samples import make_shards, write_set, write_shards_only

from headstart.console.words.sets import age, listing
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import survey

NOW = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("2026-01-31T12:00:00+00:00", "0 seconds"),
        ("2026-01-31T11:58:01+00:00", "119 seconds"),
        ("2026-01-31T11:58:00+00:00", "2 minutes"),
        ("2026-01-31T12:00:00+02:00", "2 hours"),
        ("2026-01-30T00:00:00+00:00", "36 hours"),
        ("2025-12-31T12:00:00+00:00", "31 days"),
        ("2026-01-31T12:00:09+00:00", "0 seconds"),  # a clock that runs ahead
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00"),
        ("long ago", "long ago"),
    ],
)
def test_age(created: str, expected: str) -> None:
    assert age(created, NOW) == expected


def test_a_listing_tells_complete_from_begun_and_from_damaged(tmp_path: Path) -> None:
    store, shards = FeatureStore(tmp_path), make_shards(np.random.default_rng(0))
    whole = write_set(store, shards).folder
    damaged = write_set(store, shards, split="test").folder
    (damaged / "manifest.json").write_bytes(b"{}")
    begun = write_shards_only(store, shards, split="all")
    said = listing(survey(store), NOW).splitlines()
    states = {line.split()[0]: line.rsplit("  ", 1)[-1] for line in said[1:4]}
    assert states == {whole.name: "complete", damaged.name: "damaged", begun.name: "not complete"}
    assert [line.partition(":")[0] for line in said[4:]] == ["not complete", "damaged"]
    size = sum(path.stat().st_size for path in whole.iterdir())
    assert f"{size / 1e6:,.1f} MB" in next(line for line in said if line.startswith(whole.name))
