"""How a set's features are computed, where that may change their last bits: a resumed run must go on in the same way."""

import dataclasses
from pathlib import Path

from headstart.core.cache.files import canonical_json, pretty_json, read_json, sha256
from headstart.core.cache.manifest import Manifest

NAME = "execution.json"
FORMAT, VERSION = "headstart execution", 1


@dataclasses.dataclass(frozen=True)
class Execution:
    """The engine and the images of each forward pass, chosen for a plan of `rows` rows on `device`; and where these images
    come from, which names their data set before a manifest does."""

    engine: str
    batch_size: int
    rows: int
    device: str
    data_from: str = dataclasses.field(default="", compare=False)

    @classmethod
    def of(cls, manifest: Manifest) -> "Execution":
        """How the features of a complete set were computed."""
        origin = manifest.provenance
        return cls(origin.engine, origin.batch_size, manifest.stop, origin.device, origin.data_from)

    def to_bytes(self) -> bytes:
        """The record as the bytes of its file."""
        facts = {name: value for name, value in dataclasses.asdict(self).items() if (name, value) != ("data_from", "")}
        document = {"format": FORMAT, "version": VERSION, **facts}
        return pretty_json({**document, "sha256": sha256(canonical_json(document))})


def read_execution(folder: Path) -> Execution | None:
    """The record in `folder`; None where there is none that can be used: the choice is then made anew."""
    try:
        found = read_json(folder / NAME)
        expected = found.pop("sha256")
        if sha256(canonical_json(found)) != expected or (found.pop("format"), found.pop("version")) != (FORMAT, VERSION):
            return None
        execution = Execution(**found)
        kinds = [type(value) for value in dataclasses.astuple(execution)]
        return execution if kinds == [str, int, int, str, str] and execution.batch_size > 0 else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
