"""The arithmetic of an extraction: what so many pictures take at measured rates. docs/scale.md has the same formulas."""

from __future__ import annotations

import dataclasses
import math

from headstart.core.cache import limits

HOUR_S = 3600.0


@dataclasses.dataclass(frozen=True)
class Rates:
    """What was measured: images per second of one device with the backbone, None where it can't be run, and pictures that
    one core decodes and prepares in a second. `device_from` and `decode_from` say how, for people; `cores` are those that
    this process may use. `shared` says that the device is these cores themselves, `reading` that the device's rate is that
    of an extraction which read these pictures meanwhile."""

    images_per_s: float | None
    device_from: str
    decoded_per_s: float
    decode_from: str
    cores: int
    shared: bool = False
    reading: bool = False


@dataclasses.dataclass(frozen=True)
class Size:
    """A set as planned: N rows in shards of S, D values of so many bytes each, and ids of so many bytes."""

    rows: int
    shard_rows: int
    feature_dim: int
    itemsize: int
    id_bytes: int

    @property
    def shards(self) -> int:
        """ceil(N / S)."""
        return -(-self.rows // self.shard_rows)

    @property
    def nbytes(self) -> int:
        """The bytes of all shards, to one part in a hundred."""
        whole, rest = divmod(self.rows, self.shard_rows)
        sizes = ((self.shard_rows, whole), (rest, 1 if rest else 0))
        each = (self.feature_dim, self.itemsize, self.id_bytes)
        return sum(count * limits.shard_bytes(rows, *each) for rows, count in sizes)

    @property
    def manifest_bytes(self) -> int:
        """What the manifest takes for its shards; the key, class names and notes come to it."""
        return self.shards * limits.record_bytes()


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a job would take: `computed` of the rows of a set of that `size`, at these rates."""

    title: str
    size: Size
    computed: int
    rates: Rates

    @property
    def device_hours(self) -> float | None:
        """computed / r / 3600, for one device that never waits; None where its rate is not known."""
        rate = self.rates.images_per_s
        return None if rate is None else self.computed / rate / HOUR_S

    @property
    def decode_cores(self) -> float | None:
        """r / d: the cores that decode as fast as one device computes; None where its rate is not known."""
        rate = self.rates.images_per_s
        return None if rate is None else rate / self.rates.decoded_per_s

    @property
    def whole_cores(self) -> int | None:
        """The same in whole cores."""
        return None if self.decode_cores is None else max(1, math.ceil(self.decode_cores))

    def hours(self, devices: int, cores: int) -> float | None:
        """Wall-clock hours of G devices that C cores feed in all: computed / min(G r, C d); where the device is these
        cores, which do one after the other, computed (1 / r + 1 / (C d)). None where r is not known."""
        rate, decoded = self.rates.images_per_s, cores * self.rates.decoded_per_s
        if rate is None:
            return None
        if self.rates.shared:
            seconds = self.computed / rate + (0.0 if self.rates.reading else self.computed / decoded)
        else:
            seconds = self.computed / min(devices * rate, decoded)
        return seconds / HOUR_S
