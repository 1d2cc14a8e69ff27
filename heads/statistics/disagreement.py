"""The images worth a look: those that heads label differently, and those that a head is surest of and gets wrong."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from headstart.core.heads.statistics.checks import check_labels, check_probabilities, check_several


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """A row that heads label differently: the label of each head by name, and the probability it has for the head.

    `dissenting` heads do not give the commonest label; `confidence` is the mean of the heads' probabilities.
    """

    row: int
    dissenting: int
    confidence: float
    predicted: dict[str, int]
    probabilities: dict[str, float]


def agreement(probabilities: Mapping[str, npt.NDArray[np.floating]]) -> list[Disagreement]:
    """The rows on which heads, by name with probabilities (N, C) of the same images, do not give one label.

    Those with most dissenting heads first; among equals those of which the heads are surest; then by row. The share on
    which all agree is 1 - len(…) / N. Raises ValueError for fewer than two heads or shapes that differ.
    """
    check_several(probabilities)
    found = {name: check_probabilities(values, f"probabilities of {name}") for name, values in probabilities.items()}
    (first, expected), *others = ((name, values.shape) for name, values in found.items())
    for name, shape in others:
        if shape != expected:
            raise ValueError(f"probabilities of {name} have the shape {shape}, those of {first} {expected}")
    labels = np.stack([values.argmax(axis=1) for values in found.values()])
    tops = np.stack([values.max(axis=1) for values in found.values()])
    votes = np.zeros(expected, dtype=np.int64)
    for given in labels:
        votes[np.arange(len(votes)), given] += 1
    dissenting, confidence = len(found) - votes.max(axis=1), tops.mean(axis=0)
    rows = np.flatnonzero(dissenting)
    order = rows[np.lexsort((rows, -confidence[rows], -dissenting[rows]))]
    return [
        Disagreement(
            int(row),
            int(dissenting[row]),
            float(confidence[row]),
            dict(zip(found, labels[:, row].tolist(), strict=True)),
            dict(zip(found, tops[:, row].tolist(), strict=True)),
        )
        for row in order
    ]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A row that was given a wrong label, with the probability of that label."""

    row: int
    label: int
    predicted: int
    probability: float


def confident_mistakes(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], count: int) -> list[Mistake]:
    """The `count` wrongly labelled rows of probabilities (N, C), or fewer, that the head is surest of; surest first.

    Raises ValueError for anything but probabilities, class indices (N,) and a count of 0 or more.
    """
    found = check_probabilities(probabilities)
    check_labels(labels, found.shape[1], rows=len(found))
    if count < 0:
        raise ValueError(f"count {count}, expected 0 or more")
    predicted, top = found.argmax(axis=1), found.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-top[wrong], kind="stable")][:count]
    return [Mistake(int(row), int(labels[row]), int(predicted[row]), float(top[row])) for row in order]
