"""What is said of a training: its epochs, what came of it, and several seeds together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns
from headstart.core.cache.views import views_in_words
from headstart.core.heads.config import stated

if TYPE_CHECKING:
    from pathlib import Path

    from headstart.core.heads.curve.record import Curve
    from headstart.core.heads.runs import Run
    from headstart.core.heads.selection.record import Selection
    from headstart.core.heads.statistics.accuracy import Evaluation
    from headstart.core.heads.training.epoch import Epoch
    from headstart.observer import TrainingStart

MOST_CLASSES = 20
"""Classes that have a line each; of more the worst have one."""
WORST_CLASSES = 10
MOST_EPOCHS = 20
"""Epochs that have a line each."""
MOST_TRIED = 8
"""Configurations tried that have a line each."""

AFTER_DEMO = """Train again with other settings, it takes seconds:
    headstart train-head --model resnet18 --dataset digits --head linear
Then the real thing, with pretrained weights, on CIFAR-10 or on a folder of your own pictures:
    headstart extract --model resnet50 --dataset cifar10 --limit 24000
    headstart extract --model resnet50 --dataset folder:PATH"""
"""What to try after the demo."""


def start(training: TrainingStart) -> str:
    """What is trained next, on what."""
    config, key = training.config, training.key
    several = f"{training.heads} heads from seed {config.seed} on" if training.heads > 1 else f"seed {config.seed}"
    what = f"a sweep, {several}" if training.sweep else several
    views = f" with {len(config.views)} view{'s' if len(config.views) > 1 else ''} of each" if config.views else ""
    rows = "1 row" if training.rows == 1 else f"{training.rows:,} rows"
    return f"{key.backbone} on {key.dataset}: {config.head}, {config.recipe} recipe, {rows}{views}, {what}"


def is_told(found: Epoch) -> bool:
    """Whether an epoch has a line of its own: of many epochs the last of each twentieth part."""
    before, now = (MOST_EPOCHS * number // found.epochs for number in (found.number - 1, found.number))
    return found.epochs <= MOST_EPOCHS or now > before


def epoch(found: Epoch) -> str:
    """One epoch's line, of one head or the mean of several."""
    import statistics  # a tenth of the time that help takes

    several = f" of {len(found.losses)} heads" if len(found.losses) > 1 else ""
    validation = f"  validation accuracy {statistics.mean(found.accuracies):.2%}" if found.accuracies else ""
    loss = f"mean loss{several} {statistics.mean(found.losses):.4f}"
    return f"  epoch {found.number:3d}/{found.epochs}  {loss}{validation}"


def trained(run: Run) -> str:
    """How a head did: what was tried, time, accuracy with its interval, other measures, each class, its few-shot curve, and
    what must be said beside it. Of heads that were trained at once each class has a word instead of a line."""
    kept = f", epoch {run.best_epoch} kept" if run.best_epoch else ""
    company = f" ({run.together} heads at once)" if run.together > 1 else ""
    by_class = _recalls(run.evaluation) if run.together > 1 else _by_class(run.evaluation)
    lines = [
        *(_tried(run.selection) if run.selection else []),
        f"trained in {run.elapsed_s:.2f} s{company} on {run.train_rows:,} rows{kept}",
        *_accuracy(run),
        *_apart([run]),
        *_averaged(run),
        *_measures(run.evaluation),
        *by_class,
        *(_curve(run.curve) if run.curve else []),
        *(f"note: {text}" for text in run.notes),
    ]
    return "\n".join(f"  {line}" for line in lines)


def one_of_several(run: Run, folder: Path) -> str:
    """One of several seeds' heads in a line: its accuracy, and where it is."""
    low, high = run.evaluation.overall.interval
    found = f"accuracy {run.evaluation.overall.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})"
    if (by_views := run.averaged) is not None:
        low, high = by_views.interval
        found += f", averaged over its views {by_views.accuracy:.2%} ({low:.2%} to {high:.2%})"
    return f"  seed {run.config.seed}: {found}; saved in {folder}"


def shared(runs: Sequence[Run]) -> str:
    """What is true of heads that differ in their seeds: how they were chosen and trained, and each note once; notes of some
    alone say of which."""
    first, seeds = (
        runs[0],
        {note: [one.config.seed for one in runs if note in one.notes] for run in runs for note in run.notes},
    )
    spent = list(dict.fromkeys(f"{run.elapsed_s:.2f} s" for run in runs))
    of = {note: "" if len(of) == len(runs) else f"seeds {', '.join(map(str, of))}: " for note, of in seeds.items()}
    lines = [
        *(_tried(first.selection) if first.selection else []),
        *_apart(runs),
        f"trained in {spent[0] if len(spent) == 1 else 'all ' + ', '.join(spent)} on {first.train_rows:,} rows",
        *(f"note: {said}{note}" for note, said in of.items()),
    ]
    return "\n".join(f"  {line}" for line in lines)


def _accuracy(run: Run) -> list[str]:
    """The accuracy with its interval, and on which images it was measured."""
    import statistics

    score, by = run.evaluation.overall, run.evaluated_by
    interval = "95 % interval {:.2%} to {:.2%}".format(*score.interval)
    images = "1 image" if score.total == 1 else f"{score.total:,} images"
    if not by.cross_validated:
        return [f"test accuracy {score.accuracy:.2%} ({interval}, {images})"]
    each = "each predicted once by a head that did not see it"
    lines = [f"accuracy {score.accuracy:.2%} ({interval} over {score.total:,} images, {each})"]
    if by.deviation is not None:
        spread = f"standard deviation {100 * by.deviation:.1f} points"
        lines.append(f"{by.repeats} repeats of {by.folds} folds: mean {statistics.fmean(by.accuracies):.2%}, {spread}")
    return lines


