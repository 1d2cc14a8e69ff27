"""Cross-validation: each row once, by a head that has not seen it, nor a row of its group, whatever the set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from heads_samples import blobs, make_config, make_key, only_pair, silent, write_set
from heads_samples import one_thread as one_thread

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import predictions_file
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.folds import folds
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.selection import procedure, unseen
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.selection.search import confidence
from headstart.core.heads.sessions import session
from headstart.core.heads.sessions.cross_validation import Fit, cross_validate
from headstart.core.heads.sessions.fold_temperatures import FoldTemperatures
from headstart.core.heads.statistics.calibration import softmax
from headstart.core.heads.training import train as train_module
from headstart.core.heads.training.train import scores
from headstart.core.heads.training.train import train as train_head


def kept_of(run: Run, store: RunStore) -> Kept | None:
    """What was kept of a run's cross-validation."""
    return predictions_file.load(store.root / run.name, run.head_sha256)


def unwatched(done: int, total: int) -> None:
    """An `on_fold` that does nothing."""


class Spy:
    """Fits 1-nearest-neighbour heads, and remembers the first feature, the row's number, of what it was given."""

    def __init__(self, heads: int = 1) -> None:
        self.sides: list[list[int]] = []
        self._configs = [make_config("knn")] * heads

    def __call__(self, data: Labelled) -> Sequence[Fitted]:
        self.sides.append(data.features[:, 0].astype(int).tolist())
        return procedure.fit(data, 3, self._configs, "cpu", silent)


def numbered(labels: Sequence[int], groups: Sequence[int] | None = None) -> Labelled:
    """Rows whose first feature is their number."""
    features = np.random.default_rng(0).random((len(labels), 4)).astype(np.float32)
    features[:, 0] = np.arange(len(labels))
    return Labelled(features, np.array(labels), groups=None if groups is None else np.array(groups))


def vague(rows: int) -> Labelled:
    """Rows whose features tell their labels with many mistakes."""
    data = blobs(rows)
    return Labelled(
        data.features / 6 + np.random.default_rng(1).standard_normal(data.features.shape, dtype=np.float32), data.labels
    )


def test_each_row_is_left_out_once_in_each_repeat() -> None:
    spy = Spy()
    (found,) = cross_validate(numbered([0, 1, 2] * 10), spy, 1, "cpu", unwatched)
    assert (found.protocol.folds, found.protocol.repeats, len(spy.sides)) == (5, 3, 15)
    for repeat in range(3):
        left_out = [sorted({*range(30)} - {*side}) for side in spy.sides[5 * repeat : 5 * repeat + 5]]
        assert sorted(row for fold in left_out for row in fold) == list(range(30))
        assert all(len(fold) == 6 for fold in left_out)
    assert spy.sides[:5] != spy.sides[5:10]
    assert found.outcomes.labels.tolist() == [0, 1, 2] * 10
    assert (found.outcomes.predicted >= 0).all()


def test_it_is_done_once_where_it_is_not_to_be_repeated() -> None:
    spy = Spy()
    (found,) = cross_validate(numbered([0, 1, 2] * 10), spy, 1, "cpu", unwatched, repeated=False)
    assert (found.protocol.repeats, len(found.protocol.accuracies), len(spy.sides)) == (1, 1, 5)


