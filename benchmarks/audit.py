"""Wrong labels that `headstart audit` finds, against those that are known to be wrong, beside cleanlab on the same rows.

    .venv/bin/python benchmarks/audit.py features/cifar10-train-resnet50-… features/cifar10-train-densenet169-… \\
        --labels ../shared/data/cifar10n-random1.npy --rows 24000 --peer cleanlab-venv/bin/python --json audit.json

Each FOLDER is a kept training set of the same pictures, whose labels are right. With --labels a file has those that one
annotator gave (uint8 or int64, one for each row); without it the share --flip of labels is exchanged, for any other class
(uniform) or for the class that it is most taken for (confused). Measured are the ranking (average precision, AUROC,
precision at the true number) by each backbone and by both joined, and the suspects (precision, recall). cleanlab is no
dependency: --peer is an interpreter that has it, with scikit-learn. It is given our out-of-fold probabilities, and with
--end-to-end also the features, for its own cross-validation of scikit-learn's LogisticRegression.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from hardware import hardware
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.cache.store import FeatureStore
from headstart.core.heads.audit import labels as audit_labels
from headstart.core.heads.audit.unseen import Unseen, unseen
from headstart.core.heads.config import RECIPES
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.groups import grouped
from headstart.core.heads.data.reading import in_memory
from headstart.core.heads.settings import settings_label

Labels = npt.NDArray[np.int64]

PEER = """
import json, sys, time
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
given = np.load(sys.argv[1])
labels, found = given["labels"], {}
if "features" in given:
    from cleanlab.classification import CleanLearning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    started, busy = time.perf_counter(), time.process_time()
    learner = CleanLearning(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), cv_n_folds=5, seed=0)
    issues = learner.find_label_issues(given["features"], labels)
    found["scores"] = issues["label_quality"].tolist()
    found["suspects"] = np.flatnonzero(issues["is_label_issue"]).tolist()
    found["elapsed_s"], found["processor_s"] = time.perf_counter() - started, time.process_time() - busy
else:
    started, busy, shares = time.perf_counter(), time.process_time(), given["probabilities"]
    found["suspects"] = np.flatnonzero(find_label_issues(labels, shares, n_jobs=1)).tolist()
    found["elapsed_s"], found["processor_s"] = time.perf_counter() - started, time.process_time() - busy
    for method in ("self_confidence", "normalized_margin"):
        found[method] = get_label_quality_scores(labels, shares, method=method).tolist()
    found["scores"] = found["self_confidence"]
json.dump(found, open(sys.argv[2], "w"))
"""


@dataclasses.dataclass(frozen=True)
class Took:
    """Seconds by the clock, and those of all processors: other work beside this one makes the former longer."""

    elapsed_s: float = 0.0
    processor_s: float = 0.0

    def __add__(self, other: Took) -> Took:
        return Took(self.elapsed_s + other.elapsed_s, self.processor_s + other.processor_s)


@dataclasses.dataclass(frozen=True)
class Ranked:
    """How well doubts rank the labels that are wrong, and how many of the suspects are."""

    method: str
    average_precision: float
    auroc: float
    at_count: float
    precision: float | None = None
    recall: float | None = None
    took: Took | None = None
    expected: tuple[float, float, float] | None = None


def ranked(
    method: str, doubts: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_], suspects: Labels | None = None, **more: Any
) -> Ranked:
    """The figures of doubts (N,), high for those that may be wrong, and of the places of suspects."""
    count = int(wrong.sum())
    first = np.argsort(-doubts, kind="stable")[:count]
    hits = None if suspects is None else int(wrong[suspects].sum())
    return Ranked(
        method,
        float(average_precision_score(wrong, doubts)),
        float(roc_auc_score(wrong, doubts)),
        float(wrong[first].mean()),
        None if hits is None or suspects is None else hits / max(1, len(suspects)),
        None if hits is None else hits / max(1, count),
        **more,
    )


def flipped(labels: Labels, share: float, kind: str, classes: int, taken_for: Labels, rng: np.random.Generator) -> Labels:
    """Labels of which a share is exchanged: uniformly, or for the class (C,) that theirs is most taken for."""
    found = labels.copy()
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    if kind == "uniform":
        found[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    else:
        found[chosen] = taken_for[labels[chosen]]
    return found


def heard(features: npt.NDArray[np.float32], given: Labels, classes: int) -> tuple[Unseen, Took]:
    """What heads say out of fold of the labels given, and what that took, search included."""
    started, busy = time.perf_counter(), time.process_time()
    rows = grouped(Labelled(features, given), None, None)
    found = unseen(rows, classes, RECIPES["standard"], "cpu", 0)
    return found, Took(time.perf_counter() - started, time.process_time() - busy)


def ours(
    name: str, shares: npt.NDArray[np.float64], given: Labels, wrong: npt.NDArray[np.bool_], took: Took
) -> list[Ranked]:
    """The product's ranking and suspects, and its margin for comparison."""
    every = np.ones(len(given), dtype=np.bool_)
    found = audit_labels.audit(shares, given, every, np.random.default_rng(0))
    expected = found.expected
    said = (expected.count, expected.low, expected.high)
    return [
        ranked(f"{name}: self-confidence", 1 - found.confidence, wrong, found.suspects, took=took, expected=said),
        ranked(f"{name}: margin", -found.margin, wrong),
    ]


