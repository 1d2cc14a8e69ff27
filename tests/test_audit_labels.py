"""Suspected labels: the counts of confident learning by a loop and by cleanlab, rankings, and what is expected."""

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.heads.audit import labels as audit

Shares = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

CLEANLAB_JOINT = [[10, 2, 0, 1], [1, 11, 0, 1], [0, 0, 5, 1], [0, 2, 1, 12]]
CLEANLAB_THRESHOLDS = [0.504951762, 0.517190757, 0.618609995, 0.578045707]
CLEANLAB_MARGINS = [0.830906505, 0.821890601, 0.851537655, 0.2278054, 0.825622815]
CLEANLAB_EXPECTED = 11
"""What cleanlab 2.9.0 says of `drawn(7)`: compute_confident_joint, get_confident_thresholds, normalized margins of the
first five, and what is off the diagonal of the calibrated joint, whose cells it rounds."""


def drawn(
    seed: int, rows: int = 60, classes: int = 4, wrong: int = 12
) -> tuple[npt.NDArray[np.float64], np.ndarray, np.ndarray]:
    """Probabilities, the labels given and the true ones."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    shares = rng.dirichlet(np.ones(classes) * 0.6, rows)
    shares[np.arange(rows), truth] += 1.2
    shares /= shares.sum(1, keepdims=True)
    given_labels = truth.copy()
    flipped = rng.permutation(rows)[:wrong]
    given_labels[flipped] = (given_labels[flipped] + rng.integers(1, classes, wrong)) % classes
    return shares, given_labels, truth


def by_a_loop(shares: npt.NDArray[np.float64], labels: np.ndarray) -> npt.NDArray[np.int64]:
    """The confident joint as section 3.1 of the paper writes it."""
    classes = shares.shape[1]
    least = [shares[labels == c, c].mean() if (labels == c).any() else np.inf for c in range(classes)]
    found = np.zeros((classes, classes), dtype=np.int64)
    for own, label in zip(shares, labels, strict=True):
        over = [c for c in range(classes) if own[c] >= least[c] - 1e-6]
        if over:
            found[label, max(over, key=lambda c: own[c])] += 1
    return found


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_it_counts_and_ranks_as_cleanlab_does() -> None:
    shares, labels, _ = drawn(7)
    found = audit.audit(shares, labels, np.ones(60, dtype=np.bool_), rng())
    assert found.counts.tolist() == CLEANLAB_JOINT
    assert audit.thresholds(shares, labels) == pytest.approx(CLEANLAB_THRESHOLDS)
    assert (found.margin[:5] + 1) / 2 == pytest.approx(CLEANLAB_MARGINS)
    assert found.expected.count == pytest.approx(CLEANLAB_EXPECTED, abs=0.5)
    assert found.expected.low < CLEANLAB_EXPECTED < found.expected.high


@hypothesis.settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(13, 80), classes=st.integers(2, 6))
def test_it_counts_as_a_loop_does(seed: int, rows: int, classes: int) -> None:
    shares, labels, _ = drawn(seed, rows, classes)
    assert audit.confident_counts(shares, labels).tolist() == by_a_loop(shares, labels).tolist()


@hypothesis.settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 6), data=st.data())
def test_the_names_of_classes_do_not_matter(seed: int, classes: int, data: st.DataObject) -> None:
    shares, labels, _ = drawn(seed, 60, classes)
    order = np.array(data.draw(st.permutations(range(classes))))
    other_shares, other_labels = np.empty_like(shares), order[labels]
    other_shares[:, order] = shares
    judged = np.ones(60, dtype=np.bool_)
    one, other = audit.audit(shares, labels, judged, rng()), audit.audit(other_shares, other_labels, judged, rng())
    assert one.suspects.tolist() == other.suspects.tolist()
    assert order[one.proposed].tolist() == other.proposed.tolist()
    assert one.expected.count == pytest.approx(other.expected.count)


def test_planted_labels_are_the_suspects_and_their_own_are_proposed() -> None:
    shares, labels, truth = drawn(3, 2000, 5, wrong=200)
    found = audit.audit(shares, labels, np.ones(2000, dtype=np.bool_), rng())
    wrong = labels != truth
    assert found.expected.low <= 200 <= found.expected.high
    assert wrong[found.suspects].mean() > 0.9
    assert wrong[found.suspects].sum() > 0.9 * wrong.sum()
    assert (found.proposed[found.suspects] == truth[found.suspects]).mean() > 0.9
    assert (np.diff(found.confidence[found.suspects]) >= 0).all()


def test_a_suspect_is_likelier_of_another_class_and_judged() -> None:
    shares, labels, _ = drawn(5, 100, 3, wrong=60)
    judged = np.arange(100) >= 50
    found = audit.audit(shares, labels, judged, rng())
    assert judged[found.suspects].all()
    assert (found.proposed[found.suspects] != labels[found.suspects]).all()


def test_right_labels_leave_no_suspects() -> None:
    labels = np.arange(30) % 3
    found = audit.audit(np.eye(3)[labels] * 0.94 + 0.02, labels, np.ones(30, dtype=np.bool_), rng())
    assert found.suspects.tolist() == []
    assert found.expected.count == 0
    assert found.expected.low == 0
    assert 0 < found.expected.high < 10


def test_no_judged_rows_leave_nothing_to_say() -> None:
    shares, labels, _ = drawn(0)
    found = audit.audit(shares, labels, np.zeros(60, dtype=np.bool_), rng())
    assert found.suspects.tolist() == []
    assert (found.expected.count, found.expected.low, found.expected.high) == (0, 0, 0)


def test_the_interval_holds_the_number_that_was_planted_as_often_as_it_says() -> None:
    # labels by the very probabilities that are told, so that the estimate is right on average
    held = 0
    for seed in range(40):
        draws = np.random.default_rng(seed)
        rows = np.full(4, 250)
        counts = np.diag(draws.binomial(250, 0.9, 4))
        counts[np.arange(4), (np.arange(4) + 1) % 4] = 250 - np.diag(counts)
        found = audit.expected_wrong(counts, rows, draws)
        held += found.low <= 100 <= found.high
    assert held >= 34


def test_votes_are_joined_by_their_geometric_mean() -> None:
    one, other = np.array([[0.5, 0.5], [1, 0]]), np.array([[0.9, 0.1], [0.5, 0.5]])
    found = audit.joined([one, other])
    assert found[0] == pytest.approx([0.75, 0.25])
    assert found[1] == pytest.approx([1, 0], abs=1e-5)
    assert audit.joined([one]) is one


@hypothesis.settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_votes_does_not_matter_and_equal_ones_change_nothing(seed: int) -> None:
    one, other = drawn(seed)[0], drawn(seed + 1)[0]
    assert audit.joined([one, other]) == pytest.approx(audit.joined([other, one]))
    assert audit.joined([one, one]) == pytest.approx(one)
