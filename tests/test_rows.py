"""Rows cached by key and content, in bounded memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from headstart.api.rows import RowCache


def row(value: float) -> np.ndarray:
    return np.full(4, value, dtype=np.float32)


def test_rows_are_found_by_key_and_mark() -> None:
    cache = RowCache(1000)
    cache.put("key", {"a": row(1), "b": row(2)})
    found = cache.get("key", ["b", "c", "b"])
    assert list(found) == ["b"]
    assert found["b"].tolist() == [2, 2, 2, 2]
    assert cache.get("other", ["b"]) == {}


def test_those_used_longest_ago_go_first() -> None:
    cache = RowCache(2 * row(0).nbytes)
    cache.put("key", {"a": row(1), "b": row(2)})
    cache.get("key", ["a"])
    cache.put("key", {"c": row(3)})
    assert sorted(cache.get("key", ["a", "b", "c"])) == ["a", "c"]
    cache.put("key", {"a": row(1)})  # again: it does not count twice
    assert sorted(cache.get("key", ["a", "c"])) == ["a", "c"]


def test_a_row_does_not_keep_its_batch() -> None:
    cache, batch = RowCache(1000), np.zeros((3, 4), dtype=np.float32)
    cache.put("key", {"a": batch[1]})
    assert cache.get("key", ["a"])["a"].base is None


def test_threads_may_share_it() -> None:
    cache = RowCache(50 * row(0).nbytes)

    def work(start: int) -> None:
        for number in range(start, start + 200):
            cache.put("key", {str(number): row(number)})
            assert all(found[0] == float(mark) for mark, found in cache.get("key", [str(number), "7"]).items())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: work(100 * i), range(4)))
    assert len(cache.get("key", map(str, range(1000)))) == 50
