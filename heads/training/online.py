"""A head that learns batch by batch from features which are not kept: for a loop that runs the backbone every time."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.mlp import Mlp


class OnlineHead:
    """The MLP of a recipe without schedule, standardisation or validation part, which all need the features as a whole.

    `learn` is one optimiser step, `predict` the labels so far; both on the CPU. The initial weights are those of
    `train` for the same seed; order is the caller's, and dropout is drawn from a generator of its own. Raises ValueError
    for another recipe.
    """

    def __init__(self, dim: int, classes: int, config: TrainConfig, seed: int) -> None:
        if config.head != "mlp" or config.cosine or config.standardise or config.val_fraction:
            raise ValueError(f"the recipe {config.recipe} with the head {config.head} can't learn batch by batch")
        self.config = config
        self.head = Mlp(dim, classes, config, 0, torch.Generator().manual_seed(seed))
        self._generator = torch.Generator().manual_seed(seed)
        # AdamW without decay is the study's Adam
        self._optimiser = torch.optim.AdamW(self.head.parameters(), lr=config.lr, weight_decay=config.weight_decay)

    def learn(self, features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
        """One step of cross entropy on a batch: features (n, D), class indices (n,). Raises FeaturesInvalid where the
        loss is not finite."""
        scores = self._scores(torch.from_numpy(features))
        loss = functional.cross_entropy(scores, torch.from_numpy(labels))
        if not bool(loss.isfinite()):
            raise FeaturesInvalid(f"the loss is not finite in a batch of {len(labels)}; try a --lr below {self.config.lr}")
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()

    def predict(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Features (N, D) to class indices (N,) int64, nothing left out by dropout."""
        with torch.inference_mode():
            found: npt.NDArray[np.int64] = self.head(torch.from_numpy(features)).argmax(dim=1).numpy()
        return found

    def _scores(self, features: Tensor) -> Tensor:
        hidden: Tensor = functional.relu(self.head.hidden(features))
        if rate := self.config.dropout:
            kept = torch.rand(hidden.shape, generator=self._generator) >= rate
            hidden = hidden * kept / (1 - rate)
        scores: Tensor = self.head.out(hidden)
        return scores.sigmoid() if self.config.sigmoid else scores
