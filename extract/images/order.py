"""The order of rows: so that the first N of them are a sample of all, whatever N is."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def stratified(ids: Sequence[bytes], labels: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The places of all rows (N,) in an order whose beginnings hold the classes in the shares of the whole.

    Within a class rows follow the SHA-256 of their ids, so that one more moves few of them; the classes are interleaved by
    rank / number of rows, so that the first K rows of K classes hold one of each. Equal on every machine: no random number
    is drawn, and a quotient of two integers is rounded in one way (IEEE 754). Rows without a label are one class.
    """
    marks = np.frombuffer(b"".join(hashlib.sha256(name).digest() for name in ids), dtype=">u8").reshape(-1, 4)
    classes = np.asarray(labels, dtype=np.int64)
    order = np.lexsort((*marks.T[::-1], classes))
    _, first, counts = np.unique(classes[order], return_index=True, return_counts=True)
    ranks = np.arange(len(order)) - np.repeat(first, counts)
    found: npt.NDArray[np.int64] = order[np.lexsort((classes[order], ranks / np.repeat(counts, counts)))]
    return found


def is_grouped(labels: npt.NDArray[np.int64]) -> bool:
    """Whether rows of a class stand together: labels (N,) change less than half as often from row to row as in a random
    order, in which two neighbours are of different classes with the probability 1 - sum of the classes' squared shares."""
    if len(labels) < 2:
        return False
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    changes = np.count_nonzero(np.diff(labels)) / (len(labels) - 1)
    return bool(changes < 0.5 * (1 - np.square(shares).sum()))
