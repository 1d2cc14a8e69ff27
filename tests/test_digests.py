"""Digests as arrays: which contents are equal, and which of many are among others."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.digests import Digests, Wanted, from_hex, to_hex


def digests_of(numbers: list[int], heads: int = 2**64) -> Digests:
    """A digest for each number; `heads` different first eight bytes at most, as nobody's pictures have them."""
    rows = [(number % heads).to_bytes(8, "big") + hashlib.sha256(b"%d" % number).digest()[:24] for number in numbers]
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(numbers), 32)


few = st.lists(st.integers(0, 12), max_size=30)


@given(wanted=few, parts=st.lists(few, max_size=4), heads=st.sampled_from([1, 2, 5, 2**64]))
def test_each_content_is_found_where_it_is_first(wanted: list[int], parts: list[list[int]], heads: int) -> None:
    found = Wanted.of(digests_of(wanted, heads))
    news = [found.look_in(digests_of(part, heads), source) for source, part in enumerate(parts)]
    expected: dict[int, tuple[int, int]] = {}
    for source, part in enumerate(parts):
        for row, number in enumerate(part):
            if number in wanted:
                expected.setdefault(number, (source, row))
    assert sum(news) == len(expected)
    for place, number in enumerate(wanted):
        content = found.contents[place]
        assert wanted[found.first[content]] == number
        assert found.first[content] == wanted.index(number)
        assert (found.source[content], found.row[content]) == expected.get(number, (-1, -1))
    assert found.found.tolist() == [number in expected for number in wanted]


@given(few)
def test_digits_and_bytes_say_the_same(numbers: list[int]) -> None:
    digests = digests_of(numbers)
    assert to_hex(digests) == [row.tobytes().hex() for row in digests]
    assert np.array_equal(from_hex(to_hex(digests)), digests)


def test_the_index_takes_24_bytes_a_row_beside_the_digests() -> None:
    found = Wanted.of(digests_of(list(range(1000))))
    arrays = (found.contents, found.first, found.heads, found.source, found.row)
    assert sum(array.nbytes for array in arrays) == 24 * 1000


@given(wanted=few, parts=st.lists(few, max_size=4), heads=st.sampled_from([1, 2, 2**64]), data=st.data())
def test_a_part_knows_of_its_rows_what_the_whole_does(
    wanted: list[int], parts: list[list[int]], heads: int, data: st.DataObject
) -> None:
    whole = Wanted.of(digests_of(wanted, heads))
    for source, looked in enumerate(parts):
        whole.look_in(digests_of(looked, heads), source)
    start = data.draw(st.integers(0, len(wanted)))
    stop = data.draw(st.integers(start, len(wanted)))
    part, rows = whole.part(start, stop), np.arange(start, stop)
    assert np.array_equal(part.digest(rows), whole.digest(rows))
    for name in ("source", "row"):
        assert np.array_equal(getattr(part, name)[part.content(rows)], getattr(whole, name)[whole.content(rows)])
    assert np.array_equal(part.missing(rows), whole.missing(rows))
    equal = [[one == other for other in wanted[start:stop]] for one in wanted[start:stop]]
    assert (part.content(rows)[:, None] == part.content(rows)[None, :]).tolist() == equal
    again = part.part(start + len(rows) // 2, stop)
    assert np.array_equal(again.missing(rows[len(rows) // 2 :]), whole.missing(rows[len(rows) // 2 :]))
    more = [*range(13)]
    fresh = np.unique(part.content(part.missing(rows)))
    assert part.look_in(digests_of(more, heads), 9) == len(fresh)
    assert not len(part.missing(rows))
