"""The recipes and the heads: what the published protocol fixes, and what each head's scores are."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from heads_samples import DIM, blobs, make_config, silent, trained_head
from heads_samples import one_thread as one_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional

from headstart.core.heads.config import HEADS, RECIPES, BenchConfig, HeadName, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds import NAMES
from headstart.core.heads.kinds import kind as kind_of
from headstart.core.heads.kinds.base import Batch, ClosedFormHead, GradientHead, Head, Rows, laid
from headstart.core.heads.kinds.knn import Knn
from headstart.core.heads.kinds.mlp import Mlp
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.training.train import predict, probabilities, train

seeds = st.integers(0, 2**32 - 1)


def overlapping(rows: int, classes: int, seed: int, dim: int = DIM) -> Labelled:
    """Clouds so close that neighbouring rows often differ in their labels."""
    data = blobs(rows, seed, classes, dim)
    centres = 6 * np.eye(classes, dim, dtype=np.float32)[data.labels]
    return dataclasses.replace(data, features=data.features - 0.75 * centres)


def random_head(kind: str, classes: int, sigmoid: bool, scale: float, seed: int, dim: int = 4) -> Head:
    """An untrained head with parameters of the size `scale`."""
    generator = torch.Generator().manual_seed(seed)
    head = kind_of(kind)(dim, classes, make_config(sigmoid=sigmoid), 1)
    state = {name: scale * torch.randn(value.shape, generator=generator) for name, value in head.named_parameters()}
    head.load_state_dict({**head.state_dict(), **state})
    return head.eval().requires_grad_(False)


def test_the_study_recipe_is_the_published_protocol() -> None:
    assert RECIPES["study"] == TrainConfig(
        recipe="study",
        head="mlp",
        epochs=5,
        lr=1e-3,
        batch_size=64,
        hidden=128,
        dropout=0.2,
        weight_decay=0.0,
        val_fraction=0.0,
        cosine=False,
        standardise=False,
        sigmoid=True,
        train_limit=None,
        test_fraction=0.2,
    )


def test_the_standard_recipe_has_no_sigmoid_and_chooses_its_epoch_on_validation_rows() -> None:
    standard = RECIPES["standard"]
    assert not standard.sigmoid
    assert 0 < standard.val_fraction < 0.5
    assert standard.standardise


def test_each_recipe_carries_its_own_name() -> None:
    assert {name: recipe.recipe for name, recipe in RECIPES.items()} == {"study": "study", "standard": "standard"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_read_back_from_json_is_the_same(recipe: str) -> None:
    assert TrainConfig.from_json(RECIPES[recipe].to_json()) == RECIPES[recipe]


def test_an_unknown_field_of_a_recipe_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="momentum"):
        TrainConfig.from_json({**RECIPES["study"].to_json(), "momentum": 0.9})


def test_inference_is_warmed_up_before_it_is_timed() -> None:
    assert BenchConfig().warmup >= 1


def test_every_head_that_is_offered_exists() -> None:
    assert NAMES[0] == TrainConfig.head
    assert ("auto", *NAMES) == HEADS
    for name in NAMES:
        assert issubclass(kind_of(name), Head)
        assert trained_head(name).kind == name


@pytest.mark.parametrize("name", ["base", "svd", "../knn"])
def test_what_is_no_head_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^'{name}' is no head; expected mlp, "):
        kind_of(name)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", NAMES)
def test_every_head_separates_three_blobs(kind: HeadName, recipe: str) -> None:
    head = trained_head(kind, blobs(300), recipe=recipe, epochs=12)
    test = blobs(300, seed=1)
    found = evaluate(predict(head, test.features, "cpu"), test.labels, ("a", "b", "c"))
    assert found.overall.accuracy > 0.95


@pytest.mark.parametrize("kind", NAMES)
def test_one_row_scores_as_it_does_among_others(kind: HeadName) -> None:
    head, features = trained_head(kind), torch.from_numpy(blobs(20, seed=1).features)
    torch.testing.assert_close(head(features[7:8]), head(features)[7:8])


@pytest.mark.parametrize("kind", NAMES)
def test_what_a_head_learned_is_in_its_state_alone(kind: HeadName) -> None:
    head = trained_head(kind)
    other = kind_of(kind)(head.dim, head.classes, head.config, head.rows).eval()
    other.load_state_dict(head.state_dict())
    features = torch.from_numpy(blobs(20, seed=1).features)
    assert torch.equal(head(features), other(features))


def test_the_mlp_is_a_linear_a_relu_and_a_linear_layer() -> None:
    head, features = trained_head("mlp"), blobs(20, seed=1).features
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
    hidden = (features - weights["mean"]) / weights["std"] @ weights["hidden.weight"].T + weights["hidden.bias"]
    expected = np.maximum(hidden, 0) @ weights["out.weight"].T + weights["out.bias"]
    np.testing.assert_allclose(head(torch.from_numpy(features)).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_dropout_acts_in_training_only() -> None:
    head = random_head("mlp", classes=3, sigmoid=False, scale=1.0, seed=0)
    head.config = make_config(dropout=0.5)
    features = torch.ones(1, 4)
    assert torch.equal(head.train()(features), head.eval()(features))
    one, other = (trained_head("mlp", dropout=rate).state_dict() for rate in (0.0, 0.5))
    assert not torch.equal(one["hidden.weight"], other["hidden.weight"])


@given(sigmoid=st.booleans(), seed=seeds)
@settings(max_examples=30)
def test_dropout_multiplies_the_hidden_units_of_each_stacked_head(sigmoid: bool, seed: int) -> None:
    heads = [random_head("mlp", 3, sigmoid, 1.0, seed + k) for k in range(2)]
    names = [name for name, _ in heads[0].named_parameters()]
    stack = {name: torch.stack([laid(head.get_parameter(name)) for head in heads]) for name in names}
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 5, 4, generator=generator)
    keep = 2.0 * (torch.rand(2, 5, 8, generator=generator) < 0.5)
    assert isinstance(heads[0], Mlp)
    found = heads[0].scores(stack, features, keep).double().numpy()
    for k, head in enumerate(heads):
        weights = {name: value.double().numpy() for name, value in head.named_parameters()}
        hidden = np.maximum(features[k].double().numpy() @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
        scores = (hidden * keep[k].numpy()) @ weights["out.weight"].T + weights["out.bias"]
        np.testing.assert_allclose(found[k], 1 / (1 + np.exp(-scores)) if sigmoid else scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["mlp", "linear"])
@given(classes=st.integers(2, 12), scale=st.floats(1e-3, 1e3), seed=seeds)
@settings(max_examples=30)
def test_the_studys_sigmoid_squashes_the_scores_and_nothing_else(
    kind: HeadName, classes: int, scale: float, seed: int
) -> None:
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    plain = random_head(kind, classes, sigmoid=False, scale=scale, seed=seed)
    squashed = random_head(kind, classes, sigmoid=True, scale=scale, seed=seed)
    assert torch.equal(squashed(features), plain(features).sigmoid())


@given(scale=st.floats(1e-3, 1e6), seed=seeds)
@settings(max_examples=50)
def test_the_study_loss_never_falls_below_its_floor(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = random_head("mlp", 10, sigmoid=True, scale=scale, seed=seed)(torch.randn(20, 4, generator=generator))
    labels = scores.argmax(dim=1)  # the labels that the head is most sure of: no others have a lower loss
    assert functional.cross_entropy(scores, labels) >= math.log(1 + 9 / math.e) - 1e-6


def test_the_study_loss_comes_close_to_its_floor_and_stays_above() -> None:
    data = blobs(100, classes=10, dim=12)
    losses = train(data, 10, make_config(recipe="study", epochs=40, dropout=0.0, lr=3e-2), "cpu", silent).history.losses
    floor = math.log(1 + 9 / math.e)
    assert floor - 1e-6 <= min(losses) < floor + 0.1


@given(classes=st.integers(2, 20), scale=st.floats(1e-3, 1e6), seed=seeds)
@settings(max_examples=50)
def test_no_probability_of_the_study_recipe_exceeds_what_a_sigmoid_allows(classes: int, scale: float, seed: int) -> None:
    features = np.random.default_rng(seed).standard_normal((5, 4)).astype(np.float32)
    found = probabilities(random_head("mlp", classes, sigmoid=True, scale=scale, seed=seed), features, "cpu")
    assert found.max() <= math.e / (math.e + classes - 1) + 1e-6


@pytest.mark.parametrize("dim", [DIM, 60])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_ridge_predicts_what_scikit_learns_does(classes: int, dim: int, seed: int) -> None:
    data, test = overlapping(90, classes, seed, dim), overlapping(200, classes, seed + 100, dim)
    theirs = RidgeClassifierCV(alphas=10.0 ** np.arange(-3, 10)).fit(data.features.astype(np.float64), data.labels)
    head = train(data, classes, make_config("ridge", standardise=False), "cpu", silent).head
    expected = theirs.predict(test.features.astype(np.float64))
    assert 0.5 < (expected == test.labels).mean() < 0.99  # else the comparison would say little
    np.testing.assert_array_equal(predict(head, test.features, "cpu"), expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_knn_votes_as_scikit_learns_does(seed: int) -> None:
    data, test = overlapping(90, 3, seed), overlapping(50, 3, seed + 100)
    theirs = KNeighborsClassifier(
        Knn.neighbours, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / Knn.temperature)
    ).fit(data.features, data.labels)
    head = train(data, 3, make_config("knn", standardise=False), "cpu", silent).head
    expected = theirs.predict_proba(test.features)
    np.testing.assert_allclose(probabilities(head, test.features, "cpu"), expected, atol=1e-4)


def test_knn_votes_as_counting_by_hand_does() -> None:
    data, test = overlapping(40, 3, 0), overlapping(20, 3, 100)
    head = train(data, 3, make_config("knn", standardise=False), "cpu", silent).head
    known = data.features / np.linalg.norm(data.features, axis=1, keepdims=True)
    for row, found in zip(test.features, probabilities(head, test.features, "cpu"), strict=True):
        similarity = known @ (row / np.linalg.norm(row))
        votes = np.zeros(3)
        for nearest in sorted(range(40), key=lambda i: -similarity[i])[:20]:
            votes[data.labels[nearest]] += math.exp(similarity[nearest] / 0.07)
        np.testing.assert_allclose(found, votes / votes.sum(), atol=1e-4)


def test_knn_makes_do_with_fewer_rows_than_neighbours() -> None:
    data = blobs(6)
    head = train(data, 3, make_config("knn"), "cpu", silent).head
    np.testing.assert_array_equal(predict(head, data.features, "cpu"), data.labels)


def test_a_class_without_votes_has_a_finite_score() -> None:
    head, features = trained_head("knn", blobs(90)), torch.from_numpy(blobs(9, seed=1).features)
    assert (head(features).softmax(dim=1) < 1e-12).any()
    assert torch.isfinite(head(features)).all()


@pytest.mark.parametrize("count", [1, 5, 50])
def test_knn_of_any_number_of_neighbours_votes_as_scikit_learns_does(count: int) -> None:
    data, test = overlapping(90, 3, 0), overlapping(50, 3, 100)
    theirs = KNeighborsClassifier(
        count, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / Knn.temperature)
    ).fit(data.features, data.labels)
    head = train(data, 3, make_config("knn", standardise=False, neighbours=count), "cpu", silent).head
    expected = theirs.predict_proba(test.features)
    np.testing.assert_allclose(probabilities(head, test.features, "cpu"), expected, atol=1e-4)


def test_knn_heads_of_several_counts_share_one_search_and_score_as_each_alone() -> None:
    data, test = overlapping(90, 3, 0), torch.from_numpy(overlapping(50, 3, 100).features)
    rows = Rows(torch.from_numpy(data.features), torch.from_numpy(data.labels))
    heads = [Knn(data.features.shape[1], 3, config, 90) for config in Knn.grid(make_config("knn"), 90)]
    found = dict(Knn.scored(heads, rows, test))
    assert len({head.known.data_ptr() for head in heads}) == 1
    for i, head in enumerate(heads):
        assert torch.equal(found[i], head.score(test))


def test_knn_tries_no_more_neighbours_than_rows() -> None:
    assert [config.neighbours for config in Knn.grid(make_config("knn"), 12)] == [10, 5, 1]
    assert [config.neighbours for config in Knn.grid(make_config("knn", neighbours=3), 12)] == [3]


@pytest.mark.parametrize("kind", ["mlp", "linear"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_of_smoothed_labels_is_autograds(kind: HeadName, weighted: bool) -> None:
    config = make_config(kind, label_smoothing=0.2, dropout=0.0)
    head = kind_of(kind)(DIM, 3, config, 8, torch.Generator().manual_seed(0))
    assert isinstance(head, GradientHead)
    data = blobs(8)
    features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
    weights = torch.linspace(0.5, 1.5, 8) if weighted else None
    stack = {name: laid(value.detach())[None].clone() for name, value in head.named_parameters()}
    gradients = {name: torch.zeros_like(value) for name, value in stack.items()}
    batch = Batch(features[None], labels[None], None if weights is None else weights[None])
    loss = head.learn(stack, batch, gradients)
    leaves = {name: value.clone().requires_grad_() for name, value in stack.items()}
    scores = head.scores(leaves, features[None], None)[0]
    each = torch.nn.functional.cross_entropy(scores, labels, reduction="none", label_smoothing=0.2)
    expected = (each if weights is None else each * weights).mean()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, leaf in leaves.items():
        assert torch.allclose(gradients[name], leaf.grad, atol=1e-6)


def test_knn_gives_a_row_without_direction_finite_scores() -> None:
    head = train(blobs(30), 3, make_config("knn", standardise=False), "cpu", silent).head
    assert torch.isfinite(head(torch.zeros(1, head.dim))).all()


@pytest.mark.parametrize("kind", ["ridge", "knn"])
def test_heads_without_epochs_report_none(kind: HeadName) -> None:
    seen: list[int] = []
    found = train(blobs(30), 3, make_config(kind), "cpu", lambda epoch: seen.append(epoch.number))
    assert (found.history.losses, found.history.val_accuracies, found.history.best_epoch) == ((), (), None)
    assert seen == []


@pytest.mark.parametrize(
    ("base", "lacks"),
    [(Head, "'?score'?"), (ClosedFormHead, "'?fit'?, '?score'?"), (GradientHead, "'?learn'?, '?scores'?, '?shapes'?")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_head_that_lacks_its_methods_cannot_be_made(base: type[Head], lacks: str) -> None:
    with pytest.raises(TypeError, match=rf"abstract methods? {lacks}$"):
        base(4, 3, make_config(), 1)


# ---- the gradients


@pytest.mark.parametrize("weighted", [False, True], ids=["rows alike", "weighted rows"])
@pytest.mark.parametrize("kept", [False, True], ids=["all units", "some left out"])
@pytest.mark.parametrize("sigmoid", [False, True], ids=["scores", "sigmoid"])
@pytest.mark.parametrize("kind", ["mlp", "linear"])
@given(heads=st.integers(1, 3), rows=st.integers(1, 9), classes=st.integers(2, 5), seed=seeds)
@settings(max_examples=15)
def test_the_gradients_written_out_are_autograds(
    kind: str, sigmoid: bool, kept: bool, weighted: bool, heads: int, rows: int, classes: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    head = kind_of(kind)(4, classes, make_config(sigmoid=sigmoid), 1)
    assert isinstance(head, GradientHead)
    stack = {
        name: torch.randn((heads, *laid(value).shape), generator=draw, requires_grad=True)
        for name, value in head.named_parameters()
    }
    features, labels = torch.randn((heads, rows, 4), generator=draw), torch.randint(classes, (heads, rows), generator=draw)
    keep = 2.0 * (torch.rand((heads, rows, head.dropped), generator=draw) < 0.5) if kept and head.dropped else None
    weights = torch.rand((heads, rows), generator=draw) if weighted else None
    each = functional.cross_entropy(
        head.scores(stack, features, keep).flatten(0, 1), labels.flatten(), reduction="none"
    ).view(labels.shape)  # fmt: skip
    losses = (each if weights is None else each * weights).mean(dim=1)
    expected = torch.autograd.grad(losses.sum(), list(stack.values()))

    gradients = {name: torch.full_like(value, math.nan) for name, value in stack.items()}  # what is there means nothing
    with torch.no_grad():
        found = head.learn(stack, Batch(features, labels, weights, keep), gradients)
    torch.testing.assert_close(found, losses.detach())
    for name, value in zip(stack, expected, strict=True):
        torch.testing.assert_close(gradients[name], value, msg=name)


def test_the_initial_weights_are_those_of_pytorchs_layers() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        layers = torch.nn.Linear(2048, 128), torch.nn.Linear(128, 10)
    before = torch.get_rng_state()
    head = Mlp(2048, 10, RECIPES["study"], 0, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), before)
    for ours, theirs in zip((head.hidden, head.out), layers, strict=True):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)
