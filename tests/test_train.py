"""One head trained: what its seed decides, which rows it sees, what it makes of numbers it can't learn from."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from heads_samples import DIM, axis_head, blobs, make_config, same_head, silent, trained_head
from heads_samples import one_thread as one_thread
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import RECIPES, HeadName, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds import NAMES
from headstart.core.heads.training.train import Trained, carve, predict, probabilities, train, train_many


def fit(data: Labelled, config: TrainConfig) -> Trained:
    return train(data, 3, config, "cpu", silent)


def changed(data: Labelled, rows: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> Labelled:
    """The same data with other features in some rows."""
    features = data.features.copy()
    features[rows] = change(features[rows])
    return dataclasses.replace(data, features=features)


def validation_rows(rows: int, config: TrainConfig) -> np.ndarray:
    return carve(blobs(rows).labels, config, "cpu").val.numpy()


def test_the_study_recipe_gives_what_a_plain_script_with_its_seed_gives() -> None:
    data = blobs(100)
    config = dataclasses.replace(RECIPES["study"], dropout=0.0, seed=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(DIM, 128), nn.ReLU(), nn.Dropout(0.0), nn.Linear(128, 3), nn.Sigmoid())
    optimiser, order = torch.optim.Adam(model.parameters(), lr=1e-3), torch.Generator().manual_seed(3)
    for _ in range(5):
        for batch in torch.randperm(100, generator=order).split(64):
            optimiser.zero_grad()
            scores = model(torch.from_numpy(data.features)[batch])
            nn.functional.cross_entropy(scores, torch.from_numpy(data.labels)[batch]).backward()
            optimiser.step()

    head = fit(data, config).head

    features = torch.from_numpy(blobs(50, seed=1).features)
    torch.testing.assert_close(head(features), model.eval()(features).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", NAMES)
def test_the_same_seed_gives_the_same_head_to_the_bit(kind: HeadName, recipe: str) -> None:
    one, other = (fit(blobs(48), make_config(kind, recipe, seed=5)) for _ in range(2))
    assert same_head(one.head, other.head)
    assert one.history == other.history


@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_another_seed_gives_another_head(kind: HeadName) -> None:
    assert not same_head(*(trained_head(kind, seed=seed) for seed in (5, 6)))


@pytest.mark.parametrize("kind", NAMES)
def test_the_callers_random_numbers_go_on_as_if_nothing_was_trained(kind: HeadName) -> None:
    states: list[tuple[Tensor, str]] = []
    for _ in range(2):
        states.append((torch.get_rng_state(), repr(np.random.get_state())))
        trained_head(kind)
    assert torch.equal(states[0][0], states[1][0])
    assert states[0][1] == states[1][1]


def test_what_others_drew_before_does_not_change_the_head() -> None:
    one = trained_head("mlp")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        torch.rand(7)
        other = trained_head("mlp")
    assert same_head(one, other)


def test_a_trained_head_is_ready_for_use() -> None:
    head = trained_head("mlp")
    assert not head.training
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_training_leaves_the_callers_features_as_they_were() -> None:
    data = blobs(48)
    before = data.features.copy()
    fit(data, make_config())
    np.testing.assert_array_equal(data.features, before)


# ------------------------------------------------------------------------------------------------- validation rows


@given(
    labels=st.lists(st.integers(0, 5), min_size=2, max_size=200),
    fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["mlp", "linear"]),
)
@settings(max_examples=60)
def test_every_row_is_learned_from_or_validated_on_never_both(
    labels: list[int], fraction: float, seed: int, kind: HeadName
) -> None:
    assume(len(labels) > len(set(labels)) and round(len(labels) * fraction) < len(labels))
    part = carve(np.array(labels), make_config(kind, val_fraction=fraction, seed=seed), "cpu")
    assert sorted(part.train.tolist() + part.val.tolist()) == list(range(len(labels)))
    assert len(part.val) == min(max(1, round(len(labels) * fraction)), len(labels) - len(set(labels)))
    assert {labels[row] for row in part.train.tolist()} == set(labels)
    assert part.generator.initial_seed() == seed


def test_rows_that_are_each_the_only_one_of_their_class_leave_none_to_validate_on() -> None:
    with pytest.raises(FeaturesInvalid, match=r"^3 training rows, one of each class, leave none .* use --val-fraction 0$"):
        fit(blobs(3), make_config(val_fraction=0.1))


def test_rows_keep_their_labels() -> None:
    # a row's label is that of its own feature: with shuffled pairs nothing could be learned from such codes
    labels = np.random.default_rng(0).integers(0, 3, 300)
    codes = Labelled(np.eye(3, DIM, dtype=np.float32)[labels], labels)
    for head in [fit(codes, make_config(kind, epochs=12)).head for kind in NAMES]:
        np.testing.assert_array_equal(predict(head, codes.features, "cpu"), labels)


def test_of_the_rows_given_the_record_counts_those_learned_from_and_validated_on() -> None:
    found = fit(blobs(48), make_config(val_fraction=0.25))
    assert (found.rows, found.val_rows, found.together) == (36, 12, 1)


def test_the_seed_draws_the_validation_rows() -> None:
    one, again, other = (validation_rows(100, make_config(val_fraction=0.2, seed=seed)) for seed in (1, 1, 2))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


def test_validation_rows_are_drawn_from_everywhere() -> None:
    # a data set is often sorted by class: its last tenth would be a single one
    rows = validation_rows(1000, make_config(val_fraction=0.1))
    assert rows.min() < 100
    assert rows.max() >= 900


@pytest.mark.parametrize("kind", ["ridge", "knn"])
def test_heads_without_epochs_learn_from_every_row(kind: HeadName) -> None:
    found = fit(blobs(48), make_config(kind, val_fraction=0.5))
    assert (found.rows, found.val_rows) == (48, 0)


def test_the_study_recipe_learns_from_every_row() -> None:
    found = fit(blobs(48), make_config(recipe="study"))
    assert (found.rows, found.val_rows, found.history.val_accuracies) == (48, 0, ())


@dataclasses.dataclass(frozen=True)
class TooFew:
    rows: int
    fraction: float

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.fraction}"


@pytest.mark.parametrize("case", [TooFew(1, 0.1), TooFew(1, 0.9), TooFew(10, 0.99)], ids=str)
def test_too_few_rows_to_validate_on_is_an_error_that_names_the_option(case: TooFew) -> None:
    with pytest.raises(FeaturesInvalid, match=rf"^{case.rows} training rows .* use --val-fraction 0"):
        fit(blobs(case.rows), make_config(val_fraction=case.fraction))


def test_the_validation_rows_do_not_teach() -> None:
    config = make_config(epochs=1, val_fraction=0.25, standardise=False)
    data = blobs(48)
    spoilt = changed(data, validation_rows(48, config), lambda features: -100 * features)
    assert same_head(fit(data, config).head, fit(spoilt, config).head)


def test_of_heads_trained_together_each_has_validation_rows_of_its_own_that_do_not_teach_it() -> None:
    configs = [make_config(epochs=1, val_fraction=0.25, standardise=False, seed=seed) for seed in range(3)]
    data = blobs(48)
    before = train_many(data, 3, configs, "cpu", silent)
    for k, config in enumerate(configs):
        spoilt = changed(data, validation_rows(48, config), lambda features: -100 * features)
        after = train_many(spoilt, 3, configs, "cpu", silent)
        assert [same_head(one.head, other.head) for one, other in zip(before, after, strict=True)] == [
            i == k for i in range(3)
        ]


# ------------------------------------------------------------------------------------------------- standardisation


@pytest.mark.parametrize("dim", [DIM, 256, 600])
@pytest.mark.parametrize("kind", NAMES)
def test_the_standardisation_knows_all_rows_given_those_for_validation_among_them(kind: HeadName, dim: int) -> None:
    config, data = make_config(kind, val_fraction=0.25, epochs=1), blobs(48, dim=dim)
    wider = changed(data, validation_rows(48, make_config(val_fraction=0.25)), lambda features: 3 * features + 10)
    for given_ in (data, wider):
        head, features = fit(given_, config).head, given_.features.astype(np.float64)
        np.testing.assert_allclose(head.mean, features.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(head.std, features.std(axis=0), rtol=1e-5)


def test_heads_trained_together_carry_the_same_standardisation_in_memory_of_their_own() -> None:
    one, *others = (
        found.head for found in train_many(blobs(48), 3, [make_config(seed=s) for s in range(3)], "cpu", silent)
    )
    for other in others:
        assert torch.equal(one.mean, other.mean)
        assert torch.equal(one.std, other.std)
        assert one.mean.data_ptr() != other.mean.data_ptr()
        assert all(
            ours.data_ptr() != theirs.data_ptr() for ours, theirs in zip(one.parameters(), other.parameters(), strict=True)
        )


@given(
    scale=st.floats(1e-4, 1e4),
    offset=st.floats(-100, 100),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30)
def test_standardised_training_features_have_mean_0_and_deviation_1(scale: float, offset: float, seed: int) -> None:
    drawn = np.random.default_rng(seed).standard_normal((40, DIM))
    data = Labelled((scale * (drawn + offset)).astype(np.float32), blobs(40).labels)
    head = fit(data, make_config("knn")).head  # standardises as the others do, and is the quickest
    standardised = (torch.from_numpy(data.features) - head.mean) / head.std
    np.testing.assert_allclose(standardised.mean(dim=0), np.zeros(DIM), atol=1e-3)
    np.testing.assert_allclose(standardised.std(dim=0, correction=0), np.ones(DIM), rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e-20, 1e20])
@pytest.mark.parametrize("kind", NAMES)
def test_a_feature_that_never_varies_becomes_0_and_does_no_harm(kind: HeadName, value: float) -> None:
    data = blobs(60)
    constant = dataclasses.replace(data, features=data.features.copy())
    constant.features[:, 4] = value
    head = fit(constant, make_config(kind, epochs=25)).head
    standardised = (torch.from_numpy(constant.features) - head.mean) / head.std
    assert (standardised[:, 4] == 0).all()
    found = probabilities(head, constant.features, "cpu")
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) == constant.labels).mean() > 0.9


def test_a_feature_that_varies_by_rounding_alone_is_not_blown_up() -> None:
    data = blobs(48)
    rounded = dataclasses.replace(data, features=data.features.copy())
    rounded.features[:, 4] = np.nextafter(np.float32(1000), np.float32(1000 + np.arange(48) % 2))
    assert len(np.unique(rounded.features[:, 4])) == 2
    head = fit(rounded, make_config("knn")).head
    assert ((torch.from_numpy(rounded.features) - head.mean) / head.std)[:, 4].abs().max() < 1e-3


def test_without_standardisation_mean_and_deviation_are_0_and_1() -> None:
    head = trained_head("mlp", recipe="study")
    assert (head.mean == 0).all()
    assert (head.std == 1).all()


@pytest.mark.parametrize("kind", NAMES)
def test_standardised_heads_do_not_mind_the_features_scale(kind: HeadName) -> None:
    data, test = blobs(48), blobs(30, seed=1)
    scaled = [dataclasses.replace(part, features=1024 * part.features) for part in (data, test)]  # exact in floats
    config = make_config(kind)
    one = probabilities(fit(data, config).head, test.features, "cpu")
    other = probabilities(fit(scaled[0], config).head, scaled[1].features, "cpu")
    np.testing.assert_allclose(one, other, atol=1e-4)


# ------------------------------------------------------------------------------------ classes without a training row


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", NAMES)
def test_a_class_without_a_training_row_is_never_predicted(kind: HeadName, recipe: str) -> None:
    trained = train(blobs(60, classes=2), 4, make_config(kind, recipe, epochs=1, lr=1e-9), "cpu", silent)
    features = np.random.default_rng(0).standard_normal((500, DIM)).astype(np.float32)
    found = probabilities(trained.head, features, "cpu")
    assert trained.head.absent == (2, 3)
    assert (found[:, 2:] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), np.ones(500), rtol=1e-5)
    assert set(predict(trained.head, features, "cpu")) <= {0, 1}


def test_an_untrained_class_wins_no_validation_and_no_watched_row() -> None:
    # a head that has learned nothing gives its favourite to nearly every row, and that may be a class it never saw
    config = make_config(epochs=1, lr=1e-9, val_fraction=0.25, standardise=False)
    for seed in range(10):
        trained = train_many(blobs(60, classes=2), 12, [dataclasses.replace(config, seed=seed)], "cpu", silent, blobs(60))
        head, (accuracy,) = trained[0].head, trained[0].history.watched
        assert accuracy == pytest.approx((predict(head, blobs(60).features, "cpu") == blobs(60).labels).mean())


# --------------------------------------------------------------------------------------------- labels, probabilities


@pytest.mark.parametrize("kind", NAMES)
def test_probabilities_are_the_softmax_of_the_scores(kind: HeadName) -> None:
    head, features = trained_head(kind), blobs(20, seed=1).features
    scores = head(torch.from_numpy(features)).double().numpy()
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found = probabilities(head, features, "cpu")
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), np.ones(20), rtol=1e-5)
    assert (found.dtype, found.shape) == (np.float32, (20, 3))


def test_a_label_is_the_most_probable_class() -> None:
    head, features = trained_head("mlp"), blobs(20, seed=1).features
    found = predict(head, features, "cpu")
    np.testing.assert_array_equal(found, probabilities(head, features, "cpu").argmax(axis=1))
    assert found.dtype == np.int64


def test_many_rows_come_back_in_their_order() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 20_000)
    features = np.eye(3, DIM, dtype=np.float32)[labels]
    np.testing.assert_array_equal(predict(axis_head(), features, "cpu"), labels)


def test_rows_in_any_memory_layout_are_labelled_alike() -> None:
    head, features = trained_head("mlp"), blobs(20, seed=1).features
    backwards = np.asfortranarray(features)[::-1]
    expected = probabilities(head, features, "cpu")
    np.testing.assert_allclose(probabilities(head, backwards, "cpu")[::-1], expected, atol=1e-6)


# -------------------------------------------------------------------------------------------------------- divergence


def test_a_learning_rate_that_is_too_high_is_named_as_the_cause() -> None:
    with pytest.raises(FeaturesInvalid, match=r"^the loss is not finite in epoch \d \(seed 0\); try a --lr below 1e\+30"):
        fit(blobs(48), make_config(lr=1e30))


def test_features_too_large_to_learn_from_are_an_error_about_the_loss() -> None:
    signs = np.sign(np.random.default_rng(0).standard_normal((48, 64)))
    huge = Labelled((3e38 * signs).astype(np.float32), blobs(48).labels)  # finite, but no sum of them is
    with pytest.raises(FeaturesInvalid, match=r"^the loss is not finite in epoch 1 \(seed 0\); try a --lr below"):
        fit(huge, make_config(recipe="study"))


def test_a_label_is_the_highest_score_even_where_float32_makes_probabilities_equal() -> None:
    head = axis_head()
    features = np.zeros((1, 6), dtype=np.float32)
    features[0, :3] = (0.0, 200.0, 200.00002)  # both have the probability 0.5 in float32
    assert predict(head, features, "cpu").tolist() == [2]


# --------------------------------------------------------------------------------------------------- sample weights


WEIGHTED: tuple[HeadName, ...] = ("mlp", "linear", "ridge")


def weighted(data: Labelled, seed: int = 0, most: int = 4) -> Labelled:
    """The data with weights of 0 to `most` - 1."""
    counts = np.random.default_rng(seed).integers(0, most, len(data.labels))
    return dataclasses.replace(data, weights=counts.astype(np.float64))


def repeated(data: Labelled) -> Labelled:
    """Each row as often as its weight says."""
    assert data.weights is not None
    counts = data.weights.astype(int)
    return Labelled(data.features.repeat(counts, axis=0), data.labels.repeat(counts))


@pytest.mark.parametrize("sigmoid", [False, True], ids=["scores", "sigmoid"])
@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_weights_that_are_whole_numbers_count_rows_that_often(kind: HeadName, sigmoid: bool) -> None:
    # one batch holds all rows, so that neither their order nor their number matters
    data = weighted(blobs(90))
    config = make_config(kind, epochs=5, batch_size=10**6, val_fraction=0.0, dropout=0.0, sigmoid=sigmoid)
    one, other = fit(data, config), fit(repeated(data), config)
    assert one.history.losses == pytest.approx(other.history.losses, rel=1e-4)
    for name, value in one.head.state_dict().items():
        torch.testing.assert_close(value, other.head.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)
    assert (one.rows, other.rows) == ((data.weights > 0).sum(), data.weights.sum())  # type: ignore[union-attr,operator]


@pytest.mark.parametrize("kind", WEIGHTED)
def test_a_row_of_weight_0_is_as_if_it_were_not_there(kind: HeadName) -> None:
    data = weighted(blobs(90), most=2)
    assert data.weights is not None
    there = data.weights > 0
    left = Labelled(data.features[there], data.labels[there], weights=data.weights[there])
    assert same_head(fit(data, make_config(kind)).head, fit(left, make_config(kind)).head)


@pytest.mark.parametrize("kind", WEIGHTED)
def test_a_class_whose_rows_all_weigh_0_is_never_predicted(kind: HeadName) -> None:
    data = blobs(90)
    found = fit(dataclasses.replace(data, weights=(data.labels != 1).astype(np.float64)), make_config(kind))
    assert found.head.absent == (1,)


@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_batches_of_weighted_rows_step_by_the_weighted_mean_of_all(kind: HeadName) -> None:
    # each batch is divided by the mean weight of all rows, not by that of its own: a step of 1e-30 leaves the loss to see
    data = dataclasses.replace(blobs(90), weights=np.random.default_rng(0).uniform(0.1, 3, 90))
    still = make_config(kind, epochs=1, lr=1e-30, val_fraction=0.0, dropout=0.0, weight_decay=0.0)
    losses = [fit(data, dataclasses.replace(still, batch_size=size)).history.losses[0] for size in (16, 7, 90)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    scaled = dataclasses.replace(data, weights=1e-60 * data.weights)  # type: ignore[operator]
    assert fit(scaled, still).history.losses[0] == pytest.approx(losses[0], rel=1e-5)


def test_the_best_epoch_and_watched_rows_go_by_weight() -> None:
    data, test = blobs(60), blobs(30, seed=1)
    config = make_config(epochs=1, lr=1e-9, standardise=False, val_fraction=0.5)
    heavy = np.where(test.labels == 0, 1000.0, 1.0)
    (found,) = train_many(data, 3, [config], "cpu", silent, dataclasses.replace(test, weights=heavy))
    right = predict(found.head, test.features, "cpu") == test.labels
    assert found.history.watched == pytest.approx([np.average(right, weights=heavy)])
    own = dataclasses.replace(data, weights=np.where(data.labels == 0, 1000.0, 1.0))
    (found,) = train_many(own, 3, [config], "cpu", silent)
    val = validation_rows(60, config)
    right = predict(found.head, data.features[val], "cpu") == data.labels[val]
    assert own.weights is not None
    assert found.history.val_accuracies == pytest.approx([np.average(right, weights=own.weights[val])])


@pytest.mark.parametrize("kind", WEIGHTED)
def test_a_class_of_heavy_rows_wins_where_classes_overlap(kind: HeadName) -> None:
    rng = np.random.default_rng(0)
    data = Labelled(rng.standard_normal((200, DIM), dtype=np.float32), np.arange(200) % 2)
    shares = []
    for weight in (0.1, 10.0):
        own = dataclasses.replace(data, weights=np.where(data.labels == 0, weight, 1.0))
        shares.append((predict(fit(own, make_config(kind, epochs=20)).head, data.features, "cpu") == 0).mean())
    assert shares[0] < 0.2
    assert shares[1] > 0.8


def test_standardisation_is_by_weight() -> None:
    data = weighted(blobs(90))
    head, rows = fit(data, make_config("ridge")).head, repeated(data).features.astype(np.float64)
    np.testing.assert_allclose(head.mean, rows.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(head.std, rows.std(axis=0), rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class Weights:
    name: str
    values: list[float] | list[list[float]]
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Weights("too few", [1.0, 1.0], r"^sample weights of shape \(2,\), expected \(3,\): one for each row$"),
        Weights("a matrix", [[1.0], [1.0], [1.0]], r"^sample weights of shape \(3, 1\), expected \(3,\)"),
        Weights(
            "negative", [1.0, -2.0, 1.0], r"^the sample weight of row 1 is -2\.0, expected a finite number, 0 or more$"
        ),
        Weights("not finite", [1.0, 1.0, float("nan")], r"^the sample weight of row 2 is nan, expected a finite number"),
        Weights("none", [0.0, 0.0, 0.0], r"^all sample weights are 0: there is no row to learn from$"),
    ],
    ids=lambda case: case.name,
)
def test_weights_that_are_none_are_refused(case: Weights) -> None:
    with pytest.raises(FeaturesInvalid, match=case.message):
        fit(dataclasses.replace(blobs(3), weights=np.array(case.values)), make_config("ridge"))


def test_knn_takes_no_weights() -> None:
    with pytest.raises(FeaturesInvalid, match=r"^a knn head takes no sample weights; leave them out, or train "):
        fit(weighted(blobs(90)), make_config("knn"))
