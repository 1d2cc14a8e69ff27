"""From words to work: the jobs that a command line asks for, and the backbone that a job or a trained head needs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from headstart.core.cache.errors import ImageUnreadable, WeightsMismatch, WeightsNotFound
from headstart.core.cache.key import FEATURE_VERSION, FeatureKey
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets, weights
from headstart.core.extract.backbones import POOLING, Backbone, get_backbone
from headstart.core.extract.config import STUDY_MODELS, ExtractConfig
from headstart.core.extract.images import Batch, Images
from headstart.core.extract.job import Job
from headstart.core.extract.naming import settled
from headstart.core.extract.network.devices import Device, resolve, resolve_like
from headstart.core.extract.network.loaded import NETWORKS
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.shards import computed
from headstart.core.extract.weights import Weights

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor
    from torch import nn


def expand_models(names: Sequence[str]) -> list[str]:
    """The models named, `all` standing for the study's four. Raises WeightsMismatch for unknown ones."""
    expanded = [model for name in names for model in (STUDY_MODELS if name == "all" else (name,))]
    return [get_backbone(name).name for name in dict.fromkeys(expanded)]


def weights_asked(model: str, requests: Sequence[str]) -> str | None:
    """Which of several `--weights` concerns this model: `MODEL=VALUE` before a bare VALUE, the last of each; None if none.

    Raises WeightsMismatch for a model that does not exist, and for an equals sign that nothing follows.
    """
    bare, own = None, None
    for request in requests:
        name, value = _parted(request)
        if name is None:
            bare = value
        elif name == model:
            own = value
    return own or bare


def check_weights_asked(models: Sequence[str], requests: Sequence[str]) -> None:
    """Raises WeightsMismatch for `MODEL=VALUE` where the command has no such model: it would do nothing."""
    for request in requests:
        name, _ = _parted(request)
        if name is not None and name not in models:
            raise WeightsMismatch(
                f"--weights {request}: this command uses {', '.join(models)}, not {name}; leave it out or add -m {name}"
            )


def _parted(request: str) -> tuple[str | None, str]:
    """`MODEL=VALUE` as its two parts, VALUE alone with None."""
    name, equals, value = request.partition("=")
    if not equals or "/" in name or "." in name:  # a path may hold an equals sign
        return None, request
    if not value:
        raise WeightsMismatch(f"--weights {request}: nothing follows the equals sign, expected MODEL=WEIGHTS")
    return get_backbone(name).name, value


def weights_for(model: str, requests: Sequence[str]) -> str:
    """As `weights_asked`, with the weights that are taken where none are asked for. Raises WeightsMismatch."""
    return weights_asked(model, requests) or ExtractConfig().weights


def plan(
    models: Sequence[str],
    dataset: str,
    split: str | None,
    requests: Sequence[str],
    config: ExtractConfig,
    data_dir: Path,
    store: FeatureStore | None = None,
) -> list[Job]:
    """One job for each model and split. Weights and images are located (torchvision's downloaded), nothing is computed.

    `store` is where the features will be kept: what is there already says what a folder of pictures is called, and in which
    order its rows are. Raises WeightsNotFound, WeightsMismatch, DataNotFound, DataInvalid, DeviceUnavailable.
    """
    names = datasets.splits(dataset, split, data_dir)
    images = [datasets.open_split(dataset, name, data_dir) for name in names]
    preprocessing = Preprocessing(image_size=config.image_size)
    found = []
    for model in expand_models(models):
        backbone, request = get_backbone(model), weights_for(model, requests)
        precision = (backbone.precision or "auto") if config.precision == "auto" else config.precision
        device, own = resolve(config.device, precision), dataclasses.replace(config, weights=request)
        origin = weights.locate(backbone, request)
        if precision == "auto" and device.precision == "fp16":
            device = _in_range(backbone, origin, preprocessing, device, images[0], config.workers)
        found.append((backbone, origin, device, own))
    jobs = [
        Job(part, backbone, origin, preprocessing, device, own)
        for backbone, origin, device, own in found
        for part in images
    ]
    return jobs if store is None else settled(jobs, store)


_LOOKED_AT = 16
"""Images that decide whether fp16 will do."""


def _in_range(
    backbone: Backbone, origin: Weights, preprocessing: Preprocessing, device: Device, images: Images, workers: int
) -> Device:
    """The device in fp16 where its range, 65,504, holds the network's numbers for the first images, else in fp32, said."""
    batch = images.read(0, min(images.rows, _LOOKED_AT), preprocessing.image_size, workers)
    if len(batch.rows) == 0:
        return device
    network = _network(backbone, origin, preprocessing, device, _LOOKED_AT)
    if np.isfinite(network(batch.pixels)).all():
        return device
    remark = f"{backbone.name}'s numbers are beyond fp16's range here: fp32 is used; --precision says another"
    return dataclasses.replace(device, precision="fp32", notes=(*device.notes, remark))


