"""Balanced weights are scikit-learn's, by the rows' own weights where they have some."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from headstart.core.heads.data.weights import balanced


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_they_are_those_of_scikit_learn(labels: list[int]) -> None:
    assert balanced(np.array(labels)) == pytest.approx(compute_sample_weight("balanced", labels))


def test_classes_count_alike_and_all_rows_as_much_as_before() -> None:
    labels, own = np.array([0, 0, 0, 2]), np.array([1.0, 2.0, 3.0, 0.5])
    found = balanced(labels, own)
    assert found[labels == 0].sum() == pytest.approx(found[labels == 2].sum())
    assert found.sum() == pytest.approx(own.sum())
    assert found[1] / found[0] == pytest.approx(2)
