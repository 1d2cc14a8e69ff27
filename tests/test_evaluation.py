"""What the report says of test rows agrees with scikit-learn, scipy and counting by hand."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from heads_samples import CLASSES, make_key, make_run
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from headstart.core.heads.config import RECIPES
from headstart.core.heads.data import Labelled
from headstart.core.heads.report.evaluation import Predictions, evaluated
from headstart.core.heads.report.facts import Disagreement, Mistake, Section
from headstart.core.heads.report.grouping import Group

ROWS = 200


def section(tested: Sequence[Predictions]) -> Section:
    """What is said of these heads."""
    return evaluated(Section("pets", "pets", "test", CLASSES, ()), tested)


def head_of(model: str, recipe: str = "study", seed: int = 0, count: int = ROWS, **changes: Any) -> Predictions:
    """A head that is right more often than not; the labels are the same for all, and `changes` are of the test rows."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(0, len(CLASSES), count)
    shares = rng.dirichlet(np.ones(len(CLASSES)), count)
    shares[np.arange(count), labels] += 0.4
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    run = make_run(key=make_key(backbone=model), config=RECIPES[recipe])
    data = Labelled(np.zeros((count, 1), np.float32), labels, rows=np.arange(count), images="1a" * 32)
    group = Group(model, recipe, (run,))
    return Predictions(group, shares, shares.argmax(axis=1)[None], dataclasses.replace(data, **changes), None)


def test_each_head_is_described_by_its_own_labels() -> None:
    one = head_of("vgg16")
    (found,) = section([one]).heads
    assert (found.model, found.settings) == ("vgg16", "study")
    matrix = confusion_matrix(one.labels, one.predicted, labels=range(len(CLASSES)))
    assert [list(row) for row in found.confusion] == matrix.tolist()
    for i, name in enumerate(CLASSES):
        assert found.recall[name] == matrix[i, i] / matrix[i].sum()
        assert found.predicted[name] == int((one.predicted == i).sum())
        assert found.true[name] == int((one.labels == i).sum())
        ratio = found.ratio[name]
        assert ratio.ratio is not None
        assert ratio.interval is not None
        assert ratio.interval[0] <= ratio.ratio <= ratio.interval[1]
    for mistake in found.mistakes:
        assert mistake.label == CLASSES[one.labels[mistake.row]] != mistake.predicted
    sure = [mistake.probability for mistake in found.mistakes]
    assert sure == sorted(sure, reverse=True)


def test_pairs_are_compared_on_the_same_images_under_the_same_recipe() -> None:
    heads = [head_of(model, recipe, 10 * i + j) for j, recipe in enumerate(RECIPES) for i, model in enumerate("abc")]
    found = section(heads).comparisons
    assert [(pair.settings, pair.comparison.first, pair.comparison.second) for pair in found] == [
        (recipe, first, second) for recipe in RECIPES for first, second in ("ab", "ac", "bc")
    ]
    by_name = {(head.group.settings, head.group.model): head.predicted == head.labels for head in heads}
    for pair in found:
        compared, paired = pair.comparison, pair.comparison.paired
        first, second = (by_name[pair.settings, name] for name in (compared.first, compared.second))
        assert (paired.only_first, paired.only_second) == (int((first & ~second).sum()), int((second & ~first).sum()))
        assert np.isclose(paired.difference, first.mean() - second.mean())
        apart = paired.only_first + paired.only_second
        assert np.isclose(paired.p_value, binomtest(paired.only_first, apart).pvalue)
        assert paired.p_value <= compared.adjusted <= min(1.0, 3 * paired.p_value)


def test_heads_on_other_images_are_not_paired_and_named() -> None:
    """Equal labels, as two folders sorted by class have them, do not make two pictures the same."""
    for changes in ({"images": "2b" * 32}, {"rows": np.arange(1, ROWS + 1)}):
        found = section([head_of("a"), head_of("b", **changes)])
        assert (found.comparisons, found.label_shifts, found.disagreements) == ((), (), ())
        assert [head.model for head in found.heads] == ["a", "b"]
        assert found.not_compared == ("b, study: tested on other images than the others, not compared with them",)
    assert section([]).heads == ()


def test_heads_that_learned_from_other_images_are_paired_and_said_to_be() -> None:
    one, other = head_of("a"), head_of("b", seed=1)
    assert section([one, other]).comparisons[0].note is None
    run = other.group.first
    few = dataclasses.replace(run, train_rows=30, train=dataclasses.replace(run.train, used="ff" * 32))
    found = section([one, dataclasses.replace(other, group=Group("b", "study", (few,)))])
    assert found.comparisons[0].note == "not trained on the same images (100 and 40)"


def test_rows_are_numbered_as_in_the_split_where_pictures_were_left_out() -> None:
    """The row among what was kept is not the row among what there was."""
    kept = np.delete(np.arange(ROWS + 3), [0, 5, 100])
    plain, shifted = (
        section([head_of("a", **changes), head_of("b", seed=1, **changes)]) for changes in ({}, {"rows": kept})
    )
    shown: tuple[Callable[[Section], Sequence[Mistake | Disagreement]], ...] = (
        lambda found: found.disagreements,
        lambda found: found.heads[0].mistakes,
    )
    for images in shown:
        before, after = images(plain), images(shifted)
        assert [int(kept[one.row]) for one in before] == [one.row for one in after]
        assert len(before) > 3


def test_several_seeds_have_an_interval_over_seeds_and_images() -> None:
    one = head_of("a")
    assert one.interval == one.group.first.evaluation.overall.interval
    labelled = np.stack([head_of("a", seed=seed).predicted for seed in range(5)])
    runs = tuple(dataclasses.replace(one.group.first, name=str(seed)) for seed in range(5))
    several = dataclasses.replace(one, group=Group("a", "study", runs), labelled=labelled)
    low, high = several.interval
    assert low < (labelled == one.labels).mean() < high
    assert several.interval != one.interval


def test_a_label_given_more_often_by_one_model_is_counted() -> None:
    one, other = head_of("a", seed=1), head_of("b", seed=2)
    shifts = section([one, other]).label_shifts
    assert [shift.label for shift in shifts] == list(CLASSES)
    for i, shift in enumerate(shifts):
        first, second = one.predicted == i, other.predicted == i
        assert (shift.comparison.paired.only_first, shift.comparison.paired.only_second) == (
            int((first & ~second).sum()),
            int((second & ~first).sum()),
        )


def test_disagreements_are_rows_on_which_the_labels_differ() -> None:
    one, other = head_of("a", seed=1), head_of("b", seed=2)
    for found in section([one, other]).disagreements:
        row = found.row
        assert found.predicted == {"a": CLASSES[one.predicted[row]], "b": CLASSES[other.predicted[row]]}
        assert one.predicted[row] != other.predicted[row]
        assert found.label == CLASSES[one.labels[row]]


def test_heads_stand_model_by_model() -> None:
    heads = [head_of(model, recipe) for recipe in RECIPES for model in "ab"]
    assert [(head.model, head.settings) for head in section(heads).heads] == [
        ("a", "study"), ("a", "standard"), ("b", "study"), ("b", "standard")
    ]  # fmt: skip
