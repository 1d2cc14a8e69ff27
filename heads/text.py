"""Words for people: how a head was trained and tested, how fast it is, what it says of pictures."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence

from headstart.core.cache.text import columns, megabytes
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.predict import Photo
from headstart.core.heads.runs import Run
from headstart.core.heads.statistics.accuracy import Evaluation
from headstart.core.heads.timings import Timing


def epoch(number: int, epochs: int, losses: Sequence[float], accuracies: Sequence[float]) -> str:
    """One epoch's line, of one head or the mean of several."""
    several = f" of {len(losses)} heads" if len(losses) > 1 else ""
    validation = f"  validation accuracy {statistics.mean(accuracies):.2%}" if accuracies else ""
    return f"  epoch {number:3d}/{epochs}  mean loss{several} {statistics.mean(losses):.4f}{validation}"


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
    shares = [run.evaluation.overall.accuracy for run in runs]
    mean, deviation = statistics.mean(shares), 100 * statistics.stdev(shares)
    return f"{runs[0].title}: {len(runs)} seeds, mean test accuracy {mean:.2%}, standard deviation {deviation:.2f} points"


def swept(tried: Sequence[tuple[TrainConfig, float]]) -> str:
    """What a sweep tried, the best first."""
    lines: list[list[object]] = [["learning rate", "weight decay", "validation accuracy"]]
    lines += [[f"{config.lr:g}", f"{config.weight_decay:g}", f"{accuracy:.2%}"] for config, accuracy in tried]
    return columns(lines)


def bench(title: str, timing: Timing, notes: Sequence[str]) -> str:
    """How fast a head labels raw images, on what, and with which accuracy."""
    waits = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in timing.latency_s.items())
    total = sum(timing.stages_s.values())
    stages = ", ".join(f"{name} {1000 * value:.3f} ms ({value / total:.0%})" for name, value in timing.stages_s.items())
    accuracy = "" if timing.accuracy is None else f"accuracy {timing.accuracy:.2%}, "
    passes = f"in batches of {timing.way.batch_size}, median of {timing.repeats}"
    speed = f"{timing.elapsed_s:.2f} s, {timing.images_per_s:.1f} images/s"
    part = "" if timing.images == timing.split_rows else f" of {timing.split_rows:,}"
    return "\n".join(
        [
            f"{title} on {timing.way.device}, {timing.way.precision}, {timing.way.engine}",
            f"  {timing.images:,}{part} {timing.dataset} {timing.split} images in {speed} ({passes})",
            f"  one image: {waits} ({timing.latency_images} images)",
            f"  per image in batches: {stages}",
            f"  {accuracy}peak memory {megabytes(timing.peak_memory_bytes)}",
            *(f"  note: {text}" for text in notes),
        ]
    )


def predictions(photos: Sequence[Photo], titles: Mapping[str, str]) -> str:
    """A line for each picture, a column for each head; `titles` gives the heads' names theirs."""
    lines: list[list[object]] = [["picture", *titles.values()]]
    for photo in photos:
        cells = [", ".join(f"{name} {share:.1%}" for name, share in photo.labels.get(run, ())) for run in titles]
        failure = [f"can't be read: {photo.error}"] + [""] * (len(titles) - 1)
        lines.append([photo.name, *(failure if photo.error else cells)])
    return columns(lines)


def predictions_csv(photos: Sequence[Photo]) -> str:
    """A line for each picture, head and rank; a picture that could not be read has one line with the reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "head", "rank", "label", "probability", "error"])
    for photo in photos:
        if photo.error:
            writer.writerow([photo.name, "", "", "", "", photo.error])
        for run, labels in photo.labels.items():
            writer.writerows([photo.name, run, i, name, f"{share:.6f}", ""] for i, (name, share) in enumerate(labels, 1))
    return text.getvalue().rstrip("\n")
