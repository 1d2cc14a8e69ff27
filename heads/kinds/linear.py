"""linear: one layer, the linear probe."""

from collections.abc import Mapping

import torch
from torch import Tensor

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import Batch, GradientHead, Layer, affine, affine_gradients


class Linear(GradientHead):
    """Linear(D, C): multinomial logistic regression, the linear probe."""

    rank = 3

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.out = Layer(dim, classes, generator)

    @staticmethod
    def shapes(dim: int, classes: int, config: TrainConfig) -> list[tuple[int, int]]:  # noqa: ARG004
        return [(dim, classes)]

    def scores(self, parameters: Mapping[str, Tensor], features: Tensor, keep: Tensor | None) -> Tensor:
        return self._squashed(affine(parameters, "out", features))

    def learn(self, parameters: Mapping[str, Tensor], batch: Batch, gradients: Mapping[str, Tensor]) -> Tensor:
        losses, gradient = self._cross_entropy(self._squashed(affine(parameters, "out", batch.features)), batch)
        affine_gradients(gradients, "out", batch.features, gradient)
        return losses
