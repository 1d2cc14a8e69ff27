"""From a split's rows to their features in separate stages, for whoever wants to time them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.extract.images import Batch, Images, Pixels
from headstart.core.extract.network.interface import Features
from headstart.core.extract.reading import Reader
from headstart.core.extract.shards import computed

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.core.extract.network.extractor import FeatureExtractor


@dataclasses.dataclass(frozen=True)
class Stages:
    """`read(start, stop)` gives pixels on the host, uint8 (n, H, W, 3), n at most `batch_size`. `transfer`, `preprocess`
    and `backbone` follow in their order and end in float32 features (batch_size, D) on the device. `synchronize` waits for
    the device.

    `stream(rows)` does them all as an extraction does, the next batches in flight while one is waited for: float32 (n, D)
    of the first rows, batch by batch. `read` and `stream` raise ImageUnreadable: a picture left out would shift the labels
    of those behind it.
    """

    rows: int
    batch_size: int
    stream: Callable[[int], Generator[Features, None, None]]
    read: Callable[[int, int], Pixels]
    transfer: Callable[[Pixels], Tensor]
    preprocess: Callable[[Tensor], Tensor]
    backbone: Callable[[Tensor], Tensor]
    synchronize: Callable[[], None]


def stages(images: Images, extractor: FeatureExtractor, workers: int) -> Stages:
    """The stages of these images through this extractor, files read by `workers` threads."""
    transform = extractor.preprocessing

    def check(batch: Batch) -> None:
        if batch.skipped:
            raise ImageUnreadable(f"{images.source}/{batch.skipped[0].id}: {batch.skipped[0].reason}")

    def read(start: int, stop: int) -> Pixels:
        batch = images.read(start, stop, transform, workers)
        check(batch)
        return batch.pixels

    def stream(rows: int) -> Generator[Features, None, None]:
        with contextlib.closing(computed(Reader(images, transform, workers), extractor, (0, rows), check)) as found:
            for _, features in found:
                assert features is not None  # only where pictures may be left out
                yield features

    return Stages(
        rows=images.rows,
        batch_size=extractor.batch_size,
        stream=stream,
        read=read,
        transfer=extractor.to_device,
        preprocess=extractor.preprocess,
        backbone=extractor.pool,
        synchronize=extractor.synchronize,
    )
