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
CLEANLAB_ISSUES = {"uniform": (173, 173), "next": (320, 187)}
"""How many rows its find_label_issues names, and how many of them are wrong, of `drawn(3, 2000, 5, wrong=200)` and of
`became_the_next(0)`."""


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


def became_the_next(seed: int) -> tuple[npt.NDArray[np.float64], np.ndarray, np.ndarray]:
    """2,000 rows of 5 classes, 200 of whose labels became the next class, as the probabilities have learned."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, 2000)
    shares = rng.dirichlet(np.ones(5) * 0.6, 2000)
    shares[np.arange(2000), truth] += 0.6
    given_labels, flipped = truth.copy(), rng.permutation(2000)[:200]
    given_labels[flipped] = (given_labels[flipped] + 1) % 5
    shares /= shares.sum(1, keepdims=True)
    return shares * 0.9 + np.roll(shares, 1, axis=1) * 0.1, given_labels, truth


def pruned_by_a_loop(shares: npt.NDArray[np.float64], labels: np.ndarray) -> int:
    """How many rows pruning by noise rate takes that are likelier of another class, row by row."""
    counts, classes, taken = by_a_loop(shares, labels), shares.shape[1], set[int]()
    for label in range(classes):
        own = [i for i in range(len(labels)) if labels[i] == label]
        for other in set(range(classes)) - {label}:
            wanted = round(counts[label, other] / max(1, counts[label].sum()) * len(own))
            taken |= set(sorted(own, key=lambda i: shares[i, label] - shares[i, other])[:wanted])
    return sum(shares[i].argmax() != labels[i] for i in taken)


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
    assert wrong[found.suspects].sum() > 0.85 * wrong.sum()
    assert (found.proposed[found.suspects] == truth[found.suspects]).mean() > 0.9
    assert (np.diff(found.confidence[found.suspects]) >= 0).all()


@pytest.mark.parametrize("kind", CLEANLAB_ISSUES)
def test_suspects_are_wrong_as_often_as_those_of_cleanlab(kind: str) -> None:
    shares, labels, truth = drawn(3, 2000, 5, wrong=200) if kind == "uniform" else became_the_next(0)
    found = audit.audit(shares, labels, np.ones(2000, dtype=np.bool_), rng())
    named, wrong = CLEANLAB_ISSUES[kind]
    hits = int((labels != truth)[found.suspects].sum())
    assert hits >= wrong  # recall
    assert hits * named >= wrong * len(found.suspects)  # precision
    assert len(found.suspects) == pytest.approx(named, abs=2)  # whose joint keeps the sums when it rounds


@hypothesis.settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(13, 80), classes=st.integers(2, 6))
def test_as_many_are_suspects_as_a_loop_prunes(seed: int, rows: int, classes: int) -> None:
    shares, labels, _ = drawn(seed, rows, classes)
    found = audit.audit(shares, labels, np.ones(rows, dtype=np.bool_), rng())
    assert len(found.suspects) == pruned_by_a_loop(shares, labels)


def test_of_equally_confident_rows_that_is_a_suspect_whose_class_often_became_the_label() -> None:
    counts = np.array([[80, 20, 0], [20, 100, 1], [0, 1, 99]])  # 20 of class 0 are labelled 1, and one of class 2
    shares = np.array([[0.7, 0.3, 0], [0, 0.3, 0.7], [0, 1, 0]])
    found = audit.support(shares, np.array([1, 1, 1]), counts, counts.sum(axis=1))
    assert found[0] < found[1] < found[2] == pytest.approx(1)
    # Bayes' rule by hand: Jeffreys' prior, then the share of each class's rows that has the label 1
    joint = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True) * counts.sum(axis=1)[:, None]
    mine, other = 0.3 * joint[1, 1] / joint[:, 1].sum(), 0.7 * joint[1, 0] / joint[:, 0].sum()
    assert found[0] == pytest.approx(mine / (mine + other))


def test_where_nothing_was_counted_support_is_self_confidence() -> None:
    shares, labels, _ = drawn(2)
    found = audit.support(shares, labels, np.zeros((4, 4), dtype=np.int64), np.bincount(labels, minlength=4))
    assert found == pytest.approx(audit.self_confidence(shares, labels))


@pytest.mark.parametrize(("rows", "classes", "wrong"), [(20, 2, 3), (600, 150, 60)])
def test_few_rows_of_a_class_have_suspects_too(rows: int, classes: int, wrong: int) -> None:
    shares, labels, truth = drawn(1, rows, classes, wrong)
    found = audit.audit(shares, labels, np.ones(rows, dtype=np.bool_), rng())
    assert 0 < len(found.suspects) <= round(found.expected.count)
    assert (labels != truth)[found.suspects].mean() > 0.8


def test_a_class_without_a_judged_row_is_no_matter() -> None:
    shares, labels, _ = drawn(4)
    judged = labels != 2
    found = audit.audit(shares, labels, judged, rng())
    assert judged[found.suspects].all()
    assert len(found.suspects) > 0


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
