"""What is no probability is refused wherever probabilities go in; none of these modules is heavy to import."""

import math
import subprocess
import sys

import numpy as np
import pytest
from heads_samples import FAIR, ROOT

from headstart.core.heads.statistics.calibration import calibration
from headstart.core.heads.statistics.disagreement import confident_mistakes


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (FAIR[0], [0], r"probabilities is float64 of shape \(4,\), expected floats \(N, C\)"),
        (np.eye(2, dtype=int), [0, 1], r"probabilities is int64 of shape \(2, 2\), expected floats \(N, C\)"),
        (FAIR[:0], [], r"probabilities has the shape \(0, 4\), expected one row or more of two classes or more"),
        (np.ones((2, 1)), [0, 0], r"probabilities has the shape \(2, 1\), expected one row or more of two classes"),
        (np.array([[0.5, 0.5], [math.nan, 1]]), [0, 0], "probabilities is not finite in row 1"),
        (np.array([[0.5, 0.5], [1, -math.inf]]), [0, 0], "probabilities has -inf in row 1, expected 0 to 1"),
        (np.array([[0.5, 0.5], [-0.5, 1.5]]), [0, 0], "probabilities has -0.5 in row 1, expected 0 to 1"),
        (np.array([[1.5, 0.0]]), [0], "probabilities has 1.5 in row 0, expected 0 to 1"),
        (FAIR[:, :3], [0, 0], "probabilities has the sum 0.75 in row 0, expected 1"),
        (FAIR, [0], "labels has 1 rows, expected 2"),
        (FAIR, [0, 4], "labels has 4, expected 0 to 3"),
        (FAIR, [-1, 0], "labels has -1, expected 0 to 3"),
        (FAIR, [0.0, math.nan], r"labels is float64 of shape \(2,\), expected class indices"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities: np.ndarray, labels: list[float], message: str) -> None:
    given_labels = np.array(labels) if labels else np.zeros(0, int)
    with pytest.raises(ValueError, match=message):
        calibration(probabilities, given_labels)
    with pytest.raises(ValueError, match=message):
        confident_mistakes(probabilities, given_labels, 3)


@pytest.mark.parametrize("module", ["calibration", "checks", "compare", "counts", "disagreement"])
def test_importing_it_loads_neither_scipy_nor_scikit_learn_nor_torch(module: str) -> None:
    name = f"headstart.core.heads.statistics.{module}"
    code = f"import sys, {name}; print([heavy for heavy in ('scipy', 'sklearn', 'torch') if heavy in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
