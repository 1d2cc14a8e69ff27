"""What a card says of how well a head does: measures with intervals, each class, what it mistakes for what, and how far its
probabilities can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.core.heads.predict import caveat
from headstart.core.heads.report.markdown.text import table
from headstart.core.heads.report.page.figures.classes import mix_ups
from headstart.core.heads.report.units import percent
from headstart.core.heads.statistics.accuracy import MOST_CLASSES, Evaluation, Score, wilson
from headstart.core.heads.statistics.conformal import rows_needed
from headstart.core.heads.statistics.measures import NAMES, measure
from headstart.export.card.about import UNRECORDED
from headstart.export.card.resampling import DRAWS, resampled
from headstart.export.card.text import code

if TYPE_CHECKING:
    from headstart.core.heads.checkpoint import Checkpoint
    from headstart.core.heads.runs import Run
    from headstart.core.heads.statistics.measures.base import Measure
    from headstart.inference.trained import TrainedHead

WORST = 20
"""Classes that have a line where they are too many for all to have one."""
MOST_MISTAKES = 15
FEW = 30
"""Test images of a class from which its recall's interval is narrower than about 36 points."""
COVERAGES = (0.9, 0.95, 0.99)


def measures(head: TrainedHead) -> str:
    """The accuracy with its interval, and all other measures that were recorded."""
    run = head.run
    if run is None:
        return UNRECORDED
    score = run.evaluation.overall
    rows = [("accuracy", _with_interval(score) if score.total else "not defined", "↑")]
    rows += [_averaged(run.averaged)] if run.averaged is not None else []
    there = run.evaluation.measures
    recorded = [(name, measure(name), there[name]) for name in NAMES if name in there]
    intervals = resampled(run.evaluation.confusion)
    rows += [
        (one.title, one.text(value) + _between(one, intervals.get(name)), "↑" if one.higher_is_better else "↓")
        for name, one, value in recorded
    ]
    lead = (
        f"On {score.total:,} images; an arrow shows the better direction. Intervals are at 95 % and speak of other images "
        f"of the same kind: Wilson's of the accuracy, {DRAWS:,} draws with replacement for measures of labels. "
        f"Those of probabilities have none, since the run record has no probabilities."
    )
    return f"{lead}\n\n{table(('measure', 'value', ''), rows)}"


def _between(one: Measure, interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({one.text(interval[0])} to {one.text(interval[1])})"


def _averaged(score: Score) -> tuple[str, str, str]:
    return ("accuracy of means over kept views", _with_interval(score), "↑")


def _with_interval(score: Score) -> str:
    low, high = wilson(score.correct, score.total)
    return f"{percent(score.accuracy)} ({percent(low)} to {percent(high)})"


def classes(head: TrainedHead) -> str:
    """A line for each class in index order; of many for those that are found least often."""
    run = head.run
    if run is None:
        return UNRECORDED
    found = run.evaluation
    names = list(found.per_class)
    tested = [name for name in names if found.per_class[name].total]
    lead = ""
    if len(names) > MOST_CLASSES:
        names = sorted(tested, key=lambda name: found.per_class[name].accuracy)[:WORST]
        lead = f"These {len(names)} of {len(found.per_class):,} classes are found least often; the run record has all. "
    untested = len(found.per_class) - len(tested)
    lead += f"{untested:,} classes have no test image. " if untested else ""
    lead += "Recall: the share of a class's images that got its label. Precision: of those that got it, the right share."
    body = [_class(name, found) for name in names]
    return f"{lead}\n\n{table(('class', 'test images', 'precision', 'recall (95 % interval)', 'F1'), body)}"


def _class(name: str, found: Evaluation) -> tuple[str, ...]:
    of_class, score = found.of_class(name), found.per_class[name]
    recall = _with_interval(score) if score.total else "-"
    return code(name), f"{score.total:,}", _share(of_class.precision), recall, _share(of_class.f1)


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def mistakes(head: TrainedHead) -> str:
    """The most frequent mistakes."""
    run = head.run
    if run is None:
        return UNRECORDED
    if run.evaluation.confusion is None:
        reason = run.evaluation.confusion_left_out
        return f"Not in the run record: {reason}." if reason else "Not in the run record, which is of an earlier version."
    found = mix_ups(run.evaluation.confusion, list(run.evaluation.per_class))
    if not found:
        return "None of the test images got a wrong label."
    more = len(found) - MOST_MISTAKES
    rest = f"\n\n{more:,} other pairs of classes were mistaken less often or as often as the last one." if more > 0 else ""
    body = [(code(true), code(wrong), f"{images:,}") for images, true, wrong in found[:MOST_MISTAKES]]
    return table(("class", "taken for", "images"), body) + rest


def calibration(head: TrainedHead) -> str:
    """The temperature, how far the probabilities were from the truth, and which prediction sets can be made."""
    sure = head.checkpoint.confidence
    if sure is None:
        said = caveat(head.checkpoint)
        words = f": {said}" if said else ""
        return f"Not calibrated{words}. Prediction sets, and so an answer that reads unsure, can't be made of it."
    lines = [
        f"Scores are divided by the temperature {sure.temperature:.4g} before the softmax, which changes no label. It was "
        f"fitted on {sure.rows:,} rows that the predicting heads did not see.",
        _sets(head.checkpoint),
        *(_measured(head.run) if head.run is not None else []),
    ]
    return "\n\n".join(lines)


def _sets(checkpoint: Checkpoint) -> str:
    """Which coverages have rows enough."""
    rows = checkpoint.confidence.rows if checkpoint.confidence else 0
    lines = [
        (
            f"{coverage:.0%}",
            f"{rows_needed(coverage):,}",
            "yes" if rows >= rows_needed(coverage) else "no class is left out",
        )
        for coverage in COVERAGES
    ]
    lead = (
        "Prediction sets: of pictures like the training pictures about as many as asked for have their class in the set "
        "that is shown; of other pictures nothing is known. How many had was not measured."
    )
    return f"{lead}\n\n{table(('coverage', 'rows needed', 'has them'), lines)}"


def _measured(run: Run) -> Sequence[str]:
    ece = run.evaluation.measures.get("ece")
    return [f"Expected calibration error over 15 bins: {measure('ece').text(ece)}."] if ece is not None else []
