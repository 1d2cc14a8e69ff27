"""A head on disk: one safetensors file with its tensors and, as JSON in its header, all that is needed to use it.

    head.safetensors
    ├── tensors   mean (D,), std (D,), the parameters of its kind, and confidence.of_label (m,) float32
    └── metadata  headstart: {format, version, kind, config, dim, classes, rows, key, weights_from, licence, absent,
                  confidence, sha256}, the last one over the others and every tensor's name, dtype, shape and bytes

`licence` is that of the backbone's weights, `absent` are the indices of classes that had no training row, which the head
never predicts, `confidence` the temperature and the number of rows it was learned from. Each is left out where there is
none, and the version is the lowest that knows what is there: only a head that an older program would use wrongly is refused
by it.

safetensors itself accepts any flipped bit, hence the digest. Nothing here executes what it reads.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from headstart.core.cache.errors import RunDamaged, RunNotFound
from headstart.core.cache.files import canonical_json, parse_json, sha256, write_durably
from headstart.core.cache.key import NamedKey
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import Head

NAME = "head.safetensors"
FORMAT = "headstart head"
VERSION = 3
READABLE = (1, 2, 3)
"""Version 1 has no `absent`, version 2 no `confidence`."""
_OF_LABEL = "confidence.of_label"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A head with what it was trained on: class names in index order, the features' key, where the weights were and under
    which licence they are; and how sure it may be, None where that was not learned."""

    head: Head
    classes: tuple[str, ...]
    key: NamedKey
    weights_from: str
    confidence: Confidence | None = None
    licence: str = ""


def save(checkpoint: Checkpoint, path: Path) -> str:
    """Write the head durably; returns the SHA-256 of the file. Raises OSError."""
    content = to_bytes(checkpoint)
    write_durably(path, content)
    return sha256(content)


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The head as the bytes of its file: the same head gives the same."""
    facts, tensors = packed(checkpoint)
    # one entry only: safetensors writes several in an order of its own
    return save_tensors(tensors, metadata={"headstart": canonical_json(facts).decode()})


def packed(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A head as JSON facts and tensors on the CPU, which `unpacked` takes."""
    head, sure = checkpoint.head, checkpoint.confidence
    tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    if sure is not None:
        tensors[_OF_LABEL] = torch.from_numpy(sure.of_label)
    facts = {
        "format": FORMAT,
        "version": VERSION if sure else 2 if head.absent else 1,
        "kind": head.kind,
        "config": head.config.to_json(),
        "dim": head.dim,
        "rows": head.rows,
        "classes": checkpoint.classes,
        "key": checkpoint.key.to_json(),
        "weights_from": checkpoint.weights_from,
        **({"licence": checkpoint.licence} if checkpoint.licence else {}),
        **({"absent": head.absent} if head.absent else {}),
        **({"confidence": {"temperature": sure.temperature, "rows": sure.rows}} if sure else {}),
    }
    return {**facts, "sha256": _digest(facts, tensors)}, tensors


def load(path: Path) -> Checkpoint:
    """Read a head written by `save`, on the CPU and ready to use. Raises RunNotFound, RunDamaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunNotFound(f"{path}: can't be read ({error.strerror}); expected a {NAME} or the run's folder") from error
    try:
        return _parse(content)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunDamaged(
            f"{path}: not a head of ours, or altered ({reason}); `headstart train-head` makes a new one"
        ) from error


def _parse(content: bytes) -> Checkpoint:
    size = int.from_bytes(content[:8], "little")  # the format: a length, a JSON header, the tensors' bytes
    header = parse_json(content[8 : 8 + size])
    return unpacked(parse_json(header["__metadata__"]["headstart"].encode()), load_tensors(content))


def unpacked(packed_facts: Mapping[str, Any], packed_tensors: Mapping[str, torch.Tensor]) -> Checkpoint:
    """The head that `packed` gave, on the CPU and ready to use. Raises ValueError, TypeError, KeyError, RuntimeError,
    AttributeError for anything else."""
    facts, tensors = dict(packed_facts), dict(packed_tensors)
    form = (facts.get("format"), facts.get("version"))
    if (
        form[0] != FORMAT or type(form[1]) is not int or form[1] not in READABLE
    ):  # before the digest, which another version may take over other things
        raise ValueError(f"format {form[0]!r} version {form[1]!r}, expected {FORMAT!r} {VERSION}")
    expected = facts.pop("sha256")
    if (found := _digest(facts, tensors)) != expected:
        raise ValueError(f"SHA-256 of its contents is {found[:12]}…, expected {expected[:12]}…")
    sure = _confidence(facts.get("confidence"), tensors.pop(_OF_LABEL, None))
    key, head = NamedKey.from_json(facts["key"]), _head(facts, tensors)
    return Checkpoint(head, tuple(facts["classes"]), key, facts["weights_from"], sure, str(facts.get("licence", "")))


def _confidence(found: dict[str, Any] | None, of_label: torch.Tensor | None) -> Confidence | None:
    if found is None or of_label is None:
        return None
    temperature = float(found["temperature"])
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature {temperature}, expected a number above 0")
    return Confidence(temperature, of_label.numpy(), int(found["rows"]))


def _head(facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Head:
    config = TrainConfig.from_json(facts["config"])
    head = kind(facts["kind"])(int(facts["dim"]), len(facts["classes"]), config, int(facts["rows"]))
    head.load_state_dict(tensors)
    head.never([int(i) for i in facts.get("absent", ())])
    return head.eval().requires_grad_(False)


def _digest(facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    parts: list[bytes] = [canonical_json(facts)]
    for name, value in sorted(tensors.items()):
        parts.append(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        parts.append(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha256(*parts)
