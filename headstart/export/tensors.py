"""A trained head with its backbone as tensors: one safetensors file, which torchvision or timm and twenty lines run.

    model.safetensors
    ├── tensors   the backbone's, by the names of its source, without the classifier;
    │             headstart.head.NAME: the head's, as in head.safetensors
    └── metadata  headstart: {format, version, architecture, pooling, transform, classes, temperature, calibrated,
                  licence, precision, weights, digests, head, sha256}, and what the writer adds; sha256 is over all others

The backbone's parameters are those that were loaded, in float32, whatever precision the head's features were computed in:
a network in low precision has its BatchNorm folded into its convolutions, and then has other names and numbers. `head` are
the facts of head.safetensors. `digests` name both parts, so that `sha256` speaks for every tensor too. The file is also one
that `extract --weights` takes. Nothing here executes what it reads.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from headstart.core.cache.errors import ArgumentInvalid, HeadstartError, RunDamaged, RunNotFound
from headstart.core.cache.files import (
    canonical_json,
    make_folder,
    parse_json,
    sha256,
    sha256_file,
    sync_folder,
    write_durably,
)
from headstart.core.cache.key import FeatureKey
from headstart.core.extract import weights
from headstart.core.extract.network.devices import resolve
from headstart.core.extract.network.extractor import build, state_digest
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.pooling import of_key
from headstart.core.extract.weights import Weights
from headstart.core.heads import checkpoint as checkpoints
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.predict import calibrated
from headstart.core.heads.training.train import scores

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor
    from headstart.inference.trained import TrainedHead

FORMAT, VERSION = "headstart model", 1
OURS = "headstart."
"""What the names begin with that are not the backbone's: `head.` would be a part of ConvNeXt."""
HEAD = f"{OURS}head."
TOLERANCE = 1e-5
"""How far probabilities may be apart that the same network gives from two places in memory."""
_DAMAGES = (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, AttributeError)

Shares = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Model:
    """A head and its backbone as a file has them, with all that the file's metadata say."""

    checkpoint: Checkpoint
    extractor: FeatureExtractor
    facts: Mapping[str, Any]

    def probabilities(self, images: npt.NDArray[np.uint8]) -> Shares:
        """uint8 (N, S, S, 3), resized and cropped as `facts["transform"]` says, to calibrated probabilities (N, C)."""
        return probabilities(self.checkpoint, self.extractor, images)


def probabilities(checkpoint: Checkpoint, extractor: FeatureExtractor, images: npt.NDArray[np.uint8]) -> Shares:
    """Pictures as the backbone sees them, uint8 (N, S, S, 3), to calibrated probabilities (N, C). Raises OutOfMemory."""
    return calibrated(checkpoint, scores(checkpoint.head.to("cpu"), extractor(images), "cpu").numpy())


def write_safetensors(
    head: TrainedHead, extractor: FeatureExtractor, path: Path, more: Mapping[str, Any] | None = None
) -> str:
    """Write a head and its backbone as one file; returns the file's SHA-256. `more` are further facts for its metadata, as
    JSON values, such as test pictures with their probabilities.

    `extractor` is the backbone in fp32, since in any other precision it does not have its parameters any more. The file is
    read back, and must give the probabilities that the two give, before it has its name. Raises ArgumentInvalid for another
    precision, another backbone or transform than the head's, and for names in `more` that the format has; RunDamaged where
    what was read back differs; OSError.
    """
    _check_fits(head.checkpoint, extractor)
    facts, tensors = _contents(head.checkpoint, extractor, more or {})
    content = save_tensors(tensors, metadata={"headstart": canonical_json(facts).decode()})
    del tensors
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        write_durably(draft, content)
        _check_same(path, read_safetensors(draft, extractor.device.name), head.checkpoint, extractor)
        os.replace(draft, path)
    sync_folder(path.parent)
    return sha256(content)


def _check_fits(checkpoint: Checkpoint, extractor: FeatureExtractor) -> None:
    """Raise ArgumentInvalid unless it is the head's backbone as it was loaded."""
    if extractor.device.precision != "fp32" or extractor.frozen != extractor.parameters:
        raise ArgumentInvalid(
            f"the backbone is in {extractor.device.precision}, expected fp32: in another precision its parameters are not "
            f"those that were loaded; restore it with the key's precision replaced by fp32"
        )
    if extractor.preprocessing != Preprocessing.of_key(checkpoint.key):
        raise ArgumentInvalid(f"the backbone's transform is {extractor.preprocessing}, the head's is another")
    key = checkpoint.key
    with torch.device("meta"):
        expected = of_key(key, key.image_size).body().state_dict()
    if (found := extractor.body.state_dict()).keys() != expected.keys():
        other = sorted(found.keys() ^ expected.keys())[0]
        raise ArgumentInvalid(f"the backbone is not {key.backbone} ({key.pooling}), the head's: only one has {other!r}")


