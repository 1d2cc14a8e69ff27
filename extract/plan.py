"""From words to work: the jobs that a command line asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headstart.core.cache.errors import DataInvalid, WeightsMismatch
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets, weights
from headstart.core.extract.backbones import Backbone, get_backbone, is_model
from headstart.core.extract.config import STUDY_MODELS, Download, ExtractConfig, ExtractionRequest, Precision, Split
from headstart.core.extract.images import Images
from headstart.core.extract.job import Asked, Job
from headstart.core.extract.naming import as_kept
from headstart.core.extract.network.devices import resolve
from headstart.core.extract.network.loaded import NetworkSpec, load_network
from headstart.core.extract.pooling import Pooling, check_size, pooled_by
from headstart.core.extract.tuning.precision import precise_enough
from headstart.core.extract.weights import presets

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor


def expand_models(names: Sequence[str]) -> list[str]:
    """The models named, `all` standing for the study's four. Raises WeightsMismatch for unknown ones."""
    expanded = [model for name in names for model in (STUDY_MODELS if name == "all" else (name,))]
    return [name for name in dict.fromkeys(expanded) if get_backbone(name)]


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


def _weights(model: str, request: ExtractionRequest) -> str:
    """The weights of a model: those asked for, else those that are usual for it. Raises WeightsMismatch where the model's
    name has the tag of others."""
    said, backbone = weights_asked(model, request.weights), get_backbone(model)
    if said is None and request.config.weights == ExtractConfig.weights:
        return weights.usual(backbone)
    asked = said or request.config.weights
    if model != backbone.name and asked in backbone.checkpoints and asked != (tag := weights.usual(backbone)):
        raise WeightsMismatch(f"--weights {asked}: -m {model} means the weights {tag}; say -m {backbone.name}.{asked}")
    return asked


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
    is_path = "/" in name or "." in name  # which may hold an equals sign
    if not equals or (is_path and not is_model(name)):
        return None, request
    if not value:
        raise WeightsMismatch(f"--weights {request}: nothing follows the equals sign, expected MODEL=WEIGHTS")
    get_backbone(name)
    return name, value


def lacking(request: ExtractionRequest, data_dir: Path) -> tuple[Download | None, dict[str, Download]]:
    """What `plan` would download, which a dry run says and doesn't do: the data set, and weights by model.

    Raises WeightsMismatch, DataNotFound, ArgumentInvalid.
    """
    files = {
        model: weights.lacking(get_backbone(model), _weights(model, request)) for model in expand_models(request.models)
    }
    return datasets.lacking(request.dataset, data_dir), {model: file for model, file in files.items() if file is not None}


def opened(request: ExtractionRequest, data_dir: Path) -> list[Images]:
    """The splits asked for. Raises DataNotFound, DataInvalid, ArgumentInvalid."""
    dataset = datasets.undivided(request.dataset) if request.no_splits else request.dataset
    names = datasets.splits(dataset, request.split, data_dir)
    found = [datasets.open_split(dataset, name, data_dir) for name in names]
    if request.config.on_error == "fail" and (
        lost := next(filter(None, (getattr(one, "lost", "") for one in found)), None)
    ):
        raise DataInvalid(f"{lost}; mend the list, or --on-error skip leaves such pictures out")
    return found


def plan(request: ExtractionRequest, data_dir: Path, store: FeatureStore | None = None) -> list[Job]:
    """One job for each model and split, and after a model's one for each view of each. Weights and images are located
    (torchvision's downloaded), nothing is computed.

    Data sets lie below `data_dir`. `store` is where the features will be kept: what is there already says what a folder of
    pictures is called, and in which order its rows are. Raises WeightsNotFound, WeightsMismatch, DataNotFound, DataInvalid,
    DeviceUnavailable, ArgumentInvalid for a set that could not be read once it is made.
    """
    images, jobs = opened(request, data_dir), []
    for model in expand_models(request.models):
        own = dataclasses.replace(request.config, weights=_weights(model, request))
        spec = _network(get_backbone(model), own, images[0], store)
        for view in ("", *request.view_names):
            seen = dataclasses.replace(spec.preprocessing, view=view)
            for part in images:
                asked = Asked(_alone(request, model, part, own, spec), data_dir)
                jobs.append(Job(part, spec.backbone, spec.weights, seen, spec.device, own, asked))
    for job in jobs:
        job.check_size()
    return jobs if store is None else as_kept(jobs, store)


def _alone(
    request: ExtractionRequest, model: str, images: Images, own: ExtractConfig, spec: NetworkSpec
) -> ExtractionRequest:
    """The request for one model and split, which leaves nothing to be decided again."""
    precision = cast(Precision, spec.device.precision)
    config = dataclasses.replace(own, precision=precision, device=spec.device.name)
    split = cast(Split, images.split)
    return dataclasses.replace(request, models=(model,), split=split, weights=(own.weights,), config=config)


def _network(backbone: Backbone, config: ExtractConfig, images: Images, store: FeatureStore | None = None) -> NetworkSpec:
    """The network that `config` asks for, in a precision that holds its numbers for these images."""
    precision = (backbone.precision or "auto") if config.precision == "auto" else config.precision
    device, found = resolve(config.device, precision), weights.locate(backbone, config.weights)
    preprocessing = presets.chosen(config, backbone, found, images)
    check_size(backbone, preprocessing.image_size)
    own = pooled_by(backbone, Pooling(config.pool, config.layer), preprocessing.image_size)
    spec = NetworkSpec(own, found, preprocessing, device)
    left_to_us = precision == "auto" and device.precision in ("bf16", "fp16")
    return (
        precise_enough(spec, images, config.workers) if left_to_us and not _is_there(spec, config, images, store) else spec
    )


def _is_there(spec: NetworkSpec, config: ExtractConfig, images: Images, store: FeatureStore | None) -> bool:
    """Whether there are such features already: then that precision was found good enough, or was asked for."""
    job = Job(images, spec.backbone, spec.weights, spec.preprocessing, spec.device, config)
    return store is not None and bool(store.folders(job.named, images.split))


def load(job: Job, say: Callable[[str], None] = lambda _: None) -> FeatureExtractor:
    """The job's backbone on its device; the network that was used last is not loaded again. `say` is told what else its
    weight file holds. Raises WeightsMismatch."""
    return load_network(job.network, job.config.batch_size, say)
