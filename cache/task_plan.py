"""What the tasks of a job array agree on, in a set's folder until its manifest is there: the plan, a record of each shard.

tasks.json       the plan: key, names, the shards' ranges, where the features come from; written by the first task
shard-00003.json what the manifest will say of a shard; written by the task that made it, after the shard
"""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import SHARED, canonical_json, pretty_json, read_json, sha256, write_durably
from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Provenance, ShardRecord
from headstart.core.cache.shard_plan import Part

NAME = "tasks.json"
FORMAT, VERSION = "headstart tasks", 1


@dataclasses.dataclass(frozen=True)
class TaskPlan:
    """The plan of a set that several commands make: as the manifest will have it, but for the shards. `stops` are the rows
    that they end before, rising; `images` is a digest of the ids, labels and class names that all tasks must see."""

    key: NamedKey
    split: str
    feature_dim: int
    dtype: str
    stops: tuple[int, ...]
    images: str
    provenance: Provenance

    @property
    def parts(self) -> list[Part]:
        """The shards."""
        return [Part(index, *span) for index, span in enumerate(itertools.pairwise((0, *self.stops)))]

    def of_task(self, number: int, count: int) -> list[Part]:
        """The shards of one of `count` tasks, counted from 1."""
        return self.parts[number - 1 :: count]

    def to_bytes(self) -> bytes:
        """The plan as the bytes of its file."""
        facts = {**dataclasses.asdict(self), "key": self.key.to_json()}
        return _sealed({"format": FORMAT, "version": VERSION, **facts})


def read_task_plan(folder: Path) -> TaskPlan | None:
    """The plan in a set's folder, None where there is none. Raises FeaturesDamaged, OSError."""
    path = folder / NAME
    try:
        found = _opened(path)
        if (found.pop("format"), found.pop("version")) != (FORMAT, VERSION):
            raise ValueError(f"expected {FORMAT!r} {VERSION}")
        origin = found["provenance"]
        plan = TaskPlan(
            **{
                **found,
                "key": NamedKey.from_json(found["key"]),
                "stops": tuple(found["stops"]),
                "provenance": Provenance(**{**origin, "notes": tuple(origin["notes"])}),
            }
        )
        if not all(type(stop) is int for stop in plan.stops) or not _rising((0, *plan.stops)):
            raise ValueError("its shards' ranges do not rise")
        return plan
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        way_out = "remove the file, and the next task of the array plans anew; shards that are right are kept"
        raise FeaturesDamaged(f"{path}: not a plan of ours ({error}); {way_out}") from error


def write_task_plan(folder: Path, plan: TaskPlan) -> None:
    """Put it into the set's folder. Raises OSError."""
    write_durably(folder / NAME, plan.to_bytes())


def write_record(folder: Path, record: ShardRecord) -> None:
    """Put what the manifest will say of a shard beside it; whoever holds the set's lock meanwhile lets it happen. Raises
    OSError."""
    write_durably(_beside(folder, record.file), _sealed(dataclasses.asdict(record)), SHARED)


def read_record(folder: Path, part: Part) -> ShardRecord | None:
    """The record of a shard; None where there is none that can be used: the shard can vouch for itself."""
    try:
        record = ShardRecord.from_json(_opened(_beside(folder, part.file)))
        return record if record.part == part else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def remove_task_plan(folder: Path) -> None:
    """Remove the plan and the records, which a manifest has replaced. Raises OSError."""
    (folder / NAME).unlink(missing_ok=True)
    for path in folder.glob("shard-*.json"):
        path.unlink(missing_ok=True)


def _beside(folder: Path, file: str) -> Path:
    return folder / f"{file.removesuffix('.h5')}.json"


def _rising(numbers: Sequence[int]) -> bool:
    return len(numbers) > 1 and all(one < other for one, other in itertools.pairwise(numbers))


def _sealed(document: dict[str, Any]) -> bytes:
    return pretty_json({**document, "sha256_of_this": sha256(canonical_json(document))})


def _opened(path: Path) -> dict[str, Any]:
    """Raises OSError, ValueError, and KeyError, TypeError or AttributeError for what is no document of ours."""
    found: dict[str, Any] = read_json(path)
    expected = found.pop("sha256_of_this")
    if sha256(canonical_json(found)) != expected:
        raise ValueError("its own sha256 is another")
    return found
