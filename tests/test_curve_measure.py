"""A measured few-shot curve: every head sees its draw alone, and the last point is the head that is kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from heads_samples import blobs, make_config, make_key, only_pair, silent, write_pair, write_set
from heads_samples import one_thread as one_thread

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.curve.draws import MOST_REPEATS
from headstart.core.heads.curve.measure import measure
from headstart.core.heads.curve.record import Curve
from headstart.core.heads.data import Labelled
from headstart.core.heads.report.more_pictures import sentence, verdict
from headstart.core.heads.runs import Run, RunStore, read
from headstart.core.heads.selection import procedure
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.sessions import session


def unwatched(done: int, total: int) -> None:
    """An `OnFold` that does nothing."""


class Spy:
    """Fits heads, and remembers the first feature, the row's number, of what it was given."""

    def __init__(self, head: str = "knn") -> None:
        self.sides: list[list[int]] = []
        self._config = make_config(head)

    def __call__(self, data: Labelled) -> Sequence[Fitted]:
        self.sides.append(data.features[:, 0].astype(int).tolist())
        return procedure.fit(data, 3, [self._config], "cpu", silent, calibrated=False)


def numbered(labels: Sequence[int], groups: Sequence[int] | None = None, first: int = 0) -> Labelled:
    """Rows whose first feature is their number."""
    features = np.random.default_rng(first).random((len(labels), 4)).astype(np.float32)
    features[:, 0] = np.arange(first, first + len(labels))
    return Labelled(features, np.array(labels), groups=None if groups is None else np.array(groups))


def curve_of(training: Labelled, testing: Labelled | None = None, fit: Spy | None = None) -> Curve:
    rngs = [np.random.default_rng(i) for i in range(MOST_REPEATS)]
    return measure(training, testing, fit or Spy(), "cpu", rngs, unwatched)


def test_each_head_is_trained_on_its_draw_and_no_other_row() -> None:
    spy = Spy()
    found = curve_of(numbered([0, 1, 2] * 8), numbered([0, 1, 2] * 4, first=100), spy)
    assert [point.rows for point in found.points] == [6, 12, 24]
    assert [len(side) for side in spy.sides] == [6] * 10 + [12] * 10 + [24]
    assert {row for side in spy.sides for row in side} == set(range(24))
    assert [len(point.accuracies) for point in found.points] == [10, 10, 1]
    assert found.test_rows == 12


