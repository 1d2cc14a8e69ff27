"""From words to work: the jobs that a command line asks for, and the backbone that a job or a trained head needs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cache.errors import ImageUnreadable, WeightsMismatch
from cache.key import FEATURE_VERSION, FeatureKey
from extract import datasets, weights
from extract.backbones import POOLING, Backbone, get_backbone
from extract.config import STUDY_MODELS, ExtractConfig
from extract.devices import Device, resolve, resolve_like
from extract.images import Batch, Images
from extract.job import Job
from extract.networks import NETWORKS
from extract.preprocess import Preprocessing
from extract.shards import computed
from extract.weights import Weights

if TYPE_CHECKING:
    from extract.pooled import FeatureExtractor


def expand_models(names: Sequence[str]) -> list[str]:
    """The models named, `all` standing for the study's four. Raises WeightsMismatch for unknown ones."""
    expanded = [model for name in names for model in (STUDY_MODELS if name == "all" else (name,))]
    return [get_backbone(name).name for name in dict.fromkeys(expanded)]


def weights_asked(model: str, requests: Sequence[str]) -> str | None:
    """Which of several `--weights` concerns this model: `MODEL=VALUE` before a bare VALUE, the last of each; None if none.

    Raises WeightsMismatch for a model that does not exist.
    """
    bare, own = None, None
    for request in requests:
        name, equals, value = request.partition("=")
        if not equals or "/" in name or "." in name:  # a path may hold an equals sign
            bare = request
        elif get_backbone(name).name == model:
            own = value
    return own or bare


def weights_for(model: str, requests: Sequence[str]) -> str:
    """As `weights_asked`, with the weights that are taken where none are asked for. Raises WeightsMismatch."""
    return weights_asked(model, requests) or ExtractConfig().weights


def plan(
    models: Sequence[str], dataset: str, split: str | None, requests: Sequence[str], config: ExtractConfig, data_dir: Path
) -> list[Job]:
    """One job for each model and split. Weights and images are located (torchvision's downloaded), nothing is computed.

    Raises WeightsNotFound, WeightsMismatch, DataNotFound, DataInvalid, DeviceUnavailable.
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
    return [
        Job(part, backbone, origin, preprocessing, device, own)
        for backbone, origin, device, own in found
        for part in images
    ]


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


def load(job: Job) -> FeatureExtractor:
    """The job's backbone on its device; the network that was used last is not loaded again. Raises WeightsMismatch."""
    return _network(job.backbone, job.weights, job.preprocessing, job.device, job.config.batch_size)


def _network(
    backbone: Backbone, origin: Weights, preprocessing: Preprocessing, device: Device, batch_size: int | None
) -> FeatureExtractor:
    return NETWORKS.get(backbone, origin, preprocessing, device, batch_size, lambda: weights.load(backbone, origin))


def restore(
    key: FeatureKey, weights_from: str, request: str | None, device: str, batch_size: int | None
) -> FeatureExtractor:
    """The backbone that features of `key` came from, so that new images get features of the same kind.

    Its weights are sought where they were (`weights_from`) unless `request` says where they are now. Raises
    WeightsMismatch, naming the field, where what is found would give other features; WeightsNotFound. A precision that the
    device has not got becomes fp32, and the device's notes say so.
    """
    backbone = get_backbone(key.backbone)
    _expect("pooling", POOLING, key.pooling)
    _expect("feature_version", FEATURE_VERSION, key.feature_version)
    found = weights.locate(backbone, request or (weights_from if key.weights == "file" else key.weights))
    _expect("weights_sha256", found.sha256, key.weights_sha256, f" of {found.origin}")
    mean, std = ((values[0], values[1], values[2]) for values in (key.mean, key.std))
    preprocessing = Preprocessing(key.image_size, key.interpolation, mean, std)
    _expect("interpolation", Preprocessing().interpolation, key.interpolation)
    return _network(backbone, found, preprocessing, resolve_like(device, key.precision), batch_size)


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


def _expect(field: str, found: object, expected: object, where: str = "") -> None:
    if found != expected:
        raise WeightsMismatch(
            f"{field}{where} is {found}, the head's features were made with {expected}; "
            f"give the right weights with --weights, or train a head on new features"
        )
