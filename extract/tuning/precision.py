"""Whether a low precision that nobody asked for will do: the features of the first pictures in it, beside fp32's.

A network whose features were compared over many pictures says so (`Backbone.compared`) and is not compared here.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from headstart.core.extract.images import Images
from headstart.core.extract.network.loaded import NetworkSpec, load_network

LOOKED_AT = 16
"""Pictures that decide."""

LEAST_COSINE = 0.998
"""Between a picture's features in low precision and in fp32; the lowest of all pictures counts."""


def precise_enough(spec: NetworkSpec, images: Images, workers: int) -> NetworkSpec:
    """The network in the low precision of its device where that gives nearly the same features of the first pictures, and
    fp16's range, 65,504, holds them; else in fp32, which is noted. Raises OutOfMemory, WeightsMismatch."""
    if spec.backbone.compared and spec.device.precision != "fp16":
        return spec
    batch = images.read(0, min(images.rows, LOOKED_AT), spec.preprocessing, workers)
    if len(batch.rows) == 0:
        return spec
    exact = dataclasses.replace(spec, device=dataclasses.replace(spec.device, precision="fp32"))
    expected = None if spec.backbone.compared else load_network(exact, LOOKED_AT)(batch.pixels)
    found = load_network(spec, LOOKED_AT)(batch.pixels)
    if (reason := _unfit(found, expected, spec.device.precision)) is None:
        return spec
    remark = f"{spec.backbone.name}'s {reason}: fp32 is used; --precision says another"
    return dataclasses.replace(exact, device=dataclasses.replace(exact.device, notes=(*spec.device.notes, remark)))


def _unfit(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32] | None, precision: str) -> str | None:
    """Why features (n, D) in a precision won't do, None where they will; `expected` are those in fp32."""
    if not np.isfinite(found).all():
        return f"numbers are beyond {precision}'s range here"
    if expected is not None and (least := _least_cosine(found, expected)) < LEAST_COSINE:
        return f"features in {precision} have a cosine of {least:.4f} with those in fp32 here, less than {LEAST_COSINE}"
    return None


def _least_cosine(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return float(np.where(norms > 0, cosines, (ours == theirs).all(axis=1)).min())