def test_rows_of_a_group_are_never_on_both_sides() -> None:
    groups = [row // 3 for row in range(60)]
    spy = Spy()
    curve_of(numbered([0, 1, 2] * 20, groups), None, spy)
    for side in spy.sides:
        assert {row // 3 for row in side}.isdisjoint({row // 3 for row in set(range(60)) - set(side)})


def test_labels_that_say_nothing_are_guessed_no_better_than_by_chance() -> None:
    """A leak would show: the nearest neighbour of a row that was trained on is the row itself."""
    rng = np.random.default_rng(0)
    data = Labelled(rng.standard_normal((450, 20)).astype(np.float32), rng.permutation(np.arange(450) % 3))
    found = curve_of(data)
    assert all(0.25 < share < 0.42 for point in found.points for share in point.accuracies)
    assert verdict(found) != "probably"


def test_the_same_generators_give_the_same_curve() -> None:
    one, other = (curve_of(blobs(60, dim=20)) for _ in range(2))
    assert (one.points, one.gain) == (other.points, other.gain)


def test_all_that_is_done_is_told() -> None:
    told: list[tuple[int, int]] = []
    data, rngs = blobs(24), [np.random.default_rng(i) for i in range(MOST_REPEATS)]
    measure(data, blobs(9, seed=1), Spy(), "cpu", rngs, lambda *it: told.append(it))
    assert told[0] == (0, 6 * 10 + 12 * 10 + 24)
    assert told[-1] == (told[0][1], told[0][1])
    assert [one for one, _ in told] == sorted({one for one, _ in told})


def test_a_harder_task_gains_and_an_easy_one_does_not() -> None:
    easy = curve_of(blobs(48), blobs(900, seed=1), Spy("ridge"))
    assert verdict(easy) == "hardly"
    rng = np.random.default_rng(0)
    hard = [Labelled((it.features / 3 + rng.standard_normal(it.features.shape) * 0.3).astype(np.float32), it.labels)
            for it in (blobs(48, dim=90), blobs(1500, seed=1, dim=90))]  # fmt: skip
    assert verdict(curve_of(hard[0], hard[1], Spy("ridge"))) == "probably"


def test_a_head_that_can_not_be_trained_on_few_rows_is_told_with_their_number() -> None:
    def fit(data: Labelled) -> Sequence[Fitted]:
        raise FeaturesInvalid("too few")

    rngs = [np.random.default_rng(i) for i in range(MOST_REPEATS)]
    with pytest.raises(FeaturesInvalid, match=r"^in the few-shot curve, on 6 of 24 rows: too few; or leave --curve out$"):
        measure(blobs(24), blobs(9, seed=1), fit, "cpu", rngs, unwatched)


# ------------------------------------------------------------------------------------------------- sets, small and odd


def train(root: Path, counts: Sequence[int], head: str = "ridge", split: str = "all", **settings: object) -> Run:
    """A session with a curve on so many rows of each class, sorted by class; `split` train has ten test rows a class."""
    dim, key = len(counts) + 70, make_key(classes=tuple(f"class {i}" for i in range(len(counts))))

    def part(of: Sequence[int], seed: int) -> Labelled:
        labels = np.repeat(np.arange(len(of)), of)
        noise = np.random.default_rng(seed).standard_normal((len(labels), dim))
        return Labelled((noise + 9 * np.eye(len(of), dim)[labels]).astype(np.float32), labels)

    store = FeatureStore(root / "features")
    write_set(store, part(counts, 0), split, key)
    if split == "train":
        write_set(store, part([10] * len(counts), 1), "test", key)
    config, runs = make_config(head, **settings), RunStore(root / "runs")
    (run,) = session.fit(only_pair(store, key), [config], "cpu", "a computer", runs, silent, on_draw=unwatched)
    assert read(runs.root / run.name / "run.json") == run
    return run


@pytest.mark.parametrize(
    ("counts", "split", "rows"),
    [
        ((4, 4), "all", [2, 3, 6]),
        ((4, 4), "train", [2, 4, 8]),
        ((1, 10, 9), "all", [4, 8, 16]),
        ((1, 10, 9), "train", [5, 10, 20]),
        ((2,) * 150, "all", [150]),
        ((2,) * 150, "train", [150, 300]),
        ((2, 2), "all", [2]),
        ((60, 4), "all", [6, 13, 26, 51]),
    ],
)
def test_small_and_odd_sets_have_a_curve(counts: tuple[int, ...], split: str, rows: list[int], tmp_path: Path) -> None:
    run = train(tmp_path, counts, split=split, standardise=False)
    assert run.curve is not None
    assert [point.rows for point in run.curve.points] == rows
    assert run.curve.test_rows == (sum(counts) if split == "all" else 10 * len(counts))
    assert all(point.error > 0 for point in run.curve.points)
    if sum(counts) < 30 or len(rows) == 1:  # nothing can be told of a handful of pictures
        assert "can't be told" in sentence(run.curve)


@pytest.mark.parametrize(("head", "split"), [("auto", "train"), ("knn", "train"), ("knn", "all"), ("ridge", "all")])
def test_the_last_point_is_the_accuracy_of_the_head_itself(head: str, split: str, tmp_path: Path) -> None:
    run = train(tmp_path, (4, 5), head, split)
    assert run.curve is not None
    overall, last = run.evaluation.overall, run.curve.points[-1].accuracies
    assert last == (run.evaluated_by.accuracies or (overall.accuracy,))
    assert last[0] == overall.accuracy


def test_a_head_with_epochs_has_a_curve(tmp_path: Path) -> None:
    run = train(tmp_path, (4, 5), "mlp", "train", epoch_by="loss")
    assert run.curve is not None
    assert run.curve.points[-1].accuracies == (run.evaluation.overall.accuracy,)


def test_a_part_held_out_is_what_the_curve_is_tested_on(tmp_path: Path) -> None:
    run = train(tmp_path, (20, 20), test_fraction=0.25)
    assert run.curve is not None
    assert (run.curve.test_rows, run.curve.points[-1].rows) == (10, 30)


def test_no_curve_is_measured_where_none_is_asked_for(tmp_path: Path) -> None:
    pair, runs = write_pair(tmp_path / "features"), RunStore(tmp_path / "runs")
    (run,) = session.fit(pair, [make_config("ridge")], "cpu", "a computer", runs, silent)
    assert run.curve is None
    with_curve = session.fit(pair, [make_config("ridge")], "cpu", "a computer", runs, silent, on_draw=unwatched)[0]
    assert with_curve.head_sha256 == run.head_sha256


def test_a_head_that_needs_more_rows_than_the_curve_starts_from_is_told(tmp_path: Path) -> None:
    message = r"on 2 of 9 rows: .* leave none for validation; use --val-fraction 0; or leave --curve out$"
    with pytest.raises(FeaturesInvalid, match=message):
        train(tmp_path, (4, 5), "mlp", "train", epoch_by="accuracy")
    assert not (tmp_path / "runs").exists()
