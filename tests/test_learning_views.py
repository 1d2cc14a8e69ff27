"""Heads that learn from views: all versions of a picture count as one picture, and never stand on both sides."""

import dataclasses

import numpy as np
import pytest
import torch
from heads_samples import blobs, make_config, overlapping, same_head, silent
from heads_samples import one_thread as one_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.curve.draws import MOST_REPEATS, plan
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds.base import Rows
from headstart.core.heads.kinds.logreg import Logreg
from headstart.core.heads.kinds.ridge import Ridge
from headstart.core.heads.selection import divided, procedure, search
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.sessions.cross_validation import cross_validate
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.training import groups, optimise
from headstart.core.heads.training.averaging import averaged, averaged_score
from headstart.core.heads.training.given import Given, by_class, on_device, shared, standardised
from headstart.core.heads.training.train import carve, predict, probabilities, scores, train, train_many

CLOSED = ("logreg", "ridge", "svm", "prototype", "knn")


def copied(data: Labelled, views: int = 2) -> Labelled:
    """The rows with views that are the pictures themselves."""
    return dataclasses.replace(data, views=np.repeat(data.features[None], views, axis=0))


def noisy(data: Labelled, views: int = 2, seed: int = 9) -> Labelled:
    """The rows with views that differ a little."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((views, *data.features.shape)).astype(np.float32)
    return dataclasses.replace(data, views=data.features + 0.5 * noise)


def two_modes(rows: int, seed: int) -> tuple[Labelled, Labelled]:
    """Training rows that show one mode of each of two classes, with a view that shows the other, and test rows of both.
    What tells the classes in the first mode says nothing in the second."""
    rng = np.random.default_rng(seed)

    def mode(labels: np.ndarray, axis: int) -> np.ndarray:
        found = rng.standard_normal((len(labels), 20)).astype(np.float32)
        found[:, axis] += 6.0 * labels - 3
        return found

    labels, tests = np.arange(rows, dtype=np.int64) % 2, np.arange(2 * rows, dtype=np.int64) // 2 % 2
    training = Labelled(mode(labels, 0), labels, views=mode(labels, 1)[None])
    both = np.where((np.arange(2 * rows) % 2 == 0)[:, None], mode(tests, 0), mode(tests, 1))
    return training, Labelled(both, tests)


def accuracy(found: Fitted, data: Labelled) -> float:
    return float((predict(found.trained.head, data.features, "cpu") == data.labels).mean())


# ------------------------------------------------------------------------------------------- rows, as heads have them


def test_the_pictures_come_first_and_all_versions_weigh_as_one_picture() -> None:
    data = dataclasses.replace(noisy(blobs(6)), weights=np.arange(1.0, 7.0))
    rows = on_device("cpu", data)
    assert (rows.versions, rows.pictures, len(rows.labels)) == (3, 6, 18)
    np.testing.assert_array_equal(rows.features[:6], data.features)
    assert data.views is not None
    np.testing.assert_array_equal(rows.features[6:].reshape(2, 6, -1), data.views)
    own = shared(rows).weights
    assert own is not None
    np.testing.assert_allclose(own.reshape(3, 6).sum(dim=0), data.weights)
    assert on_device("cpu", blobs(6)).weights is None
    assert shared(on_device("cpu", blobs(6))).weights is None


def test_balanced_classes_weigh_what_they_weigh_without_views() -> None:
    labels = np.array([0, 0, 0, 1], dtype=np.int64)
    data = Labelled(np.eye(4, dtype=np.float32), labels)
    config = make_config("logreg", class_weight="balanced")
    plain, several = (by_class(on_device("cpu", one), config) for one in (data, copied(data)))
    assert plain.weights is not None
    own = shared(several).weights
    assert own is not None
    np.testing.assert_allclose(own.reshape(3, 4).sum(dim=0), plain.weights)


def test_all_versions_have_a_part_in_the_standardisation() -> None:
    data = noisy(blobs(20), seed=3)
    assert data.views is not None
    every = np.concatenate([data.features, *data.views]).astype(np.float64)
    found = standardised(Given(on_device("cpu", data), None))
    assert found.mean is not None
    assert found.std is not None
    np.testing.assert_allclose(found.mean, every.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.std, every.std(axis=0), rtol=1e-5)


def test_views_go_where_their_rows_go() -> None:
    data = noisy(blobs(9))
    assert data.views is not None
    part = data.at(np.array([7, 2]))
    assert part.views is not None
    np.testing.assert_array_equal(part.views, data.views[:, [7, 2]])
    assert part.versions == 3
    np.testing.assert_array_equal(part.every, np.concatenate([part.features, *part.views]))
    assert np.shares_memory(part.every, part.features)  # as `at` lays them: not copied
    np.testing.assert_array_equal(data.every, np.concatenate([data.features, *data.views]))
    plain = blobs(9)
    assert plain.every is plain.features


# --------------------------------------------------------------------------------------------- heads without epochs


@pytest.mark.parametrize(
    ("head", "weight"), [*((head, None) for head in CLOSED), *((head, "balanced") for head in CLOSED[:3])]
)
@pytest.mark.parametrize("rows", [20, 90], ids=["fewer rows than numbers", "more"])
def test_views_that_are_copies_change_no_head(head: str, weight: str | None, rows: int) -> None:
    data = overlapping(rows, 3, seed=1, dim=40)
    data = dataclasses.replace(data, labels=np.where(np.arange(rows) % 5 == 0, 0, data.labels))
    config = make_config(head, class_weight=weight, penalty=3.0 if head in ("logreg", "ridge", "svm") else None)
    config = dataclasses.replace(config, neighbours=1 if head == "knn" else None)
    plain, several = (train(one, 3, config, "cpu", silent).head for one in (data, copied(data)))
    ours, theirs = plain.state_dict(), several.state_dict()
    for name in ours.keys() - {"known", "labels"}:
        scale = float(ours[name].abs().max()) or 1.0
        np.testing.assert_allclose(theirs[name] / scale, ours[name] / scale, atol=1e-4, err_msg=name)
    unseen = overlapping(50, 3, seed=2, dim=40).features
    np.testing.assert_allclose(scores(plain, unseen, "cpu"), scores(several, unseen, "cpu"), atol=2e-3)


def test_sample_weights_are_of_pictures() -> None:
    data = dataclasses.replace(overlapping(60, 3, 1), weights=np.random.default_rng(0).random(60) + 0.1)
    config = make_config("logreg", penalty=1.0)
    plain, several = (train(one, 3, config, "cpu", silent).head.state_dict() for one in (data, copied(data)))
    np.testing.assert_allclose(several["out.weight"], plain["out.weight"], atol=1e-4)


def test_a_picture_without_weight_has_no_view_in_it() -> None:
    data = noisy(overlapping(40, 2, 1))
    kept = np.arange(40) % 4 > 0
    weighted = dataclasses.replace(data, weights=kept.astype(float))
    config = make_config("logreg", penalty=1.0)
    found, expected = (train(one, 2, config, "cpu", silent) for one in (weighted, data.at(np.flatnonzero(kept))))
    np.testing.assert_allclose(found.head.state_dict()["out.weight"], expected.head.state_dict()["out.weight"], atol=1e-4)
    assert found.rows == 30


def test_nearest_neighbours_know_all_versions_and_take_no_weights() -> None:
    data = noisy(blobs(12))
    found = train(data, 3, make_config("knn"), "cpu", silent)
    assert (found.head.rows, found.rows) == (36, 12)
    assert found.head.state_dict()["known"].shape == (36, data.features.shape[1])
    weighted = dataclasses.replace(data, weights=np.ones(12))
    with pytest.raises(FeaturesInvalid, match="a knn head takes no sample weights"):
        train(weighted, 3, make_config("knn"), "cpu", silent)


def test_ridge_chooses_its_penalty_by_pictures_left_out_with_their_views() -> None:
    """Copies left in would let the weakest penalty win: each row would be known already."""
    data = overlapping(24, 2, seed=5, dim=60)
    plain, several = (Ridge(60, 2, make_config("ridge"), 24) for _ in range(2))
    plain.fit(on_device("cpu", data))
    several.fit(shared(on_device("cpu", copied(data))))
    np.testing.assert_allclose(several.out.weight.detach(), plain.out.weight.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rows", [20, 120, 600], ids=["few", "some", "folds at once"])
def test_auto_chooses_by_copies_what_it_chooses_without(rows: int) -> None:
    data = overlapping(rows, 2, seed=4, dim=8)
    auto = make_config("auto")
    (plain,), (several,) = (procedure.fit(one, 2, [auto], "cpu", silent) for one in (data, copied(data)))
    assert plain.selection is not None
    assert several.selection is not None
    assert several.selection.rows == plain.selection.rows == rows
    config = plain.selection.config
    found = {one.config: one.log_loss for one in several.selection.tried}
    assert config in found
    assert found[config] == pytest.approx(plain.selection.tried[plain.selection.chosen].log_loss, abs=2e-3)
    if several.selection.config == config and config.head != "knn":
        ours, theirs = plain.trained.head.state_dict(), several.trained.head.state_dict()
        np.testing.assert_allclose(theirs["out.weight"], ours["out.weight"], atol=1e-3)


@pytest.mark.parametrize("head", ["logreg", "ridge"])
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_all_divisions_at_once_end_with_views_where_each_does_alone(
    head: str, weight: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (Logreg, Ridge):
        monkeypatch.setattr(kind, "path_tolerance", 1e-6)
    data = noisy(overlapping(540, 3, seed=2, dim=12))
    sides = search.divisions(data, np.random.default_rng(0))
    config = make_config(head, penalty=10.0, standardise=False, class_weight=weight)
    together = divided.divided(data, sides, 3, "cpu")
    assert together.shared
    ((_, found),) = together.scores([config])
    alone = [next(side.scores([config]))[1] for side in divided.sides_of(data, sides, 3, "cpu")]
    expected = np.concatenate(alone)
    if head == "logreg":
        found, expected = (part - part.mean(axis=1, keepdims=True) for part in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


# ------------------------------------------------------------------------------------------------ heads with epochs


def seen(data: Labelled, seeds: list[int], monkeypatch: pytest.MonkeyPatch, epochs: int = 4) -> dict[int, list[np.ndarray]]:
    """By seed, which version of each picture each epoch took, as told by what was drawn."""
    drawn: dict[int, list[np.ndarray]] = {}
    real = optimise._versions

    def told(part: optimise.Part, rows: Rows) -> torch.Tensor:
        found = real(part, rows)
        drawn.setdefault(part.generator.initial_seed(), []).append(found.numpy().copy())
        return found

    monkeypatch.setattr(optimise, "_versions", told)
    configs = [make_config("mlp", epochs=epochs, seed=seed) for seed in seeds]
    train_many(data, 3, configs, "cpu", silent)
    return drawn


def test_each_epoch_draws_a_version_of_each_picture_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.stack(seen(noisy(blobs(600)), [3], monkeypatch)[3])
    assert found.shape == (4, 540)  # a tenth chooses the epoch
    assert not (found[0] == found[1]).all()
    shares = np.bincount(found.ravel(), minlength=3) / found.size
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)


def test_without_views_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(blobs(48), [3], monkeypatch) == {}


def test_a_gradient_head_learns_the_features_of_the_version_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every epoch draws the view, the head is that of the views alone."""
    data = noisy(blobs(48), views=1)
    assert data.views is not None
    config = make_config("linear", standardise=False, val_fraction=0.0)
    monkeypatch.setattr(optimise, "_versions", lambda part, _: torch.ones(len(part.train), dtype=torch.int64))
    by_views = train(data, 3, config, "cpu", silent).head
    alone = train(dataclasses.replace(data, features=data.views[0], views=None), 3, config, "cpu", silent).head
    assert same_head(by_views, alone)


