"""A process to be killed: the command line's own extraction over pictures in memory, with a stand-in for the backbone.

    python tests/torture/worker.py FEATURES_DIR ROWS SHARD_ROWS [--delay S]

Only the backbone is replaced, so that signals, progress, locks, resuming and writing are those that users get. The last
line on stdout is {"computed": …, "digest": …}. With --read it is a reader instead, which loads the set until its stdin
is closed and counts what it got.
"""

import collections
import dataclasses
import functools
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from extract_samples import QuarterMeans, There, array_images, no_body, noise  # noqa: E402

from headstart import extraction  # noqa: E402
from headstart.console.options import Place  # noqa: E402
from headstart.core import cli  # noqa: E402
from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound  # noqa: E402
from headstart.core.cache.feature_set import FeatureSet  # noqa: E402
from headstart.core.cache.manifest import NAME  # noqa: E402
from headstart.core.cache.shard import Rows  # noqa: E402
from headstart.core.cache.store import FeatureStore  # noqa: E402
from headstart.core.extract import plan  # noqa: E402
from headstart.core.extract.backbones import Backbone  # noqa: E402
from headstart.core.extract.config import ExtractConfig  # noqa: E402
from headstart.core.extract.job import Job  # noqa: E402
from headstart.core.extract.network.devices import Device  # noqa: E402
from headstart.core.extract.network.interface import EngineConfig, Pending, TuningState  # noqa: E402
from headstart.core.extract.pictures.preprocess import Preprocessing  # noqa: E402
from headstart.core.extract.weights import Weights  # noqa: E402

TOTAL = 2048
"""Pictures in the data set; ROWS is the limit, so that a shorter set is a prefix of a longer one."""
DIM = 512
"""Makes a shard of 64 rows 128 KiB: large enough for a kill to hit it while it is being written."""
CLASSES = ("a", "b", "c")
PATIENCE_S = 120.0


@functools.cache
def pictures(seed: int) -> npt.NDArray[np.uint8]:
    """The data set's pixels, uint8 (TOTAL, 8, 8, 3)."""
    return noise(TOTAL, 8, seed)


