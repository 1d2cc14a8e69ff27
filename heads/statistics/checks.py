"""What heads are judged by, refused before anything is counted from it: each error names what is wrong, and where."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt


def check_booleans(values: npt.NDArray[np.bool_], what: str, dims: int = 1) -> None:
    """Raise ValueError unless `values` are booleans in so many dimensions, at least one of them."""
    if values.dtype != np.bool_ or values.ndim != dims:
        raise ValueError(f"{what} is {values.dtype} of shape {values.shape}, expected booleans in {dims} dimensions")
    if not values.size:
        raise ValueError(f"{what} has the shape {values.shape}, expected one row or more")


def check_labels(labels: npt.NDArray[np.int64], classes: int, what: str = "labels", rows: int | None = None) -> None:
    """Raise ValueError unless `labels` (N,) are integers from 0 to classes - 1, one or more, and `rows` of them."""
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(f"{what} is {labels.dtype} of shape {labels.shape}, expected class indices (N,)")
    if not len(labels):
        raise ValueError(f"{what} has no rows, expected one or more")
    if rows is not None and len(labels) != rows:
        raise ValueError(f"{what} has {len(labels)} rows, expected {rows}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"{what} has {low if low < 0 else high}, expected 0 to {classes - 1}")


def check_probabilities(probabilities: npt.NDArray[np.floating], what: str = "probabilities") -> npt.NDArray[np.float64]:
    """As float64, or ValueError unless each row of (N, C) is finite, from 0 to 1, and has the sum 1 to within 0.001."""
    found = check_scores(probabilities, what)
    outside = (found < 0) | (found > 1 + 1e-6)  # a rounded softmax may exceed 1 by its last digit
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(f"{what} has {found[row, column]} in row {row}, expected 0 to 1")
    sums = found.sum(axis=1)
    apart = np.abs(sums - 1) > 1e-3
    if apart.any():
        row = int(apart.argmax())
        raise ValueError(f"{what} has the sum {sums[row]:.6g} in row {row}, expected 1")
    return found


def check_scores(scores: npt.NDArray[np.floating], what: str = "scores") -> npt.NDArray[np.float64]:
    """As float64, or ValueError unless (N, C) are floats, of one row or more and two classes or more.

    Each must be finite, or minus infinity where a class is impossible, which not all classes of a row may be.
    """
    if not np.issubdtype(scores.dtype, np.floating) or scores.ndim != 2:
        raise ValueError(f"{what} is {scores.dtype} of shape {scores.shape}, expected floats (N, C)")
    if not len(scores) or scores.shape[1] < 2:
        raise ValueError(f"{what} has the shape {scores.shape}, expected one row or more of two classes or more")
    bad = (np.isnan(scores) | np.isposinf(scores)).any(axis=1) | np.isneginf(scores).all(axis=1)
    if bad.any():
        raise ValueError(f"{what} is not finite in row {int(bad.argmax())}")
    return scores.astype(np.float64)


def check_matrix(matrix: npt.NDArray[np.int64]) -> None:
    """Raise ValueError unless the confusion matrix is square, (C, C), of integers from 0, and not empty."""
    if not np.issubdtype(matrix.dtype, np.integer) or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion matrix is {matrix.dtype} of shape {matrix.shape}, expected counts (C, C)")
    if not matrix.size or (matrix < 0).any():
        raise ValueError(f"confusion matrix of shape {matrix.shape} is empty or has a negative count")


def check_several(named: Mapping[str, object]) -> None:
    """Raise ValueError for fewer than two heads by name."""
    if len(named) < 2:
        raise ValueError(f"{len(named)} heads ({', '.join(named) or 'none'}), expected two or more to compare")
