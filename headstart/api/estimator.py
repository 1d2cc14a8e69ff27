"""A head as a scikit-learn classifier, on features of any origin."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from headstart.api.recipe import changed
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.extract.network.devices import resolve
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.selection.procedure import fit
from headstart.core.heads.training.train import predict, probabilities


class Head(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A head on features of any origin, trained as `headstart train-head` trains it.

    Parameters are those of `headstart.train`, with the same defaults, and class_weight may be {label: weight} too. None
    leaves the recipe's own value, and the standard recipe's head is `auto`: chosen by cross-validation. Fitting sets
    `classes_` (C,), `n_features_in_`, `head_`, the trained torch module, `history_`, its losses and validation accuracies,
    `selection_`, what was tried and chosen (None where nothing was left open), and `confidence_`, whose temperature the
    probabilities are shown at: None where nothing was chosen and no row set aside, for which scikit-learn has
    CalibratedClassifierCV.

    >>> import numpy as np
    >>> import headstart as hs
    >>> X = np.random.default_rng(0).standard_normal((60, 4)); y = X[:, 0] > 0
    >>> hs.Head("linear", epochs=5).fit(X, y).predict_proba(X).shape
    (60, 2)
    """

    def __init__(
        self,
        head: str | None = None,
        *,
        recipe: str = "standard",
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        hidden: int | None = None,
        dropout: float | None = None,
        weight_decay: float | None = None,
        val_fraction: float | None = None,
        penalty: float | None = None,
        neighbours: int | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        label_smoothing: float | None = None,
        seed: int = TrainConfig.seed,
        device: str = "auto",
    ) -> None:
        self.head = head
        self.recipe = recipe
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.hidden = hidden
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.val_fraction = val_fraction
        self.penalty = penalty
        self.neighbours = neighbours
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.device = device

    def fit(
        self,
        X: npt.ArrayLike,  # noqa: N803
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn from features (N, D), used as float32, and labels (N,) of any kind. `sample_weight` (N,), 0 or more, says
        how much each row counts in the loss, or in the squared error, in the standardisation and in the choice of the
        epoch.

        Raises ValueError for what can't be learned from: not finite, one class only, fewer rows than the recipe needs,
        sample weights for knn, parameters out of range or without effect on this head. Raises OutOfMemory,
        DeviceUnavailable.
        """
        config = self._config()
        features, labels = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(labels)
        self.classes_, places = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentInvalid(f"y has 1 class, {self.classes_[0]}, expected two or more")
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
        if isinstance(self.class_weight, Mapping):
            own = compute_sample_weight(dict(self.class_weight), labels)
            weights = own if weights is None else own * weights
        rows = Labelled(_writable(features), places.astype(np.int64), weights=weights)
        device = resolve(self.device, "fp32").name
        (found,) = fit(rows, len(self.classes_), [config], device, lambda *_: None, calibrated=False)
        self.head_, self.history_ = found.trained.head.to("cpu"), found.trained.history
        self.selection_, self.confidence_ = found.selection, found.confidence
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: N803
        """Features (N, D) to labels (N,) as they were given to `fit`: those of the highest scores. Raises NotFittedError,
        and ValueError for features of another number or not finite."""
        found = self._checked(X)
        labels: npt.NDArray[Any] = self.classes_[predict(self.head_, found, "cpu")]
        return labels

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:  # noqa: N803
        """Features (N, D) to probabilities (N, C) float32, in the order of `classes_`. Raises as `predict`."""
        found = self._checked(X)
        return probabilities(self.head_, found, "cpu", self.confidence_.temperature if self.confidence_ else 1.0)

    def _checked(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:  # noqa: N803
        check_is_fitted(self)
        return _writable(validate_data(self, X, dtype=np.float32, reset=False))

    def _config(self) -> TrainConfig:
        names = set(self.get_params(deep=False)) - {"head", "recipe", "device", "seed"}
        given = {name: getattr(self, name) for name in names}
        if isinstance(self.class_weight, Mapping):  # weights of rows, which `fit` makes of them
            given["class_weight"] = None
        config = changed(self.recipe, self.head, given)
        # the seed is a parameter of all heads here, though some have no use for one
        return changed(self.recipe, self.head, {**given, "seed": self.seed}) if config.random else config


def _writable(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same rows in memory that torch may share: not another process's, mapped to be read only."""
    return features if features.flags.writeable and features.flags.c_contiguous else np.array(features, order="C")
