"""What is said of a training: the lines hold the numbers."""

import dataclasses

import pytest
from heads_samples import make_evaluation, make_key, make_run

from headstart.console.words import training
from headstart.core.heads.config import RECIPES, HeadName
from headstart.core.heads.statistics.accuracy import Evaluation, Score
from headstart.observer import Epoch, TrainingStart


@pytest.mark.parametrize(
    ("heads", "sweep", "what"),
    [(1, False, "seed 4"), (3, False, "3 heads from seed 4 on"), (1, True, "a sweep, seed 4")],
)
def test_what_is_trained_is_said_before(heads: int, sweep: bool, what: str) -> None:
    config = dataclasses.replace(RECIPES["study"], seed=4)
    found = training.start(TrainingStart(make_key(), config, 21_600, heads, sweep))
    assert found == f"resnet50 on {make_key().dataset}: mlp, study recipe, 21,600 rows, {what}"


def test_an_epochs_line_holds_its_number_loss_and_accuracy() -> None:
    found = training.epoch(Epoch(3, 30, [1.46149], [0.8125]))
    assert "epoch   3/30" in found
    assert "loss 1.4615" in found
    assert "81.25%" in found


def test_an_epochs_line_without_validation_says_nothing_of_it() -> None:
    assert training.epoch(Epoch(3, 5, [1.5], [])) == "  epoch   3/5  mean loss 1.5000"


def test_an_epochs_line_of_several_heads_holds_their_means_and_how_many_they_are() -> None:
    found = training.epoch(Epoch(3, 5, [1.0, 2.0, 3.0], [0.5, 0.75, 1.0]))
    assert found == "  epoch   3/5  mean loss of 3 heads 2.0000  validation accuracy 75.00%"
    assert training.epoch(Epoch(3, 5, [1.0, 2.0], ())) == "  epoch   3/5  mean loss of 2 heads 1.5000"


def test_a_trained_heads_lines_hold_time_accuracy_interval_and_classes() -> None:
    lines = training.trained(make_run(train_rows=21_600, notes=("a stand-in test set", "half"))).split("\n")
    assert lines[0] == "  trained in 0.42 s on 21,600 rows, epoch 2 kept"
    assert lines[1] == "  test accuracy 80.00% (95 % interval 75.11% to 84.13%, 300 images)"
    assert lines[2] == "  by class: cat 90.0%, dog 80.0%, frog 70.0%"
    assert lines[3:] == ["  note: a stand-in test set", "  note: half"]


def test_a_time_shared_by_several_heads_is_said_to_be() -> None:
    (line, *_) = training.trained(make_run(together=5)).split("\n")
    assert line == "  trained in 0.42 s (5 heads at once) on 90 rows, epoch 2 kept"


def test_a_head_without_validation_says_nothing_of_the_epoch_kept() -> None:
    assert "kept" not in training.trained(make_run(best_epoch=None))


def test_a_class_without_test_rows_has_no_accuracy() -> None:
    scores = Evaluation(Score(9, 10), {"cat": Score(9, 10), "dog": Score(0, 0)})
    assert "by class: cat 90.0%, dog -" in training.trained(make_run(evaluation=scores))


def test_of_many_classes_the_worst_are_told() -> None:
    scores = {f"class {i}": Score((7 * i) % 1000, 1000) for i in range(1000)} | {"empty": Score(0, 0)}
    line = training.trained(make_run(evaluation=Evaluation(Score(1, 2), scores))).split("\n")[2]
    assert line.startswith("  worst of 1,001 classes: class 0 0.0%, class 143 0.1%, class 286 0.2%")
    assert (line.count("%"), line.endswith("; all are in run.json")) == (training.MOST_CLASSES, True)


def test_several_seeds_are_summed_up_by_mean_and_deviation() -> None:
    runs = [make_run(evaluation=make_evaluation(*counts)) for counts in ((80, 80, 80), (82, 82, 82), (84, 84, 84))]
    found = training.spread(runs)
    assert found == "resnet50 study: 3 seeds, mean test accuracy 82.00%, standard deviation 2.00 points"


@pytest.mark.parametrize(("kind", "title"), [("mlp", "resnet50 standard"), ("knn", "resnet50 standard, knn")])
def test_several_seeds_are_titled_by_what_they_share(kind: HeadName, title: str) -> None:
    runs = [make_run(config=dataclasses.replace(RECIPES["standard"], head=kind, seed=seed)) for seed in (0, 1)]
    assert training.spread(runs).startswith(f"{title}: 2 seeds")
