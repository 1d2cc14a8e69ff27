"""A frozen backbone as a scikit-learn transformer: pictures in, features out, each picture computed once."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from headstart.api.notebook import watching
from headstart.api.pictures import Pictures, PicturesLike
from headstart.api.rows import Frozen
from headstart.api.spoken import spoken
from headstart.core.cache.arguments import choice, text
from headstart.core.cache.errors import FeaturesInvalid, WeightsMismatch
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.shard import narrowed
from headstart.core.extract import weights as weight_files
from headstart.core.extract.backbones import Backbone as Architecture
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.config import TRANSFORMS, ExtractConfig, Pool, Precision, Transform
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import resolve, resolve_like
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.plan import load
from headstart.core.extract.pooling import Pooling, check_size, pooled_by
from headstart.core.extract.weights import Weights, presets
from headstart.core.extract.weights.licences import licence
from headstart.observer import Observer

_NO_ROWS = (np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64))
_NO_IMAGES = ArrayImages("", "all", (), 0, "no data set", lambda *_: _NO_ROWS)


_BEFORE = {"preprocessing": "squash", "pool": "auto", "layer": None}
"""The parameters that pickles did not have once, and what held then."""


@dataclasses.dataclass(frozen=True)
class _Recorded:
    """What a pickle says of the features: under which parameters, from which weights, and their key, which has digests."""

    parameters: dict[str, Any]
    key: FeatureKey
    weights_from: str


@dataclasses.dataclass(frozen=True)
class _Ready:
    """The backbone as these parameters say it."""

    parameters: dict[str, Any]
    job: Job
    frozen: Frozen


class Backbone(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A frozen backbone: N pictures to features (N, `dim`) float32, as `headstart.extract` keeps them.

    `fit` learns nothing. The network is loaded when it is first needed, always in `eval()`, and shared by all that need the
    same one after each other; rows are cached in the process by each picture's SHA-256, up to 1 GiB, so that folds,
    shuffles and sub-sets of pictures seen before run no forward pass. A pickle holds digests and paths, no weights and no
    rows: where the weights that it names have changed, it raises WeightsMismatch.

    model: one of `headstart models`; weights: as `headstart extract --weights` takes them; image_size in pixels, None is
    the size that the weights were made for; preprocessing: preset, the weights' own resizing and crop, which is auto
    too, or squash, the whole picture resized to a square, which is what `extract` does with cifar10 and other small
    arrays; pool: auto, what the network's authors classify on, avg, max, cls or cls+avg; layer: an inner layer that is
    pooled, not the last; precision and device "auto" or as the command takes them; batch_size in pictures, None lets us
    choose; workers: threads that decode. observer: told how the work goes; None is a bar in a notebook and silence in a
    script.

    >>> import headstart as hs
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(hs.Backbone("resnet50"), LogisticRegression(max_iter=1000))
    >>> model.fit(["a.jpg", "b.jpg"], ["cat", "dog"]).predict(["c.jpg"])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str = "resnet50",
        *,
        weights: str = ExtractConfig.weights,
        image_size: int | None = ExtractConfig.image_size,
        preprocessing: Transform = ExtractConfig.transform,
        pool: Pool = ExtractConfig.pool,
        layer: str | None = None,
        precision: Precision = ExtractConfig.precision,
        device: str = ExtractConfig.device,
        batch_size: int | None = None,
        workers: int = ExtractConfig.workers,
        observer: Observer | None = None,
    ) -> None:
        self.model = model
        self.weights = weights
        self.image_size = image_size
        self.preprocessing = preprocessing
        self.pool = pool
        self.layer = layer
        self.precision = precision
        self.device = device
        self.batch_size = batch_size
        self.workers = workers
        self.observer = observer

    @spoken
    def fit(self, X: PicturesLike, y: object = None) -> Self:  # noqa: N803
        """Learn nothing: the backbone is frozen. Raises ArgumentInvalid for a parameter that is of no use, WeightsMismatch
        for a model that is unknown, ArgumentInvalid for a layer or a way of pooling that it has not got."""
        self._config()
        self._architecture()
        return self

    @spoken
    def transform(self, X: PicturesLike) -> npt.NDArray[np.float32]:  # noqa: N803
        """Pictures to features (N, `dim`) float32: a list of paths, PIL images and uint8 arrays (H, W, 3) in RGB, a column
        of paths, a batch uint8 (N, H, W, 3), or one picture.

        Raises ImageUnreadable for a picture that can't be decoded, TypeError and ValueError for what is no picture,
        WeightsNotFound, WeightsMismatch, DeviceUnavailable, OutOfMemory, FeaturesInvalid where features are not finite.
        """
        pictures, ready = Pictures.of(X), self._ready()
        found, bad = narrowed(ready.frozen.features(pictures, watching(self.observer)), ready.job.dtype)
        if bad is not None:
            name, dtype = pictures.names[bad], ready.job.dtype
            raise FeaturesInvalid(f"{name} gives features that are not finite in {dtype}; try precision='fp32'")
        return found.astype(np.float32, copy=False)

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """The names of the features (`dim`,): the model's with a number, `resnet50_0` and so on."""
        return np.array([f"{self.model}_{i}" for i in range(self.dim)], dtype=object)

    @property
    def dim(self) -> int:
        """D, the number of features of a picture."""
        return self._architecture().feature_dim

    def _architecture(self) -> Architecture:
        """The backbone as it is pooled, for pictures of a size that it takes, whatever its weights."""
        if (self.pool, self.layer) == (ExtractConfig.pool, None):
            return get_backbone(self.model)
        from headstart.backbones.showing import own_size  # torch, which this looks at the network with

        return _pooled(self.model, self.pool, self.layer, self.image_size or own_size(get_backbone(self.model)))

    @property
    def transform_spec(self) -> Preprocessing:
        """What happens to a picture before the backbone sees it: sizes in pixels, interpolation, mean and std of [0, 1].
        Raises WeightsNotFound, WeightsMismatch, DeviceUnavailable: weights have a transform of their own."""
        return self._ready().job.preprocessing

    @property
    @spoken
    def digest(self) -> str:
        """64 hexadecimal digits that change when anything does that a feature's value depends on: the weights, by their
        SHA-256, the transform, the precision. Raises WeightsNotFound, WeightsMismatch, DeviceUnavailable."""
        return self._ready().frozen.key.digest

    @property
    @spoken
    def licence(self) -> str:
        """Under which licence the weights are, as far as it is known. Raises WeightsNotFound, WeightsMismatch."""
        ready = self._ready()
        return licence(ready.job.backbone, ready.job.weights.label)

    def _config(self) -> ExtractConfig:
        """The parameters, checked. Raises ArgumentInvalid."""
        text("model", self.model)
        choice("preprocessing", self.preprocessing, TRANSFORMS)
        own = (self.weights, self.image_size, self.precision, self.device, self.batch_size)
        more = {"transform": self.preprocessing, "pool": self.pool, "layer": self.layer}
        return ExtractConfig(*own, workers=self.workers, **more)  # type: ignore[arg-type]

    def _ready(self) -> _Ready:
        """The backbone as the parameters are now; the network is not loaded yet."""
        parameters = self.get_params(deep=False)
        ready: _Ready | None = self.__dict__.get("_prepared")
        if ready is None or ready.parameters != parameters:
            ready = self._prepared = self._prepare(parameters)
        return ready

    def _prepare(self, parameters: dict[str, Any]) -> _Ready:
        config = self._config()
        backbone, recorded = get_backbone(self.model), self._recorded_for(parameters)
        if recorded is None:
            request = config.weights if config.weights != ExtractConfig.weights else weight_files.usual(backbone)
            device = resolve(self.device, (backbone.precision or "auto") if self.precision == "auto" else self.precision)
        else:  # a file is where it was, whatever the working directory
            request = recorded.weights_from if recorded.key.weights.startswith("file") else config.weights
            device = resolve_like(self.device, recorded.key.precision)
        found = _located(backbone, request)
        preprocessing = presets.chosen(config, backbone, found, None)
        check_size(backbone, preprocessing.image_size)
        pooled = _pooled(self.model, config.pool, config.layer, preprocessing.image_size)
        job = Job(_NO_IMAGES, pooled, found, preprocessing, device, config)
        if recorded is not None:
            _refuse_others(job.key, dataclasses.replace(recorded.key, precision=device.precision))
        return _Ready(parameters, job, Frozen(job.key, lambda: load(job), self.batch_size, self.workers))

    def _recorded_for(self, parameters: dict[str, Any]) -> _Recorded | None:
        """What the pickle said that this was read from, as long as the parameters are the same."""
        recorded: _Recorded | None = self.__dict__.get("_recorded")
        return recorded if recorded is not None and recorded.parameters == parameters else None

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def __setstate__(self, state: dict[str, Any]) -> None:
        if lacking := {name: value for name, value in _BEFORE.items() if name not in state}:
            state = {**state, **lacking}
            recorded: _Recorded | None = state.get("_recorded")
            if recorded is not None:
                state["_recorded"] = dataclasses.replace(recorded, parameters={**recorded.parameters, **lacking})
        super().__setstate__(state)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        ready: _Ready | None = state.pop("_prepared", None)
        if ready is not None and ready.parameters == self.get_params(deep=False):
            state["_recorded"] = _Recorded(ready.parameters, ready.frozen.key, ready.job.weights.origin)
        return state


