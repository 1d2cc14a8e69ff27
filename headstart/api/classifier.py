"""A trained head with its backbone: pictures in, labels out."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headstart.api.features import Features
from headstart.api.notebook import watching
from headstart.api.pictures import Pictures, PicturesLike
from headstart.api.rows import Frozen
from headstart.api.spoken import spoken
from headstart.core.cache.arguments import flag, text
from headstart.core.cache.corrected_sets import of_same_sources
from headstart.core.cache.errors import ArgumentInvalid, FeaturesInvalid
from headstart.core.cache.files import sync_folder
from headstart.core.cache.key import NamedKey
from headstart.core.cache.text import did_you_mean, listed
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.network.devices import resolve_like
from headstart.core.extract.restore import restore
from headstart.core.heads import checkpoint as head_files
from headstart.core.heads import predictions_file, timings
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.predict import calibrated, mean_shares, prediction_sets, shortage
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.runs import NAME as RECORD
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions import session
from headstart.core.heads.training.train import predict, scores
from headstart.inference.trained import TrainedHead
from headstart.observer import Observer
from headstart.requests import ExportRequest
from headstart.workspace import Workspace, file, folder, named

if TYPE_CHECKING:
    from headstart.export.results import Exported


class Classifier:
    """A trained head and the frozen backbone that its features come from: pictures to labels and probabilities.

    Pictures are a list of paths, PIL images and uint8 arrays (H, W, 3) in RGB, a batch uint8 (N, H, W, 3), one picture, or
    a `Features` of the same backbone, weights, transform and precision. The transform, the class names and the weights are
    those that the head recorded. The network is loaded when it is first needed; a picture seen before, by its content, is
    not computed again. Threads may share a classifier.

    >>> head = hs.load("runs/pets")  # doctest: +SKIP
    >>> head.predict(["rex.jpg"]), head.run.evaluation.overall.accuracy  # doctest: +SKIP
    (array(['dog'], dtype='<U3'), 0.91)
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        run: Run | None,
        predictions: Kept | None = None,
        *,
        weights: str | None = None,
        device: str = ExtractConfig.device,
        batch_size: int | None = None,
        workers: int = ExtractConfig.workers,
        observer: Observer | None = None,
    ) -> None:
        ExtractConfig(device=device, batch_size=batch_size, workers=workers)  # which checks them
        if weights is not None:
            weights = text("weights", weights)
        self.checkpoint = checkpoint
        self.run = run
        self.predictions = predictions
        self.weights = weights
        self.device = device
        self.batch_size = batch_size
        self.workers = workers
        self.observer = observer
        self._frozen: Frozen | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the C classes, in the order of the columns of `predict_proba`."""
        return self.checkpoint.classes

    @property
    def key(self) -> NamedKey:
        """What the features were computed from that the head learned from."""
        return self.checkpoint.key

    @spoken
    def predict(self, pictures: PicturesLike | Features, *, views: bool = False) -> npt.NDArray[np.str_]:
        """Pictures to the names of their classes (N,) str: the class of the highest score, with `views` of the highest
        probability as `predict_proba` averages it.

        Raises ImageUnreadable for a picture that can't be decoded, TypeError and ValueError for what is no picture,
        FeaturesInvalid for features of another kind, WeightsNotFound, WeightsMismatch, DeviceUnavailable, OutOfMemory;
        ArgumentInvalid for views of features, or by a head that was trained without.
        """
        return np.array(self.classes)[self._indices(pictures, views)]

    @spoken
    def predict_proba(self, pictures: PicturesLike | Features, *, views: bool = False) -> npt.NDArray[np.float32]:
        """Pictures to probabilities (N, C) float32, the softmax of the head's scores over its temperature; those of a class
        that had no training picture are 0. With `views` they are means over the picture as it is and each view that the
        head was trained with. Raises as `predict`."""
        if self._by_views(views, pictures):
            return mean_shares(self.checkpoint, self._versions(pictures), "cpu")
        return calibrated(self.checkpoint, scores(self.checkpoint.head, self._features(pictures), "cpu").numpy())

    @spoken
    def predict_set(self, pictures: PicturesLike | Features, coverage: float) -> list[tuple[str, ...]]:
        """Pictures to the names of the classes that each may be of, the most probable first, none or several: a conformal
        set (heads/statistics/conformal.py) with the right class for about `coverage`, 0 to 1, of pictures like the training
        ones. Raises as `predict`, ValueError for another coverage, RunNotFound for a head without calibration."""
        if said := shortage(self.checkpoint, coverage):
            watching(self.observer).remark(said)
        return prediction_sets(self.checkpoint, self._features(pictures), "cpu", coverage)

    @spoken
    def score(
        self,
        pictures: PicturesLike | Features,
        labels: Sequence[object] | npt.NDArray[Any] | None = None,
        *,
        views: bool = False,
    ) -> float:
        """The share of pictures, 0 to 1, that get the right label. `labels` (N,) are class names, or integers, which are
        indices in `classes`; a `Features` brings its own. Raises as `predict`, ArgumentInvalid for labels of another number
        or of no class, and FeaturesInvalid for the features that a cross-validated head was trained on, which would be no
        test."""
        if isinstance(pictures, Features):
            self._refuse_own(pictures)
        if labels is None:
            if not isinstance(pictures, Features):
                raise ArgumentInvalid("labels are missing: give score(pictures, labels), or a Features, which has its own")
            labels = pictures.y
        right, found = np.asarray(labels), self._indices(pictures, views)
        if right.shape != found.shape:
            raise ArgumentInvalid(f"labels of shape {right.shape} for {len(found)} pictures")
        self._check_known(right)
        own = found if right.dtype.kind in "iu" else np.array(self.classes)[found]
        return float(np.mean(own == right))

    @spoken
    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write head.safetensors and, last, run.json into the folder `path`, as `headstart train-head` does: `headstart
        predict --head path` works on it, and `headstart.load` reads it. A head that is there is replaced, with the timings
        that were measured of it. Returns the folder. Raises OSError."""
        place = Path(path).expanduser()
        stale = [place / name for name in (RECORD, timings.NAME, predictions_file.NAME) if (place / name).exists()]
        for old in stale:  # the record first: no reader takes what is left for a complete run
            old.unlink()
        if stale:
            sync_folder(place)
        digest = head_files.save(self.checkpoint, place / head_files.NAME)
        if self.predictions is not None:
            predictions_file.save(self.predictions, digest, place)
        if self.run is not None:
            name = place.resolve().name
            RunStore(place.resolve().parent).write(dataclasses.replace(self.run, name=name, head_sha256=digest))
        return place

    @spoken
    def export(
        self,
        path: str | os.PathLike[str],
        pictures: Sequence[str | os.PathLike[str]] = (),
        *,
        input: str = ExportRequest.input,  # noqa: A002  # as the option is called
        precision: str = ExportRequest.precision,
        embed: bool = ExportRequest.embed,
        dataset: str | os.PathLike[str] | None = None,
        limit: int = ExportRequest.limit,
        card: bool = ExportRequest.card,
        corrections: str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> "Exported":
        """Write the head with its backbone as one file that runs without headstart, as `headstart export` does: .onnx, .pt2
        or .safetensors by the suffix of `path`. It is held against `predict` in fp32 on test pictures and on the files
        `pictures`, in a process of its own, and written only where it gives the same.

        input: pixels, uint8 (N, H, W, 3) of any size, or resized; precision: fp32, fp16 or int8; embed: small copies of
        the pictures stand in the file as its test pictures; dataset, limit: where agreement and accuracy are measured, and
        on how many images; card: model-card.md beside it; corrections: a file of decisions on labels, by which accuracy is
        measured. Raises ModelFileDiffers, ArgumentInvalid, DataNotFound, DataInvalid, what `predict` raises, OSError.
        """
        from headstart.export.exporting import export

        for name, value in (("embed", embed), ("card", card)):
            flag(name, value)
        files = tuple(text(f"picture {place}", one) for place, one in enumerate(pictures))
        weights = () if self.weights is None else (self.weights,)
        which = None if dataset is None else named(dataset)
        place = Path(text("path", path)).expanduser()
        decisions = file("corrections", corrections)
        request = ExportRequest(place, files, input, precision, embed, which, limit, card, weights, decisions)
        workspace = Workspace(folder(None, "features"), folder(None, "runs"), folder(data_dir, "data"), self.device)
        head = TrainedHead(self.checkpoint, self.run, self.run.name if self.run else repr(self))
        return export(workspace, head, request, watching(self.observer))

    def _refuse_own(self, features: Features) -> None:
        """Refuse the data set of a head that was trained on all of it, or chosen on a part of it."""
        if self.run is None or not self.run.evaluated_by.cross_validated:
            return
        own = [part for part in (self.run.train, self.run.val) if part]
        same = {part.images for part in own} & {found.manifest.images_digest for found in features.sets}
        if same or of_same_sources(features.sets, [part.digest for part in own]):
            how = "trained on" if self.run.val is None else "trained or chosen on"
            raise FeaturesInvalid(
                f"{features!r}: the head was {how} these; its cross-validated accuracy is in run.evaluation, and "
                f"headstart.train(..., test_fraction=0.2) leaves features.test to be scored on"
            )

    def _check_known(self, labels: npt.NDArray[Any]) -> None:
        """Refuse a label that is no class: it would count as an error of the head. -1 is a row whose class is unknown."""
        known = range(-1, len(self.classes)) if labels.dtype.kind in "iu" else self.classes
        if unknown := [label for label in dict.fromkeys(labels.tolist()) if label not in known]:
            hint = did_you_mean(str(unknown[0]), self.classes)
            raise ArgumentInvalid(f"label {unknown[0]!r} is no class of the head{hint}; there are {listed(self.classes)}")

    def _indices(self, pictures: PicturesLike | Features, views: bool) -> npt.NDArray[np.int64]:
        if self._by_views(views, pictures):
            best: npt.NDArray[np.int64] = mean_shares(self.checkpoint, self._versions(pictures), "cpu").argmax(axis=1)
            return best
        return predict(self.checkpoint.head, self._features(pictures), "cpu")

    def _by_views(self, views: object, pictures: PicturesLike | Features) -> bool:
        """Whether to average over views. Raises ArgumentInvalid where it can't be done."""
        if not isinstance(views, bool):
            raise ArgumentInvalid(f"views is {views!r}, expected True or False")
        if views and isinstance(pictures, Features):
            raise ArgumentInvalid(f"{pictures!r}: these are features of pictures as they are; give views=True pictures")
        if views and not self.checkpoint.head.config.views:
            raise ArgumentInvalid(f"{self!r}: was trained without views; headstart.train(..., views=True) trains one with")
        return views

    def _versions(self, pictures: PicturesLike | Features) -> list[npt.NDArray[np.float32]]:
        """The features (N, D) of pictures as they are, and of each of the head's views of them."""
        assert not isinstance(pictures, Features)
        given, watch = Pictures.of(pictures), watching(self.observer)
        return [self._backbone().features(given, watch, view) for view in ("", *self.checkpoint.head.config.views)]

    def _features(self, pictures: PicturesLike | Features) -> npt.NDArray[np.float32]:
        if not isinstance(pictures, Features):
            return self._backbone().features(Pictures.of(pictures), watching(self.observer))
        if differences := self.key.feature_key.differences(pictures.key.feature_key):
            raise FeaturesInvalid(f"{pictures!r}: the head learned from other features: {'; '.join(differences)}")
        return pictures.X

    def _backbone(self) -> Frozen:
        if self._frozen is None:
            precision = resolve_like(self.device, self.key.precision).precision
            origin, key = self.checkpoint.weights_from, dataclasses.replace(self.key.feature_key, precision=precision)
            load = functools.partial(restore, self.key, origin, self.weights, self.device, self.batch_size)
            self._frozen = Frozen(key, load, self.batch_size, self.workers)
        return self._frozen

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_frozen": None}  # a pickle holds the head, not the backbone

    def __repr__(self) -> str:
        config, key = self.checkpoint.head.config, self.key
        return f"Classifier({key.backbone} {config.recipe} {config.head} on {key.dataset}: {len(self.classes)} classes)"


@spoken
def load(
    path: str | os.PathLike[str],
    *,
    weights: str | None = None,
    device: str = ExtractConfig.device,
    batch_size: int | None = None,
    workers: int = ExtractConfig.workers,
    observer: Observer | None = None,
) -> Classifier:
    """The head in a run's folder, or in its head.safetensors, checked; no code in it is run.

    weights: where the backbone's weights are now, if not where the head found them; batch_size in pictures; workers:
    threads that decode. Raises RunNotFound, RunDamaged.

    >>> hs.load("runs/pets").predict("rex.jpg")  # doctest: +SKIP
    """
    place = Path(text("path", path)).expanduser()
    found, run = session.load_path(place)
    kept = None
    if run is not None:
        kept = predictions_file.load((place if place.is_dir() else place.resolve().parent), run.head_sha256)
    return Classifier(
        found, run, kept, weights=weights, device=device, batch_size=batch_size, workers=workers, observer=observer
    )
