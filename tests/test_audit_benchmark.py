"""The benchmark of suspected labels: flips are those asked for, figures are those of scikit-learn's definitions."""

import sys
from pathlib import Path

import numpy as np
import pytest
from heads_samples import blobs
from heads_samples import one_thread as one_thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import audit


def test_labels_are_flipped_as_asked() -> None:
    labels, taken = np.arange(200) % 4, np.array([3, 2, 1, 0])
    uniform = audit.flipped(labels, 0.1, "uniform", 4, taken, np.random.default_rng(0))
    assert (uniform != labels).sum() == 20
    confused = audit.flipped(labels, 0.1, "confused", 4, taken, np.random.default_rng(0))
    wrong = confused != labels
    assert wrong.sum() == 20
    assert (confused[wrong] == taken[labels[wrong]]).all()


def test_a_perfect_ranking_is_perfect_and_suspects_are_counted() -> None:
    wrong = np.array([False, True, False, True])
    found = audit.ranked("x", np.array([0.1, 0.9, 0.2, 0.8]), wrong, np.array([1, 0, 2]))
    assert (found.average_precision, found.auroc, found.at_count) == (1, 1, 1)
    assert (found.precision, found.recall) == (pytest.approx(1 / 3), 0.5)


def test_a_case_has_each_backbone_and_the_joined_votes() -> None:
    data = blobs(90)
    given = audit.flipped(data.labels, 0.1, "uniform", 3, np.array([1, 2, 0]), np.random.default_rng(0))
    found = audit.case("planted", given, data.labels, {"a": data.features, "b": data.features}, 3, None, False)
    assert (found["rows"], found["wrong"]) == (90, 9)
    methods = {one["method"]: one for one in found["found"]}
    assert methods["a: self-confidence"]["average_precision"] == pytest.approx(1)
    assert methods["joined: self-confidence"]["recall"] >= 8 / 9
    assert "joined by mean of ranks" in methods