@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_a_seed_names_a_head_alone_and_in_company(head: str) -> None:
    data = noisy(blobs(60))
    configs = [make_config(head, seed=seed) for seed in (0, 1, 2)]
    together = train_many(data, 3, configs, "cpu", silent)
    for config, found in zip(configs, together, strict=True):
        alone = train(data, 3, config, "cpu", silent)
        assert same_head(alone.head, found.head)
        assert alone.history == found.history
    assert not same_head(together[0].head, together[1].head)


def test_heads_stacked_in_one_group_draw_what_each_draws_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU stacks them."""
    data = noisy(blobs(60))
    configs = [make_config("mlp", seed=seed) for seed in (0, 1, 2)]
    alone = [train(data, 3, config, "cpu", silent).head for config in configs]
    monkeypatch.setitem(groups._AT_ONCE, "cpu", 3)
    for one, found in zip(alone, train_many(data, 3, configs, "cpu", silent), strict=True):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(found.head.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_an_epoch_is_chosen_by_pictures_as_they_are() -> None:
    """Views that say the opposite: a head is judged by the pictures alone."""
    data = blobs(300)
    wrong = dataclasses.replace(data, views=-data.features[None])
    config = make_config("linear", val_fraction=0.4, epochs=6)
    found = train(wrong, 3, config, "cpu", silent)
    held = carve(data.labels, config, "cpu").val.numpy()
    right = (predict(found.head, data.features[held], "cpu") == data.labels[held]).mean()
    assert found.history.best_epoch is not None
    assert (found.rows, found.val_rows) == (180, 120)
    assert right == pytest.approx(max(found.history.val_accuracies))
    assert right == pytest.approx(found.history.val_accuracies[found.history.best_epoch - 1])


@pytest.mark.parametrize("head", ["auto", "mlp", "knn"])
def test_a_view_that_shows_what_the_pictures_do_not_helps(head: str) -> None:
    training, testing = two_modes(200, 0)
    config = make_config(head, epochs=30, hidden=32)
    (plain,), (several,) = (
        procedure.fit(one, 2, [config], "cpu", silent) for one in (dataclasses.replace(training, views=None), training)
    )
    assert accuracy(plain, testing) < 0.85
    assert accuracy(several, testing) > max(0.85, accuracy(plain, testing) + 0.1)


# -------------------------------------------------------------------------------------------------- divisions


def marked(labels: np.ndarray, views: int) -> Labelled:
    """Rows whose first number is that of the picture, and whose second is that of the version."""
    rows = np.arange(len(labels))
    found = np.zeros((1 + views, len(labels), 3), dtype=np.float32)
    found[:, :, 0], found[:, :, 1] = rows, np.arange(1 + views)[:, None]
    return Labelled(found[0], labels.astype(np.int64), views=found[1:])


def pictures_of(data: Labelled) -> set[int]:
    """The pictures of which there is any version; all versions of each are there."""
    assert data.views is not None
    every = np.stack([data.features, *data.views])[:, :, 0]
    assert (every == every[0]).all()
    return set(every[0].astype(int).tolist())


@st.composite
def labelled(draw: st.DrawFn) -> np.ndarray:
    classes = draw(st.integers(2, 6))
    more = draw(st.lists(st.integers(0, classes - 1), min_size=4, max_size=30))
    return np.array([*range(classes), *range(classes), *more], dtype=np.int64)


@settings(deadline=None)
@given(labelled(), st.integers(1, 3), st.integers(0, 5))
def test_a_picture_and_its_views_are_on_one_side_of_every_division(labels: np.ndarray, views: int, seed: int) -> None:
    data = marked(labels, views)
    for learn, judge in search.divisions(data, np.random.default_rng(seed)):
        (side,) = divided.sides_of(data, [(learn, judge)], 6, "cpu")
        judged = set(side.unseen[:, 0].astype(int).tolist())
        assert not pictures_of(side.learn) & judged
        assert (side.unseen[:, 1] == 0).all()  # pictures as they are
    for repeat in plan(data, None, [np.random.default_rng(i) for i in range(MOST_REPEATS)]).repeats:
        for draw in repeat:
            assert not pictures_of(data.at(draw.first(0))) & set(draw.judge.tolist())


class Told:
    """A `Fit` that keeps what it was given to learn from; its head is that of few rows."""

    def __init__(self) -> None:
        self.learned: list[set[int]] = []

    def __call__(self, rows: Labelled) -> list[Fitted]:
        self.learned.append(pictures_of(rows))
        return procedure.fit(rows, 6, [make_config("prototype")], "cpu", silent, calibrated=False)


@settings(deadline=None, max_examples=20)
@given(labelled(), st.integers(1, 2))
def test_a_cross_validation_never_learns_from_a_view_of_what_it_judges(labels: np.ndarray, views: int) -> None:
    data, fit = marked(labels, views), Told()
    rows = len(labels)
    judged: list[int] = []
    cross_validate(data, fit, 1, "cpu", lambda done, _: judged.append(done), repeated=False)
    assert len(judged) == len(fit.learned) + 1
    for learned, before, after in zip(fit.learned, judged[:-1], judged[1:], strict=True):
        assert len(learned) == rows - (after - before)


def test_no_weight_of_a_judged_picture_is_left_where_divisions_are_solved_at_once() -> None:
    data = noisy(overlapping(540, 3, seed=2, dim=6))
    sides = search.divisions(data, np.random.default_rng(0))
    together = divided.divided(data, sides, 3, "cpu")
    rows, _ = together._once(make_config("logreg"))
    weights = together._problem(rows, make_config("logreg")).weights.reshape(len(sides), 3, 540)
    for own, (learn, judge) in zip(weights, sides, strict=True):
        assert (own[:, judge] == 0).all()
        np.testing.assert_allclose(own[:, learn].sum(dim=0), 1.0)


# ------------------------------------------------------------------------------------------------ odd data


def test_twenty_pictures_of_two_classes() -> None:
    (found,) = procedure.fit(noisy(blobs(20, classes=2)), 2, [make_config("auto")], "cpu", silent)
    assert found.selection is not None
    assert found.selection.rows == 20
    assert accuracy(found, blobs(100, 5, classes=2)) > 0.9


def test_a_class_with_one_picture_is_predicted_by_none_that_did_not_see_it() -> None:
    """Its views are no second picture: else a fold could know it."""
    data = blobs(31)
    labels = np.append(np.arange(30) % 2, 2).astype(np.int64)
    data = noisy(dataclasses.replace(data, labels=labels))
    (found,) = procedure.fit(data, 3, [make_config("logreg")], "cpu", silent)
    assert found.selection is not None
    assert found.selection.rows == 30
    outside = cross_validate(
        data, lambda rows: procedure.fit(rows, 3, [make_config("logreg", penalty=1.0)], "cpu", silent), 1, "cpu",
        lambda *_: None, repeated=False,
    )  # fmt: skip
    assert outside[0].outcomes.probabilities[30, 2] == 0.0


def test_150_sorted_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(150), 4).astype(np.int64)
    features = (rng.standard_normal((600, 40)) + 8 * rng.standard_normal((150, 40))[labels]).astype(np.float32)
    (found,) = procedure.fit(noisy(Labelled(features, labels), 1), 150, [make_config("auto")], "cpu", silent)
    assert accuracy(found, Labelled(features, labels)) > 0.95


# ------------------------------------------------------------------------------------------------ averages


def test_an_average_is_the_mean_of_the_probabilities_of_each_version() -> None:
    data = noisy(blobs(30))
    assert data.views is not None
    head = train(data, 3, make_config("linear"), "cpu", silent).head
    versions = [data.features, *data.views]
    found = averaged(head, versions, "cpu", 2.0)
    expected = np.mean([probabilities(head, one, "cpu", 2.0).astype(np.float64) for one in versions], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    right = int((expected.argmax(axis=1) == data.labels).sum())
    assert averaged_score(head, data, "cpu", 2.0) == Score(right, 30)
    assert averaged_score(head, blobs(30), "cpu", 2.0) is None


def test_views_that_are_copies_average_to_what_was_there() -> None:
    data = copied(blobs(30))
    assert data.views is not None
    head = train(data, 3, make_config("linear"), "cpu", silent).head
    found = averaged(head, [data.features, *data.views], "cpu", 1.0)
    np.testing.assert_allclose(found, probabilities(head, data.features, "cpu", 1.0), rtol=1e-6)


def test_a_cross_validation_averages_over_the_versions_of_unseen_pictures() -> None:
    data = copied(overlapping(60, 3, 1))
    (found,) = cross_validate(
        data, lambda rows: procedure.fit(rows, 3, [make_config("logreg", penalty=1.0)], "cpu", silent), 1, "cpu",
        lambda *_: None, repeated=False,
    )  # fmt: skip
    right = int((found.outcomes.predicted == data.labels).sum())
    assert found.averaged == Score(right, 60)
