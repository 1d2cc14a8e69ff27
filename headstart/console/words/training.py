"""What is said of a training: its epochs, what came of it, and several seeds together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns

if TYPE_CHECKING:
    from headstart.core.heads.config import TrainConfig
    from headstart.core.heads.runs import Run
    from headstart.core.heads.statistics.accuracy import Evaluation
    from headstart.observer import Epoch, TrainingStart


def start(training: TrainingStart) -> str:
    """What is trained next, on what."""
    config, key = training.config, training.key
    several = f"{training.heads} heads from seed {config.seed} on" if training.heads > 1 else f"seed {config.seed}"
    what = f"a sweep, {several}" if training.sweep else several
    return f"{key.backbone} on {key.dataset}: {config.head}, {config.recipe} recipe, {training.rows:,} rows, {what}"


def epoch(found: Epoch) -> str:
    """One epoch's line, of one head or the mean of several."""
    import statistics  # a tenth of the time that help takes

    several = f" of {len(found.losses)} heads" if len(found.losses) > 1 else ""
    validation = f"  validation accuracy {statistics.mean(found.accuracies):.2%}" if found.accuracies else ""
    loss = f"mean loss{several} {statistics.mean(found.losses):.4f}"
    return f"  epoch {found.number:3d}/{found.epochs}  {loss}{validation}"


def trained(run: Run) -> str:
    """How a head did: time, accuracy with its interval, each class, and what must be said beside it."""
    score = run.evaluation.overall
    low, high = score.interval
    kept = f", epoch {run.best_epoch} kept" if run.best_epoch else ""
    company = f" ({run.together} heads at once)" if run.together > 1 else ""
    return "\n".join(
        [
            f"  trained in {run.elapsed_s:.2f} s{company} on {run.train_rows:,} rows{kept}",
            f"  test accuracy {score.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, {score.total:,} images)",
            f"  {_by_class(run.evaluation)}",
            *(f"  note: {text}" for text in run.notes),
        ]
    )


MOST_CLASSES = 20
"""Classes that a line has room for."""


def _by_class(found: Evaluation) -> str:
    """Each class's share of right labels, in the order of the classes; of many the worst, the worst first."""
    scores = list(found.per_class.items())
    if len(scores) <= MOST_CLASSES:
        return "by class: " + ", ".join(
            f"{name} {part.accuracy:.1%}" if part.total else f"{name} -" for name, part in scores
        )
    tested = sorted(((name, part) for name, part in scores if part.total), key=lambda it: it[1].accuracy)
    worst = ", ".join(f"{name} {part.accuracy:.1%}" for name, part in tested[:MOST_CLASSES])
    return f"worst of {len(scores):,} classes: {worst}; all are in run.json"


def spread(runs: Sequence[Run]) -> str:
    """The same training with several seeds, two or more."""
    import statistics

    shares = [run.evaluation.overall.accuracy for run in runs]
    mean, deviation = statistics.mean(shares), 100 * statistics.stdev(shares)
    return f"{runs[0].title}: {len(runs)} seeds, mean test accuracy {mean:.2%}, standard deviation {deviation:.2f} points"


def swept(tried: Sequence[tuple[TrainConfig, float]]) -> str:
    """What a sweep tried, the best first."""
    lines: list[list[object]] = [["learning rate", "weight decay", "validation accuracy"]]
    lines += [[f"{config.lr:g}", f"{config.weight_decay:g}", f"{accuracy:.2%}"] for config, accuracy in tried]
    return columns(lines)


def run_json(run: Run) -> dict[str, Any]:
    """A run's record as JSON values, with its test accuracy in [0, 1]."""
    return {**dataclasses.asdict(run), "accuracy": run.evaluation.overall.accuracy}
