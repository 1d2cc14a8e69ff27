"""What `cache ls` says: sizes, ages, states; nothing in a file may move the terminal's cursor."""

import datetime
from pathlib import Path

import numpy as np
import pytest
from cache_samples import make_shards, write_set, write_shards_only
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import age, did_you_mean, listed, listing, safe
from headstart.core.cache.verify import survey
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.text(st.characters(exclude_categories=())))
def test_what_reaches_a_terminal_is_printable(text: str) -> None:
    assert safe(text).isprintable()


def test_many_names_are_cut_short() -> None:
    assert listed([]) == ""
    assert listed(["a", "two\nlines"]) == r"a, two\nlines"
    assert listed(range(3), 3) == "0, 1, 2"
    assert listed(range(1200), 3) == "0, 1, 2 and 1,197 more"


def test_the_closest_words_are_suggested_whatever_their_capitals() -> None:
    assert did_you_mean("ResNet18", ["resnet18", "vgg16"]) == " (did you mean resnet18?)"
    assert did_you_mean("mnist", ["MNIST", "KMNIST"]) == " (did you mean MNIST or KMNIST?)"
    assert did_you_mean("", ["a"]) == did_you_mean("zebra", ["vgg16"]) == ""
