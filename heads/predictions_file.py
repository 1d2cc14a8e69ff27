"""What a head said of the rows it was tested on, kept beside its record: one safetensors file.

    predictions.safetensors
    ├── tensors   probabilities (N, C) float32, predicted, labels and rows (N,) int64
    └── metadata  headstart: {format, version, classes, head_sha256, sha256}, the last one over the others and every tensor

A head that was tested by cross-validation can't be tested again: the head that is kept was trained on all rows. So these
are kept for it. `head_sha256` names the head's file that they belong to. Nothing here executes what it reads.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from headstart.core.cache.errors import RunDamaged
from headstart.core.cache.files import canonical_json, parse_json, read_regular, sha256, write_durably
from headstart.core.heads.statistics.outcomes import Outcomes

NAME = "predictions.safetensors"
FORMAT, VERSION = "headstart predictions", 1
MOST_BYTES = 16 * 2**30
_DTYPES = {"probabilities": np.float32, "predicted": np.int64, "labels": np.int64, "rows": np.int64}


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """Of the rows `rows` (N,) int64, numbered as in their split: the outcomes, and the class names in the order of their
    columns. Raises ValueError where these are not of the same rows and classes, or a row stands twice."""

    rows: npt.NDArray[np.int64]
    outcomes: Outcomes
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = self.outcomes.probabilities.shape
        if (self.rows.shape, self.rows.dtype.kind) != ((shape[0],), "i") or (self.rows < 0).any():
            raise ValueError(f"rows are {self.rows.dtype} of shape {self.rows.shape}, expected {shape[0]} row numbers")
        if len(np.unique(self.rows)) != len(self.rows):
            raise ValueError("a row has two predictions, expected one")
        if len(self.classes) != shape[1]:
            raise ValueError(f"{len(self.classes)} class names for {shape[1]} columns of probabilities")


def save(found: Kept, head_sha256: str, folder: Path) -> Path:
    """Write the predictions of the head with this SHA-256 durably into its run's folder; returns the file. Raises
    OSError."""
    outcomes = found.outcomes
    values = {"probabilities": outcomes.probabilities, "predicted": outcomes.predicted, "labels": outcomes.labels}
    tensors = {
        name: np.ascontiguousarray(value, dtype=_DTYPES[name]) for name, value in {**values, "rows": found.rows}.items()
    }
    facts = {"format": FORMAT, "version": VERSION, "classes": found.classes, "head_sha256": head_sha256}
    text = canonical_json({**facts, "sha256": _digest(facts, tensors)}).decode()
    write_durably(folder / NAME, save_tensors(tensors, metadata={"headstart": text}))
    return folder / NAME


def load(folder: Path, head_sha256: str) -> Kept | None:
    """The predictions in a run's folder, None where none were kept.

    Raises RunDamaged where they are altered, not of our layout, or of another head than that with this SHA-256; OSError.
    """
    path = folder / NAME
    try:
        found, belongs_to = _parse(read_regular(path, MOST_BYTES))
    except FileNotFoundError:
        return None
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunDamaged(f"{path}: not predictions of ours, or altered ({error}); train the head again") from error
    if belongs_to != head_sha256:
        raise RunDamaged(f"{path}: of the head {belongs_to[:12]}…, the run's is {head_sha256[:12]}…; train the head again")
    return found


def _parse(content: bytes) -> tuple[Kept, str]:
    size = int.from_bytes(content[:8], "little")  # the format: a length, a JSON header, the tensors' bytes
    facts = parse_json(parse_json(content[8 : 8 + size])["__metadata__"]["headstart"].encode())
    form = (facts["format"], facts["version"])
    if form[0] != FORMAT or type(form[1]) is not int or form[1] != VERSION:
        raise ValueError(f"format {form[0]!r} version {form[1]!r}, expected {FORMAT!r} {VERSION}")
    expected, tensors = facts.pop("sha256"), load_tensors(content)
    if (digest := _digest(facts, tensors)) != expected:
        raise ValueError(f"SHA-256 of its contents is {digest[:12]}…, expected {str(expected)[:12]}…")
    if (kinds := {name: value.dtype for name, value in tensors.items()}) != _DTYPES:
        raise ValueError(f"holds {', '.join(f'{name} {kind}' for name, kind in sorted(kinds.items()))}")
    outcomes = Outcomes(tensors["labels"], tensors["predicted"], tensors["probabilities"])
    (belongs_to,) = _texts([facts["head_sha256"]])
    return Kept(tensors["rows"], outcomes, _texts(facts["classes"])), belongs_to


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{found!r} where names were expected")
    return tuple(found)


def _digest(facts: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    parts: list[bytes] = [canonical_json(facts)]
    for name, value in sorted(tensors.items()):
        parts += [json.dumps([name, str(value.dtype), list(value.shape)]).encode(), value.tobytes()]
    return sha256(*parts)
