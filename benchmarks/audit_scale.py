"""What `headstart audit` takes of many rows: seconds, processor seconds and peak memory, stage by stage.

    .venv/bin/python benchmarks/audit_scale.py --rows 10000 --rows 20000 --rows 50000 --json audit_scale.json
    .venv/bin/python benchmarks/audit_scale.py --like features/cifar10-train-resnet50-… --rows 50000

Makes a kept training set for each number of rows in a folder that is removed again, and runs the command on it in a
process of its own. Rows are made up: ten classes, low-rank clusters whose spectrum decays slowly, nothing below 0; with
--like, kept rows of one or more sets, used again with noise of half the deviation of every feature until there are enough.
5 % of the labels are another class, and a hundredth of the rows are nearly another row. Pictures can't be opened, so that
none is compared by its pixels. Memory is what Linux says that the process had resident at most.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from hardware import hardware

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from synthetic import synthetic_key

from headstart.core.cache.manifest import Provenance
from headstart.core.cache.shard import Rows, Shard
from headstart.core.cache.store import FeatureStore

CLASSES, RANK, SHARD, WRONG, NEAR = 10, 256, 2048, 0.05, 0.01
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def made_up(rows: int, dim: int, rng: np.random.Generator) -> tuple[Features, Labels]:
    """Features (N, D), none below 0, and labels (N,)."""
    axes = rng.standard_normal((RANK, dim)).astype(np.float32) * (1 + np.arange(RANK, dtype=np.float32)[:, None]) ** -0.5
    centres = rng.standard_normal((CLASSES, RANK)).astype(np.float32)
    labels = rng.integers(0, CLASSES, rows)
    found = np.empty((rows, dim), dtype=np.float32)
    for start in range(0, rows, SHARD):
        own = labels[start : start + SHARD]
        inside = 0.5 * centres[own] + rng.standard_normal((len(own), RANK), dtype=np.float32)
        noise = rng.standard_normal((len(own), dim), dtype=np.float32)
        found[start : start + SHARD] = np.maximum(inside @ axes + 0.5 * noise - 0.5, 0)
    return found, labels


def repeated(folders: tuple[Path, ...], rows: int, rng: np.random.Generator) -> tuple[Features, Labels]:
    """Kept features, again with noise until there are enough rows."""
    read = [FeatureStore(folder.parent).get(folder.name).load() for folder in folders]
    kept, labels = (np.concatenate([getattr(one, name) for one in read]) for name in ("features", "labels"))
    chosen = np.resize(np.arange(len(labels)), rows)
    features, scale = kept[chosen].astype(np.float32), 0.5 * kept[:SHARD].astype(np.float32).std(axis=0)
    for start in range(len(labels), rows, SHARD):
        own = features[start : start + SHARD]
        own += scale * rng.standard_normal(own.shape, dtype=np.float32)
    return np.maximum(features, 0), labels[chosen]


def make(folder: Path, features: Features, labels: Labels, rng: np.random.Generator) -> None:
    """A kept training set of the rows, some of them nearly others and some labels exchanged."""
    rows, dim = features.shape
    near = rng.permutation(rows)[: 2 * round(NEAR * rows)].reshape(-1, 2)
    features[near[:, 0]] = features[near[:, 1]] * (1 + 0.01 * rng.standard_normal((len(near), dim), dtype=np.float32))
    wrong = rng.permutation(rows)[: round(WRONG * rows)]
    labels = labels.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, CLASSES, len(wrong))) % CLASSES
    key = synthetic_key(tuple(f"class {i}" for i in range(CLASSES)))
    with FeatureStore(folder).writing(key, "train", lambda: None) as writer:
        records = []
        for index, start in enumerate(range(0, rows, SHARD)):
            own = slice(start, min(start + SHARD, rows))
            ids = np.array([f"picture-{row}".encode() for row in range(own.start, own.stop)], dtype="S16")
            digests = rng.integers(0, 256, (len(ids), 32), dtype=np.uint8)
            content = Rows(features[own].astype(np.float16), labels[own], ids, digests)
            shard = Shard(key.feature_key.digest, digests[0].tobytes().hex(), own.start, own.stop, content)
            records.append(writer.put(shard, index, None, 1.0))
        writer.commit(records, dim, "float16", _provenance(rows))


def _provenance(rows: int) -> Provenance:
    return Provenance(rows, "none", "benchmarks/audit_scale.py", "00" * 32, "cpu", 1, "2026-01-01T00:00:00+00:00", {})


def audited(folder: Path) -> dict[str, Any]:
    """One audit by the command in this process: what each stage took."""
    import cli
    from headstart.auditing import audit

    took: dict[str, list[float]] = {}
    for stage, name in (("neighbours", "look"), ("heads", "_said")):
        setattr(audit, name, _timed(took, stage, getattr(audit, name)))
    given = ["audit", "--features-dir", str(folder), "--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "none")]
    _timed(took, "all", cli.cli.main)(given, standalone_mode=False)
    took["rest"] = [took["all"][i] - took["neighbours"][i] - took["heads"][i] for i in (0, 1)]
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    stages = {
        stage: dict(zip(("elapsed_s", "processor_s", "peak_bytes"), own, strict=False)) for stage, own in took.items()
    }
    return {"peak_bytes": peak, "processor_s": used.ru_utime + used.ru_stime, "stages": stages}


def _timed(took: dict[str, list[float]], stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **more: Any) -> Any:
        began = time.perf_counter(), time.process_time()
        found = function(*args, **more)
        took[stage] = [time.perf_counter() - began[0], time.process_time() - began[1]]
        took[stage].append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0)
        return found

    return run


@click.command(help=__doc__)
@click.option("--rows", "counts", type=int, multiple=True, default=(10_000, 20_000, 50_000), show_default=True)
@click.option("--dim", default=2048, show_default=True, help="Of rows that are made up.")
@click.option("--like", type=click.Path(exists=True, path_type=Path), multiple=True, help="Kept sets whose rows are taken.")
@click.option("--json", "target", type=click.Path(path_type=Path))
@click.option("--one", type=click.Path(path_type=Path), hidden=True)
def main(counts: tuple[int, ...], dim: int, like: tuple[Path, ...], target: Path | None, one: Path | None) -> None:
    """Make the sets, audit them, and print a line for each and one JSON document."""
    if one is not None:
        facts = audited(one)
        click.echo(json.dumps(facts))
        return
    found: list[dict[str, Any]] = []
    for rows in counts:
        with tempfile.TemporaryDirectory() as place:
            rng = np.random.default_rng(0)
            features, labels = repeated(like, rows, rng) if like else made_up(rows, dim, rng)
            make(Path(place), features, labels, rng)
            shape = features.shape
            del features
            began = time.perf_counter()
            done = subprocess.run([sys.executable, __file__, "--one", place], stdout=subprocess.PIPE, text=True, check=True)
            elapsed = time.perf_counter() - began
            found.append(
                {"rows": shape[0], "dim": shape[1], "elapsed_s": elapsed, **json.loads(done.stdout.splitlines()[-1])}
            )
        click.echo(json.dumps(found[-1]), err=True)
    facts = {"hardware": hardware(), "like": [one.name for one in like], "found": found}
    if target is not None:
        target.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    click.echo(json.dumps(facts))


if __name__ == "__main__":
    main()