def _apart(runs: Sequence[Run]) -> list[str]:
    """The accuracy without test pictures that have a twin in training, in a line; none where none is known to have one."""
    from headstart.core.heads.audit.leaks import apart

    total, chosen = runs[0].evaluation.overall.total, runs[0].val is not None
    found = apart([run.without_twins for run in runs], total, chosen=chosen)
    return [] if found is None else [found.sentence()]


def _averaged(run: Run) -> list[str]:
    """How often the probabilities averaged over an image and its views are right, in a line; none without views."""
    if (score := run.averaged) is None:
        return []
    interval = "95 % interval {:.2%} to {:.2%}".format(*score.interval)
    over = f"the image, {views_in_words(run.config.views)}"
    return [
        f"averaged over its views {score.accuracy:.2%} ({interval}, {score.total:,} images; {over}); it chooses nothing"
    ]


def _measures(found: Evaluation) -> list[str]:
    """The measures that stand beside the accuracy, in one line; none where the record has none."""
    from headstart.core.heads.statistics.measures import NAMES, measure

    there = [(measure(name), found.measures[name]) for name in NAMES if name in found.measures]
    words = [f"{one.title} {_figure(value, one.share)}" for one, value in there if one.short]
    return [", ".join(words)] if words else []


def _figure(value: float | None, share: bool) -> str:
    if value is None:
        return "not defined"
    return f"{value:.2%}" if share else f"{value:.4f}"


def _by_class(found: Evaluation) -> list[str]:
    """A line for each class, in the order of the classes; of many for those that are found least often."""
    many = len(found.per_class) > MOST_CLASSES
    shown = _worst(found)[:WORST_CLASSES] if many else list(found.per_class)
    lines = [["class", "images", "precision", "recall"]]
    for name in shown:
        of_class = found.of_class(name)
        precision, recall = ("-" if value is None else f"{value:.1%}" for value in (of_class.precision, of_class.recall))
        lines.append([name, f"{found.per_class[name].total:>6,}", f"{precision:>9}", f"{recall:>6}"])
    if not found.predicted:  # an earlier record: it has no precision
        lines = [[name, images, recall] for name, images, _, recall in lines]
    rest = f"these are the worst of {len(found.per_class):,} classes; run.json has all" if many else ""
    return [*columns(lines).split("\n"), *filter(None, [rest])]


def _recalls(found: Evaluation) -> list[str]:
    """Each class's share of right labels in one line, in the order of the classes; of many the worst, the worst first."""
    scores = found.per_class
    many = len(scores) > MOST_CLASSES
    shown = _worst(found)[:WORST_CLASSES] if many else list(scores)
    words = ", ".join(f"{name} {scores[name].accuracy:.1%}" if scores[name].total else f"{name} -" for name in shown)
    return [f"worst of {len(scores):,} classes: {words}; run.json has all" if many else f"by class: {words}"]


def _worst(found: Evaluation) -> list[str]:
    """The classes with test rows, those that are found least often first."""
    tested = [name for name, score in found.per_class.items() if score.total]
    return sorted(tested, key=lambda name: found.per_class[name].accuracy)


def _tried(found: Selection) -> list[str]:
    """The configurations that were tried, the best first, the chosen one among them."""
    from headstart.core.heads.report import tried

    shown = tried.lines(found, MOST_TRIED)
    lines = [["", "head", "settings", "log loss", "accuracy"]]
    lines += [
        ["*" if it.chosen else "", it.head, it.settings or "the recipe's", it.log_loss, f"{it.accuracy:>8.2%}"]
        for it in shown
    ]
    more = len(found.tried) - len(shown)
    return [
        f"tried {len(found.tried):,} configurations in {found.elapsed_s:.2f} s on {tried.on_rows(found)}",
        *columns(lines).split("\n"),
        *([f"and {more:,} more; run.json has all"] if more else []),
        f"* chosen: {tried.rule(found)}",
        *(
            ["± is the standard error of the difference from the least log loss"]
            if any("±" in it.log_loss for it in shown)
            else []
        ),
    ]


def _curve(found: Curve) -> list[str]:
    """The few-shot curve, a line for each point, and what it says of more pictures."""
    from headstart.core.heads.report import more_pictures

    lines = [["trained on", "accuracy", "standard error", "draws"]]
    lines += [
        [f"{it.images:>10}", f"{it.accuracy:>8}", f"{it.error:>14}", f"{it.draws:>5}"] for it in more_pictures.lines(found)
    ]
    return [
        f"few-shot curve, tested on {found.test_rows:,} images that were not trained on, in {found.elapsed_s:.2f} s",
        *columns(lines).split("\n"),
        more_pictures.sentence(found),
    ]


def spread(runs: Sequence[Run]) -> str:
    """The same training with several seeds, two or more."""
    import statistics

    shares = [run.evaluation.overall.accuracy for run in runs]
    mean, deviation = statistics.mean(shares), 100 * statistics.stdev(shares)
    return f"{runs[0].title}: {len(runs)} seeds, mean test accuracy {mean:.2%}, standard deviation {deviation:.2f} points"


def run_json(run: Run) -> dict[str, Any]:
    """A run's record as JSON values, with its test accuracy in [0, 1]."""
    return {**dataclasses.asdict(run, dict_factory=stated), "accuracy": run.evaluation.overall.accuracy}
