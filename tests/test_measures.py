"""The measures agree with scikit-learn and with counting by hand, are None where they are not defined, and never warn."""

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from heads_samples import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from headstart.core.heads.statistics import measures
from headstart.core.heads.statistics.calibration import softmax
from headstart.core.heads.statistics.measures import NAMES, measure, measured
from headstart.core.heads.statistics.measures.base import Measure
from headstart.core.heads.statistics.outcomes import Outcomes


def outcomes(rows: int = 200, classes: int = 4, seed: int = 0) -> Outcomes:
    """A head that is right more often than not, every class present, float32 probabilities as heads give them."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    scores = rng.standard_normal((rows, classes))
    scores[np.arange(rows), labels] += 1.5
    shares = softmax(scores).astype(np.float32)
    return Outcomes(labels, shares.argmax(axis=1), shares)


def by_hand(labels: list[int], shares: list[list[float]]) -> Outcomes:
    """Few rows, spelled out; of equal probabilities the first class is predicted."""
    found = np.array(shares, dtype=np.float32)
    return Outcomes(np.array(labels), found.argmax(axis=1), found)


@st.composite
def of_all_kinds(draw: st.DrawFn) -> Outcomes:
    """Any labels and predictions, of few rows and of classes without any, and any probabilities, equal ones too."""
    rows, classes = draw(st.integers(1, 30)), draw(st.integers(2, 12))
    index = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows).map(np.array)
    parts = st.lists(
        st.lists(st.integers(0, 3), min_size=classes, max_size=classes).filter(any), min_size=rows, max_size=rows
    )
    shares = np.array(draw(parts), dtype=np.float64)
    return Outcomes(draw(index), draw(index), (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))


# ---------------------------------------------------------------------------------------------------------- scikit-learn


def one_hot(found: Outcomes) -> np.ndarray:
    return np.eye(found.classes)[found.labels]


REFERENCES: dict[str, Callable[[Outcomes], float]] = {
    "balanced_accuracy": lambda it: metrics.balanced_accuracy_score(it.labels, it.predicted),
    "macro_f1": lambda it: metrics.f1_score(it.labels, it.predicted, average="macro"),
    "log_loss": lambda it: metrics.log_loss(it.labels, it.probabilities / it.probabilities.sum(axis=1, keepdims=True)),
    "brier": lambda it: ((it.probabilities - one_hot(it)) ** 2).sum(axis=1).mean(),
    "auroc": lambda it: metrics.roc_auc_score(one_hot(it), it.probabilities, average="macro"),
    "top_5_accuracy": lambda it: metrics.top_k_accuracy_score(it.labels, it.probabilities, k=5),
}


CASES = [(name, classes) for name in REFERENCES for classes in ((10, 40) if "top" in name else (2, 4, 11))]


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_a_measure_is_that_of_scikit_learn(name: str, classes: int) -> None:
    for seed in range(3):
        found = outcomes(150, classes, seed)
        assert measure(name).of(found) == pytest.approx(REFERENCES[name](found), rel=1e-6)


@given(of_all_kinds())
@settings(max_examples=150)
def test_every_measure_is_in_its_range_or_not_defined_and_never_warns(found: Outcomes) -> None:
    for name, value in measured(found).items():
        it = measure(name)
        assert value is None or it.low <= value <= it.high, name


# ------------------------------------------------------------------------------------------------------------- by hand


def test_a_head_that_is_sure_and_right_is_at_the_better_end_of_every_range() -> None:
    labels = np.arange(20) % 10
    found = measured(Outcomes(labels, labels, np.eye(10)[labels]))
    for name, value in found.items():
        it = measure(name)
        assert value == (it.high if it.higher_is_better else it.low), name


def test_every_class_counts_alike_however_many_rows_it_has() -> None:
    labels, predicted = np.array([0] * 8 + [1, 1]), np.array([0] * 8 + [0, 1])
    found = measured(Outcomes(labels, predicted, np.eye(2)[predicted]))
    assert found["balanced_accuracy"] == (1 + 1 / 2) / 2
    assert found["macro_f1"] == pytest.approx((2 * 8 / (8 + 9) + 2 * 1 / (2 + 1)) / 2)


def test_classes_without_rows_count_where_they_are_predicted() -> None:
    labels, predicted = np.array([0, 0, 1]), np.array([0, 2, 1])
    found = measured(Outcomes(labels, predicted, np.eye(4)[predicted]))
    assert found["balanced_accuracy"] == (1 / 2 + 1) / 2  # of the two that have rows
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)  # the third is predicted, the fourth never


def test_labels_are_those_that_were_given_where_probabilities_are_equal() -> None:
    shares = np.full((2, 2), 0.5, dtype=np.float32)
    right, wrong = (measured(Outcomes(np.array([1, 1]), np.array(given), shares)) for given in ([1, 1], [0, 0]))
    assert (right["balanced_accuracy"], wrong["balanced_accuracy"]) == (1, 0)


def test_equal_probabilities_count_as_half_a_win() -> None:
    assert measured(by_hand([0, 1], [[0.5, 0.5], [0.5, 0.5]]))["auroc"] == 0.5
    assert measured(by_hand([0, 0, 1], [[0.9, 0.1], [0.5, 0.5], [0.5, 0.5]]))["auroc"] == 0.75


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_without_rows_of_a_class_there_is_no_auroc(labels: list[int]) -> None:
    assert measured(by_hand(labels, [[0.9, 0.1]] * 3))["auroc"] is None
    assert measured(by_hand([0, 1, 1], [[0.5, 0.4, 0.1]] * 3))["auroc"] is None


@pytest.mark.parametrize(("classes", "defined"), [(9, False), (10, True)])
def test_five_guesses_count_from_ten_classes_on(classes: int, defined: bool) -> None:
    found = measured(outcomes(30, classes))["top_5_accuracy"]
    assert (found is not None) == defined


def test_the_label_is_among_the_first_five_by_chance_where_all_are_equal() -> None:
    even = np.full((3, 20), 0.05)
    assert measured(Outcomes(np.array([0, 7, 19]), np.zeros(3, dtype=int), even))["top_5_accuracy"] == pytest.approx(5 / 20)
    first = np.zeros((2, 12))
    first[:, :4] = 0.25  # four are above, eight at 0: one of these eight
    assert measured(Outcomes(np.array([3, 11]), np.zeros(2, dtype=int), first))["top_5_accuracy"] == (1 + 1 / 8) / 2


def test_a_head_that_says_nothing_loses_the_logarithm_of_the_classes() -> None:
    assert measured(by_hand([0, 1, 2, 3], [[0.25] * 4] * 4))["log_loss"] == pytest.approx(math.log(4))


# ---------------------------------------------------------------------------------------------------------- the registry


def test_each_measure_says_what_it_is_and_where_it_is_not_defined() -> None:
    assert len(NAMES) >= 7
    assert list(NAMES) == sorted(NAMES)
    titles = [measure(name).title for name in NAMES]
    assert len(set(titles)) == len(titles)
    for name in NAMES:
        it = measure(name)
        assert (it.of.__name__, it.low < it.high) == (name, True)
        assert "defined" in (it.of.__doc__ or "")
        assert not it.share or (it.low, it.high) == (0, 1)
    assert 0 < sum(measure(name).short for name in NAMES) <= 3


def test_the_names_are_known_without_importing_anything_heavy() -> None:
    code = (
        "import sys; from headstart.core.heads.statistics.measures import NAMES; "
        "print(bool(NAMES), [name for name in ('numpy', 'sklearn', 'scipy', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "True []\n"


def test_a_measure_that_is_not_there_is_refused_by_those_that_are() -> None:
    with pytest.raises(ValueError, match="'kappa' is no measure; expected auroc, balanced_accuracy, "):
        measure("kappa")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_measure_that_gives_no_number_is_a_fault_of_ours(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "measure", lambda name: Measure(name, lambda _: value, 0, 1, higher_is_better=True))
    with pytest.raises(ValueError, match=f"auroc is {value}, expected a finite number, or None where it is not defined"):
        measured(outcomes())


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("macro_f1", 0.81237, "81.24 %"), ("log_loss", 1.23456, "1.2346"), ("auroc", None, "not defined")],
)
def test_a_value_is_written_as_its_measure_is(name: str, value: float | None, text: str) -> None:
    assert measure(name).text(value) == text
