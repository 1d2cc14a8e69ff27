"""The whole road as one module: uint8 pictures, transform, backbone, pooling, head, temperature, probabilities."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from headstart.core.extract.network.body import cast, pooled
from headstart.core.extract.network.folding import fold_batch_norm
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.heads.checkpoint import Checkpoint
from headstart.export.graph.framing import Framing, pillow_takes_height_first


class Whole(nn.Module):
    """A backbone and a head for pictures. `resized` ones have the size that the backbone sees and are not resized."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, body: nn.Module, head: Checkpoint, transform: Preprocessing, *, resized: bool, half: bool) -> None:
        """`body` is in float32 and stays as it is. `half` has its parameters in float16, but for what it keeps in float32:
        BatchNorm is folded into the convolutions first, as `extract` does it."""
        super().__init__()
        self.framing = None if resized else Framing(transform, pillow_takes_height_first())
        self.body, self.head = Pooled(_halved(body, transform.image_size) if half else body), head.head
        self.temperature = head.confidence.temperature if head.confidence else 1.0
        self.half_body = half
        for name in ("mean", "std"):
            values = torch.tensor(getattr(transform, name)).view(3, 1, 1)
            self.register_buffer(f"_{name}", values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3), RGB, to probabilities (N, C) in float32."""
        pixels = images.permute(0, 3, 1, 2).float() if self.framing is None else self.framing(images)
        pixels = pixels.div(255).sub(self._mean).div(self._std)
        features = self.body(pixels.half() if self.half_body else pixels)
        scores: Tensor = self.head(features)
        return (scores / self.temperature).softmax(dim=1)


class Pooled(nn.Module):
    """A body up to its features (N, D), under the names of the body's parts: one of them may be called `head`, as a method
    of bodies is, and exporters look for parts as attributes."""

    _whole: nn.Module

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.__dict__["_whole"] = body
        for name in ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"):
            self.__dict__[name] = body.__dict__[name]
        self.training = False

    def forward(self, pixels: Tensor) -> Tensor:
        """The backbone's input (N, 3, S, S) to features in float32."""
        return pooled(self._whole, self._whole(pixels))


def _halved(body: nn.Module, image_size: int) -> nn.Module:
    body = copy.deepcopy(body)
    fold_batch_norm(body, image_size)
    cast(body, torch.float16)
    return body
