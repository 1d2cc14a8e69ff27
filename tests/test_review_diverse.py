"""Pictures to begin with: unlike each other."""

import numpy as np
from heads_samples import blobs
from hypothesis import given
from hypothesis import strategies as st

from headstart.review.diverse import spread


def test_the_first_ones_are_of_all_clouds() -> None:
    data = blobs(300, classes=6)
    order = spread(data.features, np.random.default_rng(0))
    assert len(set(data.labels[order[:9]].tolist())) == 6
    assert len(set(data.labels[np.random.default_rng(0).permutation(300)[:9]].tolist())) < 6  # what chance alone does


@given(st.integers(0, 40), st.integers(0, 20), st.integers(0, 3))
def test_every_row_comes_once_also_copies_and_rows_of_nothing(rows: int, count: int, kinds: int) -> None:
    features = np.zeros((rows, 3), dtype=np.float32)
    features[:, 0] = np.arange(rows) % (kinds + 1)
    order = spread(features, np.random.default_rng(1), count)
    assert sorted(order.tolist()) == list(range(rows))


def test_the_same_generator_gives_the_same_order() -> None:
    features = blobs(50).features
    one, other = (spread(features, np.random.default_rng(3)) for _ in range(2))
    assert one.tolist() == other.tolist()
