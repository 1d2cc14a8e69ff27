"""What is said of a training: the lines hold the numbers."""

import dataclasses

import numpy as np
import pytest
from heads_samples import CLASSES, make_curve, make_evaluation, make_key, make_run

from headstart.console.words import training
from headstart.core.heads.config import RECIPES, HeadName
from headstart.core.heads.protocol import Protocol
from headstart.core.heads.selection.record import Selection, Tried
from headstart.core.heads.statistics.accuracy import Evaluation, Score, evaluate
from headstart.core.heads.statistics.measures import NAMES, measure
from headstart.core.heads.training.epoch import Epoch
from headstart.observer import TrainingStart


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
    assert lines[2:6] == [
        "  class  images  recall",
        "  cat       100   90.0%",
        "  dog       100   80.0%",
        "  frog      100   70.0%",
    ]
    assert lines[6:] == ["  note: a stand-in test set", "  note: half"]


def evaluated() -> Evaluation:
    """Six images, four of them right; nothing is labelled frog."""
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 1])
    return evaluate(predicted, labels, CLASSES, np.eye(3)[predicted])


def test_the_short_measures_stand_below_the_accuracy() -> None:
    found = evaluated()
    short = [name for name in NAMES if measure(name).short]
    assert 0 < len(short) <= 3
    line = training.trained(make_run(evaluation=found)).split("\n")[2]
    assert line == "  balanced accuracy 55.56%, log loss 29.1122, macro F1 48.89%"
    missing = dataclasses.replace(found, measures={"log_loss": None})
    assert "\n  log loss not defined\n" in training.trained(make_run(evaluation=missing))
    newer = dataclasses.replace(found, measures={"of a later version": 0.5})
    assert "later" not in training.trained(make_run(evaluation=newer))


def test_each_class_has_a_line_with_its_precision_and_recall() -> None:
    lines = training.trained(make_run(evaluation=evaluated())).split("\n")
    assert lines[3:] == [
        "  class  images  precision  recall",
        "  cat         3     100.0%   66.7%",
        "  dog         2      50.0%  100.0%",
        "  frog        1          -    0.0%",
    ]


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        (Protocol("cross-validation", 5), []),
        (
            Protocol("cross-validation", 5, 3, (0.5, 0.625, 0.75)),
            ["  3 repeats of 5 folds: mean 62.50%, standard deviation 12.5 points"],
        ),
    ],
)
def test_a_cross_validated_accuracy_says_what_it_is_of(protocol: Protocol, said: list[str]) -> None:
    lines = training.trained(make_run(evaluated_by=protocol)).split("\n")
    each = "each predicted once by a head that did not see it"
    assert lines[1] == f"  accuracy 80.00% (95 % interval 75.11% to 84.13% over 300 images, {each})"
    assert lines[2 : 2 + len(said)] == said
    assert lines[2 + len(said)] == "  class  images  recall"


def selection(count: int, chosen: int, folds: int = 5) -> Selection:
    """So many penalties of ridge regression that were tried, each a little worse than the one before."""
    configs = [dataclasses.replace(RECIPES["standard"], head="ridge", penalty=10.0**i) for i in range(count)]
    tried = [Tried(config, 0.5 + 0.25 * i, 0.125 * i, 0.75 - 0.01 * i, 1.0) for i, config in enumerate(configs)]
    return Selection(folds, 62, tuple(tried), chosen, 1.5)


def test_what_was_tried_stands_before_what_came_of_it() -> None:
    lines = training.trained(make_run(selection=selection(2, chosen=1))).split("\n")
    assert lines[:7] == [
        "  tried 2 configurations in 1.50 s on 62 training rows, each predicted by a head that did not see it (5 folds)",
        "     head   settings    log loss         accuracy",
        "     ridge  penalty 1   0.5000             75.00%",
        "  *  ridge  penalty 10  0.7500 ± 0.1250    74.00%",
        "  * chosen: the least log loss",
        "  ± is the standard error of the difference from the least log loss",
        "  trained in 0.42 s on 90 rows, epoch 2 kept",
    ]


def test_the_rule_is_that_of_several_kinds_where_there_are_several() -> None:
    one = selection(2, chosen=1)
    other = dataclasses.replace(one.tried[0], config=dataclasses.replace(one.tried[0].config, head="logreg"))
    lines = training.trained(make_run(selection=dataclasses.replace(one, tried=(other, *one.tried)))).split("\n")
    assert "  * chosen: the simplest kind of head within one standard error of the least log loss, at its best" in lines