def load(job: Job, say: Callable[[str], None] = lambda _: None) -> FeatureExtractor:
    """The job's backbone on its device; the network that was used last is not loaded again. `say` is told what else its
    weight file holds. Raises WeightsMismatch."""
    return _network(job.backbone, job.weights, job.preprocessing, job.device, job.config.batch_size, say)


def _network(
    backbone: Backbone,
    origin: Weights,
    preprocessing: Preprocessing,
    device: Device,
    batch_size: int | None,
    say: Callable[[str], None] = lambda _: None,
) -> FeatureExtractor:
    def load_body() -> nn.Module:
        return weights.load(backbone, origin, say)

    return NETWORKS.get(backbone, origin, preprocessing, device, batch_size, load_body)


def restore(
    key: FeatureKey, weights_from: str, request: str | None, device: str, batch_size: int | None
) -> FeatureExtractor:
    """The backbone that features of `key` came from, so that new images get features of the same kind.

    Its weights are sought where they were (`weights_from`) unless `request` says where they are now. Raises
    WeightsMismatch, naming the field, where what is found would give other features; WeightsNotFound. A precision that the
    device has not got becomes fp32, and the device's notes say so.
    """
    backbone = get_backbone(key.backbone)
    for field, ours, theirs in (
        ("pooling", POOLING, key.pooling),
        ("feature_version", FEATURE_VERSION, key.feature_version),
        ("interpolation", Preprocessing().interpolation, key.interpolation),
    ):
        _expect(field, ours, theirs, "use the headstart that made them, or extract again and train a head on that")
    found = weights.locate(backbone, _recorded_weights(key, weights_from, request), "say where it is with --weights PATH")
    way_out = _OTHER_VERSIONS if key.untrained and found.label == key.weights else _OTHER
    _expect(f"weights_sha256 of {found.origin}", found.sha256, key.weights_sha256, way_out)
    if "#" in key.weights:
        _expect(f"the weights in {found.path}", found.label.partition("#")[2], key.weights.partition("#")[2], _OTHER)
    mean, std = ((values[0], values[1], values[2]) for values in (key.mean, key.std))
    preprocessing = Preprocessing(key.image_size, key.interpolation, mean, std)
    return _network(backbone, found, preprocessing, resolve_like(device, key.precision), batch_size)


def _recorded_weights(key: FeatureKey, weights_from: str, request: str | None) -> str:
    """What to ask `weights.locate` for: the member of a file that a head needs is in its key. Raises WeightsNotFound."""
    kind, mark, member = key.weights.partition("#")
    if kind != "file":
        return request or key.weights
    if request is None and weights.find(weights_from) is None:
        raise WeightsNotFound(
            f"{weights_from}: not there; the head's weights were at this path (SHA-256 {key.weights_sha256[:12]}…); "
            f"say where they are with --weights PATH"
        )
    asked = request or weights_from
    found = weights.find(asked)
    return f"{asked}#{member}" if mark and found and found[1] is None else asked


_OTHER = "give the right weights with --weights, or train a head on new features"
_OTHER_VERSIONS = "other versions of torch or torchvision drew those; extract again and train a head on that"


def stages(images: Images, extractor: FeatureExtractor, workers: int) -> dict[str, Any]:
    """The way from a split's rows to features as separate functions, for whoever wants to time them, and as `stream`, which
    does them all as an extraction does: the next batches under way while one is waited for.

    `read` and `stream` raise ImageUnreadable: a picture left out would shift the labels of those behind it.
    """
    size = extractor.preprocessing.image_size

    def check(batch: Batch) -> None:
        if batch.skipped:
            raise ImageUnreadable(f"{images.source}/{batch.skipped[0].id}: {batch.skipped[0].reason}")

    def read(start: int, stop: int) -> npt.NDArray[np.uint8]:
        batch = images.read(start, stop, size, workers)
        check(batch)
        return batch.pixels

    def stream(rows: int) -> Generator[npt.NDArray[np.float32], None, None]:
        with contextlib.closing(computed(images, extractor, (0, rows), size, workers, check)) as found:
            for _, features in found:
                assert features is not None  # only where pictures may be left out
                yield features

    return {
        "rows": images.rows,
        "batch_size": extractor.batch_size,
        "stream": stream,
        "read": read,
        "transfer": extractor.to_device,
        "preprocess": extractor.preprocess,
        "backbone": extractor.pool,
        "synchronize": extractor.synchronize,
    }


def _expect(field: str, found: object, expected: object, way_out: str) -> None:
    if found != expected:
        raise WeightsMismatch(f"{field} is {found}, the head's features were made with {expected}; {way_out}")
