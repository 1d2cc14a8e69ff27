"""The temperature of a fold's head: that of an honest inner cross-validation, which none of the fold's labels can move."""

from collections.abc import Sequence

import numpy as np
import pytest
from heads_samples import make_config, silent
from heads_samples import one_thread as one_thread

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.folds import folds
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.selection import temperature
from headstart.core.heads.selection.unseen import unseen_scores
from headstart.core.heads.sessions import fold_temperatures
from headstart.core.heads.sessions.fold_temperatures import FoldTemperatures
from headstart.core.heads.training.train import train

RIDGE = make_config("ridge", penalty=1.0)


class Counted:
    """`unseen_scores` that remembers the labels of the rows that were trained on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sides: list[list[int]] = []
        monkeypatch.setattr(fold_temperatures, "unseen_scores", self)

    def __call__(self, data: Labelled, *rest: object) -> Sequence[np.ndarray]:
        self.sides.append(data.features[:, 0].astype(int).tolist())
        return unseen_scores(data, *rest)  # type: ignore[arg-type]


def numbered(rows: int, classes: int = 3) -> Labelled:
    """Rows whose first feature is their number, the others no more than hints of their labels."""
    labels = np.arange(rows) % classes
    features = np.random.default_rng(0).standard_normal((rows, 8)) + np.eye(classes, 8, 1)[labels]
    features[:, 0] = np.arange(rows)
    return Labelled(features.astype(np.float32), labels)


def dealt(data: Labelled, k: int = 5) -> np.ndarray:
    return folds(data.labels, data.groups, k, np.random.default_rng(0))


def without(data: Labelled, division: np.ndarray, fold: int, config: TrainConfig = RIDGE) -> Head:
    """The head of a fold."""
    return train(data.at(np.flatnonzero(division != fold)), 3, config, "cpu", silent).head


def of_each(data: Labelled, division: np.ndarray) -> list[float]:
    found = FoldTemperatures(data, division, "cpu")
    return [found.of(fold, without(data, division, fold)) for fold in range(int(division.max()) + 1)]


def test_it_is_that_of_the_other_folds_by_heads_that_saw_neither() -> None:
    data = numbered(60)
    division = dealt(data)
    expected = []
    for fold in range(5):
        scores, labels = [], []
        for other in {*range(5)} - {fold}:
            learn, judge = (
                data.at(np.flatnonzero(~np.isin(division, (fold, other)))),
                data.at(np.flatnonzero(division == other)),
            )
            scores.append(unseen_scores(learn, judge.features, 3, RIDGE, "cpu"))
            labels.append(judge.labels)
        expected.append(temperature.fit(np.concatenate(scores).astype(np.float64), np.concatenate(labels)))
    assert of_each(data, division) == pytest.approx(expected, rel=1e-4)
    assert len({round(found, 6) for found in expected}) == 5


def test_the_labels_of_a_fold_do_not_move_its_own_temperature() -> None:
    data = numbered(60)
    division = dealt(data)
    before = of_each(data, division)
    data.labels[division == 2] = (data.labels[division == 2] + 1) % 3
    after = of_each(data, division)
    assert after[2] == before[2]
    assert all(one != other for fold, (one, other) in enumerate(zip(before, after, strict=True)) if fold != 2)


def test_each_pair_of_folds_has_one_head_for_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    data, counted = numbered(30), Counted(monkeypatch)
    division = dealt(data)
    found = FoldTemperatures(data, division, "cpu")
    for seed in range(3):
        config = make_config("linear", epochs=1, val_fraction=0.0, seed=seed)
        for fold in range(5):
            found.of(fold, without(data, division, fold, config))
    assert len(counted.sides) == 10
    left_out = [{*division[sorted({*range(30)} - {*side})].tolist()} for side in counted.sides]
    assert len({frozenset(pair) for pair in left_out}) == 10
    assert all(len(pair) == 2 for pair in left_out)


def test_of_many_rows_two_folds_are_asked_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_temperatures, "CROSS_VALIDATED", 29)
    counted = Counted(monkeypatch)
    assert all(0 < found < np.inf for found in of_each(numbered(30), dealt(numbered(30))))
    assert len(counted.sides) == 5


def test_where_the_other_folds_can_not_be_asked_it_is_1() -> None:
    data = numbered(4, classes=2)
    assert of_each(data, np.array([0, 0, 1, 1])) == [1, 1]
    # without any pair of these folds one class is left
    lonely = Labelled(data.features[:3], np.array([0, 1, 2]))
    assert of_each(lonely, np.array([0, 1, 2])) == [1, 1, 1]


def test_a_class_that_a_head_never_saw_is_left_out_of_the_fit() -> None:
    data = numbered(41)
    data.labels[40] = 2
    data.labels[:40] %= 2
    found = of_each(data, dealt(data))
    assert all(0 < one < 100 for one in found)


def test_groups_stay_on_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = numbered(60)
    data, counted = Labelled(plain.features, plain.labels, groups=np.arange(60) // 4), Counted(monkeypatch)
    of_each(data, dealt(data))
    for side in counted.sides:
        assert {row // 4 for row in side}.isdisjoint({row // 4 for row in range(60) if row not in side})
