"""What a head said of labelled rows: refused where it is not of the same rows and classes."""

from typing import Any

import numpy as np
import pytest

from headstart.core.heads.statistics.calibration import calibration
from headstart.core.heads.statistics.outcomes import Outcomes

LABELS = np.array([0, 1, 1])
SHARES = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], dtype=np.float32)


def test_rows_are_counted_by_class() -> None:
    shares = np.hstack([SHARES, np.zeros((3, 1), dtype=np.float32)])
    found = Outcomes(LABELS, LABELS, shares)
    assert (found.classes, found.rows_of_class.tolist()) == (3, [1, 2, 0])


def test_the_calibration_is_computed_once() -> None:
    found = Outcomes(LABELS, LABELS, SHARES)
    assert found.calibration is found.calibration
    assert found.calibration == calibration(SHARES, LABELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS[:2]}, "labels has 2 rows, expected 3"),
        ({"predicted": LABELS[:2]}, "predicted has 2 rows, expected 3"),
        ({"labels": LABELS + 1}, "labels has 2, expected 0 to 1"),
        ({"predicted": LABELS - 1}, "predicted has -1, expected 0 to 1"),
        ({"predicted": LABELS.astype(float)}, r"predicted is float64 of shape \(3,\), expected class indices"),
        ({"probabilities": SHARES * 2}, "probabilities has 1.5 in row 0, expected 0 to 1"),
        ({"probabilities": SHARES / 2}, r"probabilities has the sum 0.5 in row 0, expected 1"),
        ({"probabilities": SHARES * np.nan}, "probabilities is not finite in row 0"),
        ({"probabilities": SHARES[:, :1]}, r"probabilities has the shape \(3, 1\), expected .* two classes or more"),
        ({"labels": LABELS[:0], "predicted": LABELS[:0], "probabilities": SHARES[:0]}, "expected one row or more"),
    ],
)
def test_what_is_not_of_the_same_rows_and_classes_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outcomes(**{"labels": LABELS, "predicted": LABELS, "probabilities": SHARES, **changes})