def theirs(name: str, peer: str, wrong: npt.NDArray[np.bool_], **arrays: npt.NDArray[Any]) -> list[Ranked]:
    """cleanlab's, by an interpreter that has it."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.json"
        np.savez(given, **arrays)
        subprocess.run([peer, "-c", PEER, given, answer], check=True)
        found = json.loads(answer.read_text(encoding="utf-8"))
    suspects = np.array(found["suspects"], dtype=np.int64)
    took = Took(found["elapsed_s"], found["processor_s"])
    main = ranked(f"{name}: cleanlab", -np.array(found["scores"]), wrong, suspects, took=took)
    more = (
        [ranked(f"{name}: cleanlab, normalized margin", -np.array(found["normalized_margin"]), wrong)]
        if ("normalized_margin" in found)
        else []
    )
    return [main, *more]


def joins(said: Sequence[npt.NDArray[np.float64]], given: Labels, wrong: npt.NDArray[np.bool_]) -> list[Ranked]:
    """Other ways to join votes, for comparison: the mean of ranks, of probabilities, the least and the largest doubt."""
    doubts = np.stack([1 - audit_labels.self_confidence(one, given) for one in said])
    ways = {
        "mean of ranks": np.mean([rankdata(one) for one in doubts], axis=0),
        "mean of probabilities": doubts.mean(axis=0),
        "least doubt": doubts.min(axis=0),
        "largest doubt": doubts.max(axis=0),
    }
    return [ranked(f"joined by {name}", found, wrong) for name, found in ways.items()]


def case(
    title: str,
    given: Labels,
    truth: Labels,
    features: dict[str, npt.NDArray[np.float32]],
    classes: int,
    peer: str | None,
    whole: bool,
) -> dict[str, Any]:
    """All figures of one set of labels."""
    wrong, said, found, heads, whole_took = given != truth, list[npt.NDArray[np.float64]](), list[Ranked](), {}, Took()
    for name, own in features.items():
        one, took = heard(own, given, classes)
        said.append(one.probabilities)
        heads[name], whole_took = settings_label(one.config), whole_took + took
        found += ours(name, one.probabilities, given, wrong, took)
        found += theirs(name, peer, wrong, labels=given, probabilities=one.probabilities) if peer else []
        found += theirs(f"{name}, end to end", peer, wrong, labels=given, features=own) if peer and whole else []
    if len(said) > 1:
        both = audit_labels.joined(said)
        found += ours("joined", both, given, wrong, whole_took)
        found += theirs("joined", peer, wrong, labels=given, probabilities=both) if peer else []
        found += joins(said, given, wrong)
    for one_row in found:
        click.echo(f"{title}  {one_row}")
    return {
        "case": title,
        "rows": len(given),
        "wrong": int(wrong.sum()),
        "heads": heads,
        "found": list(map(dataclasses.asdict, found)),
    }


def most_taken_for(features: npt.NDArray[np.float32], truth: Labels, classes: int) -> Labels:
    """The class (C,) that each is most taken for by heads that did not see a row."""
    found, _ = heard(features, truth, classes)
    table = audit_labels.confident_counts(found.probabilities, truth)
    np.fill_diagonal(table, -1)
    return table.argmax(axis=1)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--labels", "file", type=click.Path(exists=True, path_type=Path), help="Labels that were given, one a row.")
@click.option("--flip", "shares", type=float, multiple=True, help="The share of labels that is exchanged; repeatable.")
@click.option("--rows", type=int, help="The first rows only.")
@click.option("--peer", help="An interpreter that has cleanlab.")
@click.option("--end-to-end", "whole", is_flag=True, help="Also cleanlab's own cross-validation of LogisticRegression.")
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(
    folders: tuple[Path, ...],
    file: Path | None,
    shares: tuple[float, ...],
    rows: int | None,
    peer: str | None,
    whole: bool,
    output: Path | None,
) -> None:
    """Measure, print, and write what was measured."""
    sets = [FeatureStore(folder.parent).get(folder.name) for folder in folders]
    read = {one.manifest.key.backbone: in_memory(one, rows) for one in sets}
    first, classes = next(iter(read.values())), len(sets[0].manifest.classes)
    if any(not np.array_equal(one.ids, first.ids) for one in read.values()):
        raise click.UsageError("the sets have other rows")
    features, truth = {name: one.features for name, one in read.items()}, first.labels
    cases = []
    if file is not None:
        given = np.load(file).astype(np.int64)[: len(truth)]
        cases.append(case("given labels", given, truth, features, classes, peer, whole))
    if shares:
        taken = most_taken_for(next(iter(features.values())), truth, classes)
        for kind in ("uniform", "confused"):
            for share in shares:
                given = flipped(truth, share, kind, classes, taken, np.random.default_rng(0))
                cases.append(case(f"{share:.0%} {kind}", given, truth, features, classes, peer, whole))
    if output is not None:
        output.write_text(json.dumps({"hardware": hardware(), "cases": cases}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
