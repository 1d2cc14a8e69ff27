"""Training on features larger than memory: peak memory, time and accuracy beside the same training in memory.

    .venv/bin/python benchmarks/memory.py --json memory.json
    .venv/bin/python benchmarks/memory.py --head ridge --memory 200MB --rows 375000 --dim 2048

Makes synthetic feature sets (through the writer, as `extract` would) in a folder that is removed again: a training set
of the rows asked for, 1.5 GB by default, and a test set. Classes are noisy directions. Each training is a process of its
own. Its memory is what Linux says that was resident at most (VmHWM), less what was resident before the training began,
with all modules imported and the optimiser's own loaded: so the data, and all that is computed from it. Bytes read are
those of all passes; the speed of plain reading is that of the files, one after the other, from the same page cache or disk.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from hardware import hardware

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from synthetic import synthetic_key

from headstart.core.cache.arguments import nbytes
from headstart.core.cache.manifest import Provenance
from headstart.core.cache.row_reader import RowReader
from headstart.core.cache.shard import Rows, Shard
from headstart.core.cache.store import FeatureStore

CLASSES = 10
HEADS = ("ridge", "logreg", "mlp", "auto")


def make(folder: Path, rows: int, dim: int, test_rows: int, shard_rows: int, ordered: bool) -> None:
    """The training and the test set."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, dim), dtype=np.float32)
    mixing = np.exp(rng.standard_normal(dim, dtype=np.float32))
    key = synthetic_key(tuple(f"class {i}" for i in range(CLASSES)))
    for split, count in (("train", rows), ("test", test_rows)):
        labels = rng.integers(0, CLASSES, count)
        labels = np.sort(labels) if ordered else labels
        with FeatureStore(folder).writing(key, split, lambda: None) as writer:
            records = []
            for index, start in enumerate(range(0, count, shard_rows)):
                own = labels[start : start + shard_rows]
                noise = rng.standard_normal((len(own), dim), dtype=np.float32)
                features = (0.055 * centres[own] + noise) * mixing
                ids = np.array([f"{split}-{row}".encode() for row in range(start, start + len(own))], dtype="S16")
                digests = rng.integers(0, 256, (len(own), 32), dtype=np.uint8)
                content = Rows(features.astype(np.float16), own.astype(np.int64), ids, digests)
                shard = Shard(key.feature_key.digest, digests[0].tobytes().hex(), start, start + len(own), content)
                records.append(writer.put(shard, index, None, 1.0))
            writer.commit(records, dim, "float16", _provenance(count, "unknown" if ordered else "mixed"))


def _provenance(rows: int, order: Any) -> Provenance:
    return Provenance(
        rows, "none", "benchmarks/memory.py", "00" * 32, "cpu", 1, "2026-01-01T00:00:00+00:00", {}, order=order
    )


def resident(what: str) -> int:
    """Bytes of this process: VmRSS or VmHWM."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def measured(folder: Path, head: str, memory: int | None, epochs: int | None) -> dict[str, Any]:
    """One training in this process, and what it took."""
    import scipy.optimize  # noqa: F401
    import sklearn.metrics  # noqa: F401

    from headstart.core.heads import data
    from headstart.core.heads.config import changed
    from headstart.core.heads.feature_choice import ANY
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.sessions import session

    store = FeatureStore(folder)
    (pair,) = data.choose(data.pairs(store, ["synthetic"], ANY), ["synthetic"], folder)
    read, plain = [0], RowReader.read

    def counted(self: RowReader, chunk: int) -> Any:
        found = plain(self, chunk)
        read[0] += found.nbytes
        return found

    RowReader.read = counted  # type: ignore[method-assign]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far is that of the imports
    before, started = resident("VmRSS"), time.perf_counter()
    config = changed("standard", {"head": head, **({} if epochs is None else {"epochs": epochs})})
    with tempfile.TemporaryDirectory() as runs:
        (run,) = session.fit(pair, [config], "cpu", "cpu", RunStore(Path(runs)), lambda _: None, memory=memory)
    took, peak = time.perf_counter() - started, resident("VmHWM") - before
    chosen = run.selection.config if run.selection else run.config
    return {
        "head": head,
        "memory": memory,
        "in_blocks": run.in_blocks is not None,
        "elapsed_s": round(took, 1),
        "peak_bytes": peak,
        "before_bytes": before,
        "read_bytes": read[0],
        "accuracy": run.evaluation.overall.accuracy,
        "log_loss": run.evaluation.measures.get("log_loss"),
        "chosen": f"{chosen.head} penalty={chosen.penalty}",
        "notes": run.notes,
    }


def plain_reading(folder: Path) -> float:
    """Bytes per second of all files, read one after the other."""
    piece, done, started = bytearray(2**20), 0, time.perf_counter()
    for path in sorted(folder.rglob("*.h5")):
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(piece):
                done += count
    return done / (time.perf_counter() - started)


@click.command(help=__doc__)
@click.option("--head", "heads", multiple=True, default=HEADS)
@click.option("--memory", default="200MB", show_default=True)
@click.option("--rows", default=375_000, show_default=True)
@click.option("--test-rows", default=10_000, show_default=True)
@click.option("--dim", default=2048, show_default=True)
@click.option("--epochs", type=int, help="Of the mlp. [default: as without --epochs]")
@click.option("--shard-rows", default=2048, show_default=True)
@click.option("--ordered", is_flag=True, help="Rows sorted by class, as those of folders are.")
@click.option("--blocks-only", is_flag=True, help="Without the trainings in memory.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the sets are, or are made and kept.")
@click.option("--json", "target", type=click.Path(path_type=Path))
@click.option("--one", type=str, hidden=True)
def main(
    heads: tuple[str, ...],
    memory: str,
    rows: int,
    test_rows: int,
    dim: int,
    epochs: int | None,
    shard_rows: int,
    ordered: bool,
    blocks_only: bool,
    folder: Path | None,
    target: Path | None,
    one: str | None,
) -> None:
    """Make the sets, train, and print a line for each training and one JSON document."""
    if one is not None and folder is not None:
        click.echo(json.dumps(measured(folder, one, nbytes("--memory", memory) if memory else None, epochs)))
        return
    with contextlib.nullcontext(folder) if folder else tempfile.TemporaryDirectory() as place:
        where = Path(str(place))
        if not any(where.glob("*/manifest.json")):
            make(where, rows, dim, test_rows, shard_rows, ordered)
        found: list[dict[str, Any]] = []
        for head in heads:
            for most in (memory,) if blocks_only else (memory, ""):
                call = [sys.executable, __file__, "--one", head, "--folder", str(where), "--memory", most]
                call += [] if epochs is None else ["--epochs", str(epochs)]
                done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
                found.append(json.loads(done.stdout))
                click.echo(json.dumps(found[-1]), err=True)
        facts = {"hardware": hardware(), "rows": rows, "dim": dim, "found": found}
        facts["plain_bytes_per_s"] = plain_reading(where)
        if target is not None:
            target.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        click.echo(json.dumps(facts))


if __name__ == "__main__":
    main()
