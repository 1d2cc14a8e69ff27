"""What holds for every head, and the sigmoid, the losses and the gradients of those that are trained by descent."""

import math

import numpy as np
import pytest
import torch
from heads_samples import DIM, blobs, make_config, random_head, silent, trained_head
from heads_samples import one_thread as one_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from headstart.core.heads.config import RECIPES, HeadName
from headstart.core.heads.kinds import NAMES
from headstart.core.heads.kinds import kind as kind_of
from headstart.core.heads.kinds.base import Batch, ClosedFormHead, GradientHead, Head, laid
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.training.train import predict, probabilities, train

seeds = st.integers(0, 2**32 - 1)


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
