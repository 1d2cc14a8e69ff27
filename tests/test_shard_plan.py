"""The plan: rows are covered once each, and what is there stays where it is."""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.shard_plan import Part, plan

Ranges = dict[int, tuple[int, int]]

rows_counts = st.integers(1, 200)
shard_sizes = st.integers(1, 50)
anything_present = st.dictionaries(
    st.integers(0, 20), st.tuples(st.integers(-5, 250), st.integers(-5, 250)), max_size=8
)  # also ranges that are empty, reversed, overlapping or out of order: files of another run may lie there


def ranges(parts: list[Part]) -> Ranges:
    return {part.index: (part.start, part.stop) for part in parts}


def assert_covers(parts: list[Part], rows: int) -> None:
    assert [part.index for part in parts] == list(range(len(parts)))
    assert parts[0].start == 0
    assert parts[-1].stop >= rows
    assert all(before.stop == after.start for before, after in itertools.pairwise(parts))
    assert all(part.rows > 0 for part in parts)


@given(rows_counts, shard_sizes)
@settings(max_examples=100)
def test_a_fresh_plan_is_even_and_ends_with_the_split(rows: int, shard_rows: int) -> None:
    parts = plan(rows, {}, shard_rows)
    assert_covers(parts, rows)
    assert parts[-1].stop == rows
    assert {part.rows for part in parts[:-1]} <= {shard_rows}
    assert parts[-1].rows <= shard_rows


@given(rows_counts, anything_present, shard_sizes)
@settings(max_examples=300)
def test_whatever_is_present_the_rows_are_covered_without_gap_or_overlap(
    rows: int, present: Ranges, shard_rows: int
) -> None:
    assert_covers(plan(rows, present, shard_rows), rows)


@st.composite
def interrupted_runs(draw: st.DrawFn) -> tuple[int, int, list[Part], Ranges]:
    """An earlier plan, perhaps itself an extended one, and the shards of it that are still there."""
    rows, shard_rows = draw(rows_counts), draw(shard_sizes)
    parts = plan(rows, {}, shard_rows)
    for _ in range(draw(st.integers(0, 2))):
        rows, shard_rows = rows + draw(st.integers(0, 100)), draw(shard_sizes)
        parts = plan(rows, ranges(parts), shard_rows)
    kept = draw(st.lists(st.sampled_from(parts), unique=True))
    return rows, shard_rows, parts, ranges(kept)


@given(interrupted_runs(), st.integers(0, 100), shard_sizes)
@settings(max_examples=300)
def test_shards_of_an_earlier_plan_are_kept_when_it_is_resumed_or_extended(
    run: tuple[int, int, list[Part], Ranges], more: int, shard_rows: int
) -> None:
    rows, _, _, present = run
    parts = plan(rows + more, present, shard_rows)
    assert_covers(parts, rows + more)
    assert present.items() <= ranges(parts).items()


@given(interrupted_runs())
@settings(max_examples=100)
def test_a_finished_plan_is_not_planned_anew(run: tuple[int, int, list[Part], Ranges]) -> None:
    rows, shard_rows, parts, _ = run
    assert plan(rows, ranges(parts), shard_rows) == parts


@given(rows_counts, shard_sizes, st.data())
@settings(max_examples=200)
def test_removed_shards_of_an_even_plan_come_back_with_the_very_same_rows(
    rows: int, shard_rows: int, data: st.DataObject
) -> None:
    parts = plan(rows, {}, shard_rows)
    left = data.draw(st.lists(st.sampled_from(parts), unique=True))
    assert plan(rows, ranges(left), shard_rows) == parts


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    rows: int
    present: Ranges
    expected: list[tuple[int, int]]


CASES = [
    Case("nothing there", 10, {}, [(0, 4), (4, 8), (8, 10)]),
    Case("the whole there", 8, {0: (0, 4), 1: (4, 8)}, [(0, 4), (4, 8)]),
    Case("extension keeps the short last shard", 14, {0: (0, 4), 1: (4, 6)}, [(0, 4), (4, 6), (6, 10), (10, 14)]),
    Case("other shard size there", 12, {0: (0, 7)}, [(0, 7), (7, 11), (11, 12)]),
    Case("first ones missing", 12, {2: (8, 12)}, [(0, 4), (4, 8), (8, 12)]),
    Case("uneven gap is divided", 9, {2: (7, 9)}, [(0, 3), (3, 7), (7, 9)]),
    Case("a longer set serves a shorter request", 3, {0: (0, 4), 1: (4, 8)}, [(0, 4)]),
    Case("overlap: the later one is planned anew", 8, {0: (0, 4), 1: (3, 8)}, [(0, 4), (4, 8)]),
    Case("no room for the missing number", 8, {0: (0, 4), 2: (4, 8)}, [(0, 4), (4, 8)]),
    Case("a gap but no number for it", 8, {0: (0, 2), 1: (4, 8)}, [(0, 2), (2, 6), (6, 8)]),
    Case("an empty range counts for nothing", 4, {0: (0, 0)}, [(0, 4)]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shards_of_four_rows_are_planned_around_what_is_there(case: Case) -> None:
    parts = plan(case.rows, case.present, shard_rows=4)
    assert [(part.start, part.stop) for part in parts] == case.expected
    assert [part.index for part in parts] == list(range(len(parts)))


@dataclasses.dataclass(frozen=True)
class Refused:
    rows: int
    shard_rows: int


@pytest.mark.parametrize("case", [Refused(0, 4), Refused(-1, 4), Refused(4, 0), Refused(4, -2)], ids=str)
def test_counts_below_one_are_refused_with_their_values(case: Refused) -> None:
    with pytest.raises(ValueError, match=rf"^{case.rows} rows in shards of {case.shard_rows}; both must be at least 1"):
        plan(case.rows, {}, case.shard_rows)


@dataclasses.dataclass(frozen=True)
class Name:
    index: int
    file: str


@pytest.mark.parametrize(
    "case",
    [Name(0, "shard-00000.h5"), Name(99_999, "shard-99999.h5"), Name(100_000, "shard-100000.h5")],
    ids=lambda case: case.file,
)
def test_a_part_names_its_file_by_its_number(case: Name) -> None:
    assert Part(case.index, 0, 1).file == case.file