@pytest.mark.parametrize(("chosen", "last"), [(1, 7), (11, 11)])
def test_of_many_tried_the_best_and_the_chosen_one_are_told(chosen: int, last: int) -> None:
    lines = training.trained(make_run(selection=selection(12, chosen, folds=1))).split("\n")
    assert lines[0] == "  tried 12 configurations in 1.50 s on 62 training rows, held out"
    assert [f"penalty {10**i:g} " in line for i, line in enumerate(lines[2:9])] == [True] * 7
    assert f"penalty {10.0**last:g} " in lines[9]
    assert [line for line in lines if line.startswith("  *  ")] == [lines[2 + min(chosen, 7)]]
    assert lines[10] == "  and 4 more; run.json has all"


def test_a_time_shared_by_several_heads_is_said_to_be() -> None:
    (line, *_) = training.trained(make_run(together=5)).split("\n")
    assert line == "  trained in 0.42 s (5 heads at once) on 90 rows, epoch 2 kept"


def test_a_head_without_validation_says_nothing_of_the_epoch_kept() -> None:
    assert "kept" not in training.trained(make_run(best_epoch=None))


def test_a_class_without_test_rows_has_no_accuracy() -> None:
    scores = Evaluation(Score(9, 10), {"cat": Score(9, 10), "dog": Score(0, 0)})
    assert training.trained(make_run(evaluation=scores)).endswith("\n  dog         0       -")
    assert "by class: cat 90.0%, dog -" in training.trained(make_run(evaluation=scores, together=2))


def test_of_many_classes_the_worst_are_told() -> None:
    scores = {f"class {i}": Score((7 * i) % 1000, 1000) for i in range(1000)} | {"empty": Score(0, 0)}
    lines = training.trained(make_run(evaluation=Evaluation(Score(1, 2), scores))).split("\n")[2:]
    assert lines[1:3] == ["  class 0     1,000    0.0%", "  class 143   1,000    0.1%"]
    assert lines[1 + training.WORST_CLASSES :] == ["  these are the worst of 1,001 classes; run.json has all"]
    line = training.trained(make_run(evaluation=Evaluation(Score(1, 2), scores), together=2)).split("\n")[2]
    assert line.startswith("  worst of 1,001 classes: class 0 0.0%, class 143 0.1%, class 286 0.2%")
    assert (line.count("%"), line.endswith("; run.json has all")) == (training.WORST_CLASSES, True)


def test_several_seeds_are_summed_up_by_mean_and_deviation() -> None:
    runs = [make_run(evaluation=make_evaluation(*counts)) for counts in ((80, 80, 80), (82, 82, 82), (84, 84, 84))]
    found = training.spread(runs)
    assert found == "resnet50 study: 3 seeds, mean test accuracy 82.00%, standard deviation 2.00 points"


@pytest.mark.parametrize(
    ("kind", "title"), [("mlp", "resnet50 standard, mlp"), ("auto", "resnet50 standard"), ("knn", "resnet50 standard, knn")]
)
def test_several_seeds_are_titled_by_what_they_share(kind: HeadName, title: str) -> None:
    runs = [make_run(config=dataclasses.replace(RECIPES["standard"], head=kind, seed=seed)) for seed in (0, 1)]
    assert training.spread(runs).startswith(f"{title}: 2 seeds")


@pytest.mark.parametrize(("epochs", "told"), [(1, 1), (20, 20), (21, 20), (400, 20)])
def test_of_many_epochs_some_are_told_of_and_the_last_always(epochs: int, told: int) -> None:
    found = [number for number in range(1, epochs + 1) if training.is_told(Epoch(number, epochs, [1.0], []))]
    assert len(found) == told
    assert found[-1] == epochs


def test_a_curves_points_stand_before_the_notes_with_what_they_say_of_more_pictures() -> None:
    lines = training.trained(make_run(curve=make_curve(), notes=("half",))).split("\n")
    assert lines[-6:] == [
        "  few-shot curve, tested on 1,300 images that were not trained on, in 1.50 s",
        "  trained on  accuracy  standard error  draws",
        "          50    62.50%          ± 3.12      3",
        "         100    75.00%          ± 1.56      1",
        "  More pictures would probably help: from 50 to 100 training images the accuracy changed by +12.5 points "
        "(standard error 1.2); if it goes on so, twice as many add 5.0 to 15.0 points.",
        "  note: half",
    ]
    assert training.run_json(make_run(curve=make_curve()))["curve"]["points"][0]["rows"] == 50


def test_nothing_is_said_of_a_curve_that_was_not_asked_for() -> None:
    assert "curve" not in training.trained(make_run())
