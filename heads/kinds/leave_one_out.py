"""Ridge regression with the penalty chosen by leave-one-out, in the memory of one chunk of rows beside the features."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

_CHUNK = 2048
"""Rows that are in double precision at once."""

Doubles = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def fit(features: Features, labels: Labels, classes: int, penalties: Sequence[float]) -> tuple[Doubles, Doubles]:
    """Weights (C, D) and biases (C,) of least squares from features (N, D) on targets of 1 for a row's own class and -1 for
    others, with the penalty whose leave-one-out errors have the smallest mean square, the first of equals.

    What scikit-learn's RidgeCV finds. That copies features and targets several times over in double precision; of more rows
    than features one needs only their products (D, D), so here they go through in chunks.
    """
    if len(features) <= features.shape[1]:
        return _dual(features, labels, classes, penalties)
    mean, middle = features.mean(axis=0, dtype=np.float64), _means(labels, classes)
    gram, cross = np.zeros((features.shape[1],) * 2), np.zeros((features.shape[1], classes))
    for rows, targets in _chunks(features, labels, mean, middle):
        gram += rows.T @ rows
        cross += rows.T @ targets
    values, vectors = np.linalg.eigh(gram)
    values, along = np.maximum(values, 0), vectors.T @ cross
    errors = np.zeros(len(penalties))
    for rows, targets in _chunks(features, labels, mean, middle):
        turned = rows @ vectors
        for i, penalty in enumerate(penalties):
            left = turned @ (along / (values + penalty)[:, None])
            np.subtract(targets, left, out=left)
            left /= (1 - 1 / len(features) - turned**2 @ (1 / (values + penalty)))[
                :, None
            ]  # as if the row had been left out
            errors[i] += (left**2).sum()
    best = penalties[int(errors.argmin())]
    weights = (vectors @ (along / (values + best)[:, None])).T
    return weights, middle - weights @ mean


def _means(labels: Labels, classes: int) -> Doubles:
    found: Doubles = 2 * np.bincount(labels, minlength=classes) / len(labels) - 1
    return found


def _chunks(features: Features, labels: Labels, mean: Doubles, middle: Doubles) -> Iterator[tuple[Doubles, Doubles]]:
    """Features and targets less their means, some rows at a time."""
    for start in range(0, len(labels), _CHUNK):
        own = labels[start : start + _CHUNK]
        targets = np.full((len(own), len(middle)), -1.0)
        targets[np.arange(len(own)), own] = 1
        yield features[start : start + _CHUNK] - mean, targets - middle


def _dual(features: Features, labels: Labels, classes: int, penalties: Sequence[float]) -> tuple[Doubles, Doubles]:
    from sklearn.linear_model import RidgeCV

    targets = np.full((len(labels), classes), -1.0)
    targets[np.arange(len(labels)), labels] = 1
    found = RidgeCV(alphas=np.array(penalties)).fit(features.astype(np.float64), targets)
    return np.asarray(found.coef_), np.asarray(found.intercept_)