def features(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Float32 (n, DIM): the quarters' means, each column with its own factor. No row depends on the others in a batch."""
    factors = np.arange(1, DIM // 4 + 1, dtype=np.float32)
    return (QuarterMeans()(images)[:, None, :] * factors[None, :, None]).reshape(len(images), DIM)


@functools.cache
def expected(seed: int, start: int, stop: int) -> Rows:
    """What a right set holds in these rows, computed without the code under test."""
    rows = np.arange(start, stop)
    ids = np.array([b"%d" % row for row in rows], dtype="S")
    return Rows(features(pictures(seed)[start:stop]), rows % len(CLASSES), ids)


def equal(found: Rows, wanted: Rows) -> bool:
    """Bit for bit, dtypes and shapes included; only the width of the ids' type may differ, as it does between shards."""
    pairs = [(getattr(found, name), getattr(wanted, name)) for name in ("features", "labels")]
    same = all((a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) for a, b in pairs)
    return same and found.ids.tolist() == wanted.ids.tolist()


CPU, AT_8 = Device("cpu", "fp32", "this CPU"), Preprocessing(8)


@dataclasses.dataclass
class StandIn:
    """An `Extractor` that sleeps `delay` seconds in each batch, and before its first waits for a file."""

    delay: float = 0.0
    hold: Path | None = None
    batch_size: int = 32
    parameters: str = "parameters of the stand-in"
    engine: str = "eager"
    concurrent_batches: int = 1
    device: Device = CPU
    preprocessing: Preprocessing = AT_8
    tuning: TuningState = dataclasses.field(default_factory=TuningState)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self._wait_for_file()
        end = time.monotonic() + self.delay
        while (left := end - time.monotonic()) > 0:  # in steps: a signal that comes just before a sleep waits for its end
            time.sleep(min(left, 0.05))
        return features(images)

    @property
    def host_variants(self) -> "Sequence[StandIn]":
        return (self,)

    def running(self, config: EngineConfig) -> "StandIn":
        """The same for batches of another size."""
        return dataclasses.replace(self, batch_size=config.batch_size, engine=config.engine)

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        """It has no device that could work on its own."""
        return There(self(images))

    def check_frozen(self) -> None:
        """It has nothing that could change."""

    def _wait_for_file(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.hold is not None and not self.hold.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.hold} never came")
            time.sleep(0.005)


def job(rows: int, shard_rows: int, dataset: str = "tiny", seed: int = 0, force: bool = False) -> Job:
    """The first `rows` pictures through the stand-in. Another `dataset`, which ends in a number, is of other images, as is
    another `seed`: equal ones would be copied."""
    seed += int("0" + dataset.lstrip("abcdefghijklmnopqrstuvwxyz"))
    return Job(
        images=dataclasses.replace(array_images(pictures(seed), CLASSES), name=dataset),
        backbone=Backbone("quarters", DIM, no_body),
        weights=Weights("file", "0" * 64, "nowhere"),
        preprocessing=AT_8,
        device=CPU,
        config=ExtractConfig(limit=rows, shard_rows=shard_rows, force=force),
    )


def write(folder: Path, task: Job, delay: float, hold: Path | None) -> dict[str, Any]:
    """The command line's extraction of one job."""
    plan.load = lambda *_: StandIn(delay, hold)  # type: ignore[assignment,return-value]
    settings = cli.Settings(folder, folder, folder, "cpu", json=False, verbose=False)
    outcome = extraction.run_job(settings, task, (), cli.terminal(settings))
    return {"computed": outcome.computed, "digest": outcome.features.manifest.digest}


def read(folder: Path, task: Job) -> dict[str, Any]:
    """Load the set in each way there is until stdin is closed, and once more; how often each kind of answer came."""
    closed, counts, ways = _closed(), collections.Counter[str](), _ways(FeatureStore(folder), task)
    while not closed.is_set():
        for way, find in ways.items():
            answer = _answer(way, find)
            counts[answer] += 1
            if answer in ("absent", "vanished"):
                time.sleep(0.001)  # nothing to load: leave the processor to whoever writes it
    return {"answers": counts, "last": {way: _answer(way, find) for way, find in ways.items()}}


def _closed() -> threading.Event:
    event = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        event.set()

    threading.Thread(target=watch, daemon=True).start()
    return event


def _ways(store: FeatureStore, task: Job) -> Mapping[str, Callable[[], FeatureSet | None]]:
    name = store.folder(task.named, task.images.split).name
    return {
        "open": lambda: store.open(task.named, task.images.split),
        "get": lambda: store.get(name),
        "sets": lambda: next(iter(store.sets()), None),
    }


def _answer(way: str, find: Callable[[], FeatureSet | None]) -> str:
    """What a reader got: `right`, or while the set is rewritten `absent`, `damaged` and `vanished` (the manifest, between
    finding and reading it). Anything else is a violation.
    """
    try:
        found = find()
        return "absent" if found is None else _judge(found)
    except FeaturesNotFound:
        return "absent"
    except FeaturesDamaged:
        return "damaged"
    except FileNotFoundError as error:
        return "vanished" if Path(str(error.filename)).name == NAME else f"{way}: {error!r}"
    except Exception as error:  # whatever it is, the harness is to see it
        return f"{way}: {error!r}"


def _judge(found: FeatureSet) -> str:
    rows, stop = found.load(), found.manifest.stop
    return "right" if any(equal(rows, expected(seed, 0, stop)) for seed in (0, 1)) else f"wrong numbers in {stop} rows"


@click.group(cls=cli.Commands)
def work() -> None:
    """The group whose signals and errors are handled as the command line handles its own."""


@work.command("extract")
@click.argument("folder", type=Place("FOLDER", remote=True))
@click.argument("rows", type=int)
@click.argument("shard_rows", type=int)
@click.option("--delay", type=float, default=0.0, help="Seconds that each batch takes at least.")
@click.option("--hold", type=click.Path(path_type=Path), help="The first batch waits for this file.")
@click.option("--dataset", default="tiny")
@click.option("--gate", is_flag=True, help="Say `ready`, then wait until stdin is closed.")
@click.option("--read", "reading", is_flag=True, help="Be a reader.")
def work_command(
    folder: Path, rows: int, shard_rows: int, delay: float, hold: Path | None, dataset: str, gate: bool, reading: bool
) -> None:
    """One run."""
    task = job(rows, shard_rows, dataset)
    if gate or reading:
        print("ready", flush=True)
    if gate:
        sys.stdin.read()
    print(json.dumps(read(folder, task) if reading else write(folder, task, delay, hold)), flush=True)


if __name__ == "__main__":
    work(["extract", *sys.argv[1:]])
