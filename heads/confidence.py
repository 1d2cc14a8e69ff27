"""How sure a head may be of its labels, learned from rows that it, or heads trained as it was, did not see."""

import dataclasses

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Confidence:
    """A head's calibration. Scores are divided by `temperature` before the softmax, which changes no label.

    `of_label` (m,) float32, in rising order, are the probabilities, at that temperature, of the true labels of m rows that
    were not seen: the calibration scores of conformal prediction. `rows` is how many rows were asked, of which `of_label`
    may be a sample at equal steps.
    """

    temperature: float
    of_label: npt.NDArray[np.float32]
    rows: int