def _contents(
    checkpoint: Checkpoint, extractor: FeatureExtractor, more: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The metadata and the tensors of a file."""
    about_head, of_head = checkpoints.packed(checkpoint)
    facts = _facts(checkpoint, extractor.parameters, about_head)
    if taken := sorted({*facts, "sha256"} & more.keys()):
        raise ArgumentInvalid(f"further facts are called {', '.join(taken)}, which the format has already; expected others")
    facts |= more
    tensors = {name: _own(value) for name, value in extractor.body.state_dict().items()}
    tensors |= {f"{HEAD}{name}": value for name, value in of_head.items()}
    # through JSON once: a tuple is a list when it is read back
    return {**facts, "sha256": sha256(canonical_json(parse_json(canonical_json(facts))))}, tensors


def _own(value: torch.Tensor) -> torch.Tensor:
    """The tensor in memory of its own: safetensors refuses two that share some."""
    return value.detach().cpu().contiguous().clone()


def _facts(checkpoint: Checkpoint, parameters: str, about_head: Mapping[str, Any]) -> dict[str, Any]:
    """What the metadata say of a head and of a backbone with this digest."""
    key, transform, sure = checkpoint.key, Preprocessing.of_key(checkpoint.key), checkpoint.confidence
    digests = {"backbone": parameters, "head": about_head["sha256"], "weights": key.weights_sha256}
    return {
        "format": FORMAT,
        "version": VERSION,
        "architecture": key.backbone,
        "pooling": key.pooling,
        "transform": _transform(transform),
        "classes": list(checkpoint.classes),
        "temperature": sure.temperature if sure else 1.0,
        "calibrated": sure is not None,
        "licence": checkpoint.licence or "not recorded",
        "weights": {"name": key.weights, "from": checkpoint.weights_from},
        "precision": {"parameters": "float32", "features_learned_from": key.precision},
        "digests": digests,
        "head": dict(about_head),
    }


def _transform(found: Preprocessing) -> dict[str, Any]:
    """What happens to a picture, by value and in words; sizes in pixels."""
    own = {field.name: getattr(found, field.name) for field in dataclasses.fields(found) if field.name != "view"}
    return {**own, "resize": found.resize or found.image_size, "words": found.words}


def read_safetensors(path: Path, device: str = "cpu", batch_size: int | None = None) -> Model:
    """A head and its backbone, rebuilt from their file alone and checked against its digests, in fp32.

    Raises RunNotFound where there is no such file, RunDamaged for one that is altered or not of our layout, WeightsMismatch
    where this version builds another backbone of that name, DeviceUnavailable.
    """
    try:
        digest = sha256_file(path)
        with safe_open(path, "pt") as file:
            facts = _checked((file.metadata() or {})["headstart"])
            of_head = {name.removeprefix(HEAD): file.get_tensor(name) for name in file.keys() if name.startswith(HEAD)}  # noqa: SIM118
        checkpoint = checkpoints.unpacked(facts["head"], of_head)
        _expect_derived(facts, checkpoint)
    except HeadstartError:
        raise
    except OSError as error:
        raise RunNotFound(
            f"{path}: can't be read ({error.strerror}); expected a file that `headstart export model.safetensors` made"
        ) from error
    except _DAMAGES as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunDamaged(
            f"{path}: not a model of ours, or altered ({reason}); `headstart export model.safetensors` makes a new one"
        ) from error
    return Model(checkpoint, _rebuilt(path, digest, facts, checkpoint.key, device, batch_size), facts)


def _checked(text: str) -> dict[str, Any]:
    """The metadata, which agree with their digest. Raises ValueError, TypeError, KeyError."""
    facts: dict[str, Any] = dict(parse_json(text.encode()))
    form = (facts.get("format"), facts.get("version"))
    if form != (FORMAT, VERSION) or type(form[1]) is not int:
        raise ValueError(f"format {form[0]!r} version {form[1]!r}, expected {FORMAT!r} {VERSION}")
    rest = {name: value for name, value in facts.items() if name != "sha256"}
    if (found := sha256(canonical_json(rest))) != facts["sha256"]:
        raise ValueError(f"SHA-256 of its metadata is {found[:12]}…, expected {str(facts['sha256'])[:12]}…")
    return facts


def _expect_derived(facts: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Raise ValueError where what the metadata say for others is not what the head's own facts say."""
    expected = parse_json(canonical_json(_facts(checkpoint, str(facts["digests"]["backbone"]), facts["head"])))
    if wrong := [name for name, value in expected.items() if facts.get(name) != value]:
        raise ValueError(f"{wrong[0]} is {str(facts.get(wrong[0]))[:60]}, and its head says {str(expected[wrong[0]])[:60]}")


def _rebuilt(
    path: Path, digest: str, facts: Mapping[str, Any], key: FeatureKey, device: str, batch_size: int | None
) -> FeatureExtractor:
    """The backbone with the file's tensors."""
    where = resolve(device, "fp32")
    body = weights.load(of_key(key, key.image_size), Weights("file", digest, str(path), path))
    if (found := state_digest(body)) != facts["digests"]["backbone"]:
        raise RunDamaged(
            f"{path}: the backbone's SHA-256 is {found[:12]}…, expected {facts['digests']['backbone'][:12]}…; "
            f"`headstart export model.safetensors` makes a new one"
        )
    return build(body, Preprocessing.of_key(key), where, where.batch_size(batch_size))


def _check_same(path: Path, again: Model, checkpoint: Checkpoint, extractor: FeatureExtractor) -> None:
    """Raise RunDamaged where what was read back says something else of two pictures of noise."""
    side = extractor.preprocessing.image_size
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    expected = probabilities(checkpoint, extractor, images)
    apart = float(np.abs(again.probabilities(images) - expected).max())
    if not apart <= TOLERANCE:
        raise RunDamaged(
            f"{path}: what was written gives probabilities that are {apart:.2g} apart from the head's, expected "
            f"{TOLERANCE:g} at most; nothing was kept, export again"
        )
