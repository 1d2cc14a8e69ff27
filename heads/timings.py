"""What `bench-inference` measured, kept beside the run: one timing for each set of images and each way of running.

`bench.json` holds a list. A timing is found again by all that it depends on, so that no other's passes for the run's own.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import RunDamaged
from headstart.core.cache.files import pretty_json, read_json, write_durably
from headstart.core.heads.runs import Run

NAME = "bench.json"
FORMAT, VERSION = "headstart bench", 2


@dataclasses.dataclass(frozen=True)
class Way:
    """How inference was run: the device by its name for people, the precision, the engine and the images at once."""

    device: str
    precision: str
    engine: str
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Timing:
    """Inference over the first `images` of the `split_rows` images of a split, in seconds.

    `images_digest` names the split's images by content (`cache.manifest.Manifest.images_digest`), and is empty where no
    feature set could tell. `stages_s` are per image in batches, `latency_s` of single images by percentile. `asked` is the
    engine and the batch size asked for, None where they were left open. `accuracy` is None where it would be no test.
    """

    head: str
    dataset: str
    split: str
    images_digest: str
    images: int
    split_rows: int
    way: Way
    asked: tuple[str, int | None]
    repeats: int
    elapsed_s: float
    images_per_s: float
    stages_s: Mapping[str, float]
    latency_s: Mapping[str, float]
    latency_images: int
    accuracy: float | None
    peak_memory_bytes: int
    created: str

    def replaces(self, other: "Timing") -> bool:
        """Whether the other timing is of the same images in the same way, so that only the newer one is kept."""
        return _measured(self) == _measured(other)


def _measured(found: Timing) -> tuple[object, ...]:
    images = found.images_digest or (found.dataset, found.split, found.split_rows)
    return images, found.images, found.way


def of_the_run(run: Run, timings: Sequence[Timing]) -> Timing | None:
    """The timing of the run's own test images: of the most images, and of these the newest. None where there is none."""
    own = [found for found in timings if found.images_digest and found.images_digest == run.test.images]
    return max(own, key=lambda found: (found.images, found.created), default=None)


def read(root: Path, run: Run) -> tuple[Timing, ...]:
    """Every timing that is kept beside the run in the runs directory `root`, oldest first. Raises RunDamaged.

    A record of version 1 counts as none: it cannot say which images it is of.
    """
    path = root / run.name / NAME
    try:
        found = read_json(path)
        if not isinstance(found, dict):
            raise ValueError("holds no object")
        form, version = found.get("format", FORMAT), found.get("version", 1)  # the first records carried neither
        if form != FORMAT or type(version) is not int or version not in (1, VERSION):
            raise ValueError(f"format {form!r} version {version!r}, expected {FORMAT!r} {VERSION}")
        return tuple(_timing(one) for one in found["timings"]) if version == VERSION else ()
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunDamaged(f"{path}: {error}; remove it, and `headstart bench-inference` makes it anew") from error


def _timing(found: Mapping[str, Any]) -> Timing:
    engine, batch_size = found["asked"]
    timing = Timing(**{**found, "way": Way(**found["way"]), "asked": (engine, batch_size)})
    if not all(isinstance(value, int | float) for value in (timing.images, timing.split_rows, timing.elapsed_s)):
        raise ValueError("holds a timing without its images or seconds")
    return timing


def add(root: Path, run: Run, timing: Timing) -> None:
    """Keep a timing beside the run, in the place of one that it replaces. Raises RunDamaged, OSError."""
    kept = [found for found in read(root, run) if not timing.replaces(found)]
    document = {"format": FORMAT, "version": VERSION, "timings": [dataclasses.asdict(found) for found in (*kept, timing)]}
    write_durably(root / run.name / NAME, pretty_json(document))