def test_groups_are_left_out_whole() -> None:
    spy = Spy()
    cross_validate(numbered([0, 1, 2] * 10, [row // 3 for row in range(30)]), spy, 1, "cpu", unwatched)
    for side in spy.sides:
        assert {row // 3 for row in side}.isdisjoint({row // 3 for row in range(30) if row not in side})


def test_sets_of_some_size_and_several_heads_are_divided_once() -> None:
    (found,) = cross_validate(numbered([0, 1, 2] * 167), Spy(), 1, "cpu", unwatched)
    assert (found.protocol.repeats, len(found.protocol.accuracies)) == (1, 1)
    found, other = cross_validate(numbered([0, 1, 2] * 10), Spy(2), 2, "cpu", unwatched)
    assert (found.protocol.repeats, other.protocol.repeats) == (1, 1)


def test_the_same_rows_are_divided_alike_each_time() -> None:
    one, other = Spy(), Spy()
    cross_validate(numbered([0, 1, 2] * 10), one, 1, "cpu", unwatched)
    cross_validate(numbered([0, 1, 2] * 10), other, 1, "cpu", unwatched)
    assert one.sides == other.sides


def test_labels_that_say_nothing_are_guessed_no_better_than_by_chance() -> None:
    """A leak would show: the nearest neighbour of a row that was trained on is the row itself."""
    rng = np.random.default_rng(0)
    data = Labelled(rng.standard_normal((450, 20)).astype(np.float32), rng.permutation(np.arange(450) % 3))
    (found,) = cross_validate(data, Spy(), 1, "cpu", unwatched)
    assert all(0.26 < accuracy < 0.41 for accuracy in found.protocol.accuracies)


def test_probabilities_are_at_the_temperature_of_their_own_fold() -> None:
    def fit_at(temperature: float) -> np.ndarray:
        def fit(data: Labelled) -> list[Fitted]:
            (found,) = procedure.fit(data, 3, [make_config("ridge")], "cpu", silent)
            return [Fitted(found.trained, None, Confidence(temperature, np.zeros(1, dtype=np.float32), 1))]

        (found,) = cross_validate(blobs(60), fit, 1, "cpu", unwatched)
        return np.asarray(found.outcomes.probabilities)

    plain, mild = fit_at(1.0), fit_at(2.0)
    expected = torch.from_numpy(plain).log().div(2).softmax(dim=1).numpy()
    np.testing.assert_allclose(mild, expected, rtol=1e-5)


def uncalibrated(*configs: TrainConfig) -> Fit:
    """Heads that learn from no row how sure to be."""
    return lambda data: procedure.fit(data, 3, configs, "cpu", silent, calibrated=False)


def test_heads_without_a_temperature_get_one_of_other_folds_and_the_head_of_all_rows_that_of_all() -> None:
    data, config = vague(60), make_config("ridge", penalty=1.0)
    (found,) = cross_validate(data, uncalibrated(config), 1, "cpu", unwatched)
    division = folds(data.labels, None, 5, np.random.default_rng(0))
    temperatures, expected = FoldTemperatures(data, division, "cpu"), np.zeros((60, 3), dtype=np.float32)
    said = np.zeros((60, 3), dtype=np.float32)
    for fold in range(5):
        inside = division == fold
        head = train_head(data.at(np.flatnonzero(~inside)), 3, config, "cpu", silent).head
        said[inside] = scores(head, data.features[inside], "cpu").numpy()
        expected[inside] = softmax(said[inside], temperatures.of(fold, head))
    np.testing.assert_allclose(found.outcomes.probabilities, expected, atol=1e-5)
    assert found.confidence is not None
    plain = confidence(said, data.labels)
    assert (found.confidence.temperature, found.confidence.rows) == (pytest.approx(plain.temperature, rel=1e-4), 60)
    np.testing.assert_allclose(found.confidence.of_label, plain.of_label, atol=1e-5)


def test_only_heads_that_learned_it_from_nothing_else_are_told_by_the_folds_how_sure_they_may_be() -> None:
    given, chosen = make_config("ridge", penalty=1.0), make_config("ridge")
    one, other = cross_validate(vague(60), uncalibrated(given, chosen), 2, "cpu", unwatched)
    assert one.confidence is not None
    assert other.confidence is None
    squashed = make_config("linear", epochs=1, sigmoid=True, val_fraction=0.0)
    (none,) = cross_validate(vague(60), uncalibrated(squashed), 1, "cpu", unwatched)
    assert none.confidence is None
    assert none.outcomes.probabilities.max() < 0.577  # e / (e + 2): the temperature is 1


def test_a_head_with_nothing_open_costs_a_training_for_each_pair_of_folds_of_the_first_division(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, plain = [], train_module.train_many
    for module in (procedure, unseen):
        monkeypatch.setattr(
            module, "train_many", lambda data, *rest: trained.append(len(data.labels)) or plain(data, *rest)
        )
    run = train(tmp_path, (10, 10), "linear", epochs=1, val_fraction=0.0)
    assert sorted(trained) == [12] * 10 + [16] * 15 + [20]
    kept = session.load_head(run, RunStore(tmp_path / "runs")).confidence
    assert kept is not None
    assert kept.rows == 20


# ------------------------------------------------------------------------------------------------- small and odd sets


def train(root: Path, counts: Sequence[int], head: str = "ridge", **settings: object) -> Run:
    """A session on so many rows of each class, sorted by class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    dim = len(counts) + 70
    features = 0.1 * np.random.default_rng(0).standard_normal((len(labels), dim)) + 9 * np.eye(len(counts), dim)[labels]
    key = make_key(classes=tuple(f"class {i}" for i in range(len(counts))))
    store = FeatureStore(root / "features")
    write_set(store, Labelled(features.astype(np.float32), labels), "all", key)
    runs, config = RunStore(root / "runs"), make_config(head, **settings)
    (run,) = session.fit(only_pair(store, key), [config], "cpu", "a computer", runs, silent)
    kept = kept_of(run, runs)
    assert (kept is not None) == run.evaluated_by.cross_validated
    return run


@pytest.mark.parametrize(
    ("counts", "folds", "right"),
    [
        ((2, 2), 2, 4),
        ((2, 20, 20, 20), 5, 62),
        ((1, 10, 9), 5, 19),  # the only one of its class is never found
        ((2,) * 150, 2, 300),
        ((2, 2, 1), 2, 4),
        ((200, 10), 5, 210),
    ],
)
def test_small_and_odd_sets_have_a_result(counts: tuple[int, ...], folds: int, right: int, tmp_path: Path) -> None:
    run = train(tmp_path, counts, standardise=False)
    assert (run.evaluated_by.folds, run.evaluated_by.repeats) == (folds, 3)
    assert run.train_rows == run.evaluation.overall.total == sum(counts)
    assert run.evaluation.overall.correct == right
    few = [note for note in run.notes if "no more than 2 training rows" in note]
    assert bool(few) == (min(counts) <= 2)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((1, 10), r"11 rows of 2 classes can't be cross-validated: .*; add images of the .*, or use --test-fraction 0\.2$"),
        ((2, 1), r"3 rows of 2 classes can't be cross-validated: .*, or use --test-fraction 0\.2$"),
        ((1, 1, 1), "3 rows of 3 classes are too few to be cross-validated: no class has two images; add images$"),
        ((1, 1), "2 rows of 2 classes are too few to be cross-validated: no class has two images; add images$"),
        ((3, 0), "all 3 training rows are of the class class 0; a head needs two classes or more"),
    ],
)
def test_sets_that_can_not_be_cross_validated_are_refused(counts: tuple[int, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(FeaturesInvalid, match=message):
        train(tmp_path, counts)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("counts", [(1, 10), (2, 1)])
def test_the_way_out_that_is_named_works(counts: tuple[int, ...], tmp_path: Path) -> None:
    assert train(tmp_path, counts, test_fraction=0.2).evaluated_by.kind == "held out"
    assert train(tmp_path / "mlp", counts, "mlp", test_fraction=0.2, val_fraction=0.0).train_rows == round(
        0.8 * sum(counts)
    )


def test_pictures_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    write_set(store, Labelled(np.ones((20, 6), dtype=np.float32), np.arange(20) % 3), "all")
    with pytest.raises(
        FeaturesInvalid, match=r"20 rows of 3 classes can't be .* in \d+ groups.* no class is in two of them; add"
    ):
        session.fit(only_pair(store), [make_config()], "cpu", "a computer", RunStore(tmp_path / "runs"), silent)


def test_copies_of_other_classes_are_told_and_left_out_together(tmp_path: Path) -> None:
    data = blobs(60, dim=80)
    data.features[30:] = data.features[:30]
    store = FeatureStore(tmp_path / "features")
    write_set(store, Labelled(data.features, (data.labels + (np.arange(60) >= 30)) % 3), "all")
    config, runs = make_config("ridge"), RunStore(tmp_path / "runs")
    (run,) = session.fit(only_pair(store), [config], "cpu", "a computer", runs, silent)
    assert run.notes[0].startswith("60 images are the same 30 pictures")
    assert run.notes[1].endswith("row-30 and row-0, row-31 and row-1, row-32 and row-2 and 27 more")
    kept = kept_of(run, runs)
    assert kept is not None
    # one head said both, which had seen neither
    assert np.array_equal(kept.outcomes.predicted[:30], kept.outcomes.predicted[30:])
