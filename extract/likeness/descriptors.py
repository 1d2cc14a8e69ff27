"""What a picture looks like from afar, as numbers to be searched: the means of its grey on 8 x 8 fields, less their mean
and of length 1, so that neither brightness nor contrast counts.

No network is needed, and what a network takes for another picture (JPEG of a small one) hardly changes it. Small pictures
compared so, mirrored too: Torralba, Fergus and Freeman 2008, "80 million tiny images: a large data set for nonparametric
object and scene recognition".
"""

from __future__ import annotations

import numpy as np

from headstart.core.extract.likeness.pixels import FLAT, SIZE, Floats, Grey

SIDE = 8
"""Fields along each axis. With 4 too many other pictures are nearer than a picture with 5 % cut off, with 16 it costs four
times as much (500 changed pictures among the first 10,000 of CIFAR-10: see docs/audit.md)."""


def descriptors(pictures: Grey) -> Floats:
    """Of pictures (N, 32, 32) in grey the descriptors, float32 (N, 64), of length 1; zeros for those that show nothing on
    fields of this size, which would be noise."""
    each = SIZE // SIDE
    fields = pictures.reshape(len(pictures), SIDE, each, SIDE, each).mean(axis=(2, 4), dtype=np.float32)
    found: Floats = (fields - fields.mean(axis=(1, 2), keepdims=True)).reshape(len(fields), SIDE * SIDE)
    lengths = np.sqrt(np.einsum("nd,nd->n", found, found))
    shown = lengths >= FLAT * SIDE  # of 64 fields the length is 8 standard deviations
    return np.where(shown[:, None], found / np.maximum(lengths, 1)[:, None], np.float32(0))


def mirrored(found: Floats) -> Floats:
    """The descriptors (N, 64) of the same pictures, left and right exchanged."""
    turned: Floats = found.reshape(len(found), SIDE, SIDE)[:, :, ::-1].reshape(len(found), -1)
    return turned