@functools.lru_cache(maxsize=16)
def _pooled(model: str, pool: str, layer: str | None, image_size: int) -> Architecture:
    """A backbone pooled so. Another way than its own is looked up in the network: every clone of a grid search asks."""
    return pooled_by(get_backbone(model), Pooling(pool, layer), image_size)


def _refuse_others(found: FeatureKey, recorded: FeatureKey) -> None:
    """Raise WeightsMismatch where features would be others than those of the pickle."""
    if differences := recorded.differences(found):
        raise WeightsMismatch(f"the pickle's features were made otherwise: {'; '.join(differences)}; fit a new pipeline")


_LOCATED: dict[tuple[str, str, Path], tuple[Weights, object]] = {}


def _located(backbone: Architecture, request: str) -> Weights:
    """As `weights.locate`, but a file that this process has hashed and that was not touched since is not hashed again:
    every clone of a grid search asks. Whoever loads the file hashes it anew."""
    asked = (backbone.name, request, Path.cwd())
    if asked in _LOCATED and _LOCATED[asked][1] == _stat(_LOCATED[asked][0]):
        return _LOCATED[asked][0]
    found = weight_files.locate(backbone, request)
    _LOCATED[asked] = found, _stat(found)
    return found


def _stat(found: Weights) -> object:
    """What changes when a file does; None for what is in no file."""
    if found.path is None:
        return None
    try:
        told = found.path.stat()
    except FileNotFoundError:
        return "gone"
    return told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino
