"""Placeholder until the real one is merged."""

import numpy as np
from headstart.core.heads.data import sampling


def folds(labels, groups, k, rng):
    k = min(k, len(labels))
    order = sampling.in_shares(labels, rng)
    # by class deal
    order = order[np.argsort(labels[order], kind="stable")]
    out = np.empty(len(labels), dtype=np.int64)
    out[order] = np.arange(len(labels)) % k
    return out


def held_out(labels, groups, count, rng):
    return sampling.divide(labels, count, rng)
