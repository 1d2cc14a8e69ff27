"""Inference measured, from raw images to labels: throughput, latency, and in which stage time goes.

Batches follow each other without a pause; a server with pauses between requests sees slower clocks and colder caches.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headstart.core.extract.stages import Stages
from headstart.core.heads.config import BenchConfig
from headstart.core.heads.kinds.base import Head


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was measured. Times in seconds; `stages_s` per image in batches, `latency_s` of single images by percentile."""

    images: int
    batch_size: int
    repeats: int
    elapsed_s: float
    images_per_s: float
    stages_s: dict[str, float]
    latency_s: dict[str, float]
    latency_images: int
    predicted: npt.NDArray[np.int64]


Advance = Callable[[int], None]


def measure(batches: Stages, singles: Stages, head: Head, config: BenchConfig, advance: Advance) -> Figures:
    """Time the way from `batches.read` to labels. `singles` are the same stages with a batch size of 1.

    `advance` is told of each finished batch of the throughput passes.
    """
    rows = min(batches.rows, config.limit or batches.rows)
    with torch.inference_mode():
        for start in range(0, min(rows, config.warmup * batches.batch_size), batches.batch_size):
            _label(batches, head, start, min(start + batches.batch_size, rows))
        passes = [_pass(batches, head, rows, advance) for _ in range(config.repeats)]
        stages = _stages(batches, head, rows, config.stage_batches)
        for row in range(min(rows, config.warmup)):
            _label(singles, head, row, row + 1)
        waits = [_timed(singles, head, row) for row in range(min(rows, config.latency_images))]
    elapsed_s = statistics.median(seconds for seconds, _ in passes)
    percentiles = np.percentile(waits, [50, 90, 99])
    return Figures(
        images=rows,
        batch_size=batches.batch_size,
        repeats=config.repeats,
        elapsed_s=elapsed_s,
        images_per_s=rows / max(elapsed_s, 1e-9),  # some clocks stand still for a while
        stages_s=stages,
        latency_s={name: float(value) for name, value in zip(("p50", "p90", "p99"), percentiles, strict=True)},
        latency_images=len(waits),
        predicted=passes[-1][1],
    )


def _label(side: Stages, head: Head, start: int, stop: int) -> npt.NDArray[np.int64]:
    """Class indices of the rows; the copy to the host waits for the device."""
    features = side.backbone(side.preprocess(side.transfer(side.read(start, stop))))
    labels: npt.NDArray[np.int64] = head(features).argmax(dim=1).cpu().numpy()[: stop - start]
    return labels


def _pass(side: Stages, head: Head, rows: int, advance: Advance) -> tuple[float, npt.NDArray[np.int64]]:
    labels, device = [], head.mean.device
    started = time.perf_counter()
    with contextlib.closing(side.stream(rows)) as stream:
        for features in stream:
            labels.append(head(torch.from_numpy(features).to(device)).argmax(dim=1).cpu().numpy())
            advance(len(labels[-1]))
    return time.perf_counter() - started, np.concatenate(labels)


def _stages(side: Stages, head: Head, rows: int, batches: int) -> dict[str, float]:
    """Seconds per image of each stage, over the first `batches` batches, synchronised after each stage."""
    total = dict.fromkeys(("read", "transfer", "preprocess", "backbone", "head"), 0.0)
    done = 0
    for start in range(0, min(rows, batches * side.batch_size), side.batch_size):
        stop = min(start + side.batch_size, rows)
        began = time.perf_counter()
        value = side.read(start, stop)
        total["read"] += time.perf_counter() - began
        stages: tuple[Callable[[Any], Any], ...] = (side.transfer, side.preprocess, side.backbone, head)
        for name, stage in zip(list(total)[1:], stages, strict=True):
            began = time.perf_counter()
            value = stage(value)
            side.synchronize()
            total[name] += time.perf_counter() - began
        done += stop - start
    return {name: seconds / done for name, seconds in total.items()}


def _timed(side: Stages, head: Head, row: int) -> float:
    started = time.perf_counter()
    _label(side, head, row, row + 1)
    return time.perf_counter() - started
