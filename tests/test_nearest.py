"""The nearest rows of all rows, and all pairs within a bound: those that a loop finds, whatever D and the blocks."""

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.heads.neighbours import nearest
from headstart.core.heads.neighbours.nearest import Directions


def rows(seed: int, count: int, dim: int, copies: int = 0) -> npt.NDArray[np.float32]:
    """Random rows, of which the last few are copies of the first ones."""
    found = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    copies = min(copies, count // 2)
    found[count - copies :] = found[:copies]
    return found


def distances(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """One less the cosine of any two rows, in float64; infinite on the diagonal."""
    exact = features.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1)[:, None]
    found = 1 - exact @ exact.T
    np.fill_diagonal(found, np.inf)
    return found


@hypothesis.settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(1, 300), dim=st.integers(1, 12), copies=st.integers(0, 9),
    k=st.integers(1, 12), block=st.integers(4, 2**12),
)  # fmt: skip
def test_of_few_axes_they_are_exactly_those_of_a_loop(
    seed: int, count: int, dim: int, copies: int, k: int, block: int
) -> None:
    features = rows(seed, count, dim, copies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "BLOCK", block)
        found = Directions(features).nearest(k)
    assert found.places.shape == (count, min(k, count - 1))
    expected = np.sort(distances(features), axis=1)[:, : min(k, count - 1)]
    assert found.distances == pytest.approx(expected, abs=2e-6)
    assert (found.places != np.arange(count)[:, None]).all()
    assert all(len(set(own)) == len(own) for own in found.places.tolist())


@pytest.mark.parametrize(("count", "dim"), [(400, 300), (700, 512), (60, 300)])
def test_no_pair_within_a_bound_is_missed_when_axes_are_left_out(count: int, dim: int) -> None:
    features, rng = rows(0, count, dim), np.random.default_rng(1)
    for row in range(20):  # more and more unlike a row that they were made of
        features[count - 1 - row] = features[row] + rng.standard_normal(dim).astype(np.float32) * 0.02 * row
    apart = distances(features)
    for bound in (1e-5, 0.01, 0.05, 0.9):
        expected = np.argwhere(np.triu(apart <= bound))
        known = Directions(features)
        known.nearest(5)  # after which rows whose nearest one is too far are not looked at
        for directions in (Directions(features), known):
            pairs, found = directions.within(bound, 10**9)
            assert {tuple(one) for one in pairs.tolist()} == {tuple(one) for one in expected.tolist()}
            assert found == pytest.approx(apart[pairs[:, 0], pairs[:, 1]], abs=2e-6)


def test_when_axes_are_left_out_the_nearest_are_nearly_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((900, 40)) @ rng.standard_normal((40, 600))).astype(np.float32)
    found, exact = Directions(features).nearest(10), np.argsort(distances(features), axis=1)[:, :10]
    assert (found.places[:, 0] == exact[:, 0]).all()
    shared = [len({*own} & {*theirs}) for own, theirs in zip(found.places.tolist(), exact.tolist(), strict=True)]
    assert np.mean(shared) > 9.9


def test_copies_are_at_no_distance_and_zeros_at_half() -> None:
    features = np.array([[3, 4], [0.3, 0.4], [0, 0], [4, -3]], dtype=np.float32)
    pairs, found = Directions(features).within(1e-6, 10)
    assert pairs.tolist() == [[0, 1]]
    assert found.tolist() == [0]
    assert Directions(features).between(np.array([[0, 2], [0, 3]])) == pytest.approx([0.5, 1])


def test_features_that_tell_nothing_apart_do_not_fill_the_memory() -> None:
    pairs, _ = Directions(np.ones((300, 5), dtype=np.float32)).within(0.1, 1000)
    assert len(pairs) == 1000


def test_one_row_has_no_nearest() -> None:
    found = Directions(np.ones((1, 3), dtype=np.float32)).nearest(5)
    assert found.places.shape == (1, 0)
    assert found.first.shape == (0,)


@pytest.mark.parametrize("block", [2**6, 2**27])
@pytest.mark.parametrize("first", [0, 1, 37, 90])
def test_of_the_first_rows_alone_they_are_those_of_all(first: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", block)
    features = rows(3, 90, 8, 5)
    whole, directions = Directions(features).nearest(4), Directions(features)
    found = directions.nearest(4, first)
    np.testing.assert_array_equal(found.places, whole.places[:first])
    np.testing.assert_allclose(found.distances, whole.distances[:first], atol=1e-6)
    pairs, _ = directions.within(0.3, 1000)  # which must not take the other rows for looked at
    assert {tuple(pair) for pair in pairs.tolist()} == set(
        zip(*np.nonzero(np.triu(distances(features) <= 0.3)), strict=True)
    )
