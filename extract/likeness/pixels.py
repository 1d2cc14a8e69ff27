"""Whether two pictures are the same but for the way they were kept: small grey versions compared, whatever the brightness,
mirrored or not, and with a little cut off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Grey = npt.NDArray[np.float32]
Looks = npt.NDArray[np.float32]

SIZE = 32
"""Pixels that are compared, squared: what JPEG and resizing change is in the details that this leaves out."""
DECODED = 256
"""The longer side that pictures are decoded at to be compared."""
CUT = (1.0, 0.95, 0.9)
"""The shares of either side that are left of a picture which a part was cut off from."""
_LARGER = 2 * SIZE
_FLAT = 1.0  # of 255: a picture whose grey varies less has no pattern


def grey(picture: Image.Image) -> Grey:
    """A picture of any size in grey, (64, 64) of 0 to 255, its shape squashed."""
    small = picture.convert("L").resize((_LARGER, _LARGER), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small, dtype=np.float32)


def looks(one: Grey) -> Looks:
    """The ways a picture (64, 64) may look where some was cut off, and mirrored: (V, 1,024), each of mean 0 and length 1;
    zeros of one without a pattern. The first is the picture itself."""
    own = Image.fromarray(one)
    parts = [own.resize((SIZE, SIZE), Image.Resampling.BOX, box=box) for box in _boxes()]
    every = np.stack([np.asarray(part) for part in parts])
    flat = np.concatenate([every, every[:, :, ::-1]]).reshape(2 * len(every), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("vd,vd->v", centred, centred))
    patterned = lengths > _FLAT * SIZE
    found: Looks = np.where(patterned[:, None], centred / np.where(patterned, lengths, 1)[:, None], 0).astype(np.float32)
    return found


def likeness(one: Looks, other: Looks) -> float:
    """The highest correlation, -1 to 1, of a picture as it is with any of the other's looks, either way round: 1 for the
    same picture in another brightness. 0 where one has no pattern, 1 where neither has."""
    flat = not one[0].any(), not other[0].any()
    if any(flat):
        return float(all(flat))
    return float(max((other @ one[0]).max(), (one @ other[0]).max()))


def _boxes() -> list[tuple[float, float, float, float]]:
    """What is left of a picture: all, the middle, or a part at a corner or a side."""
    found = []
    for share in CUT:
        side = _LARGER * share
        places = sorted({0.0, (_LARGER - side) / 2, _LARGER - side})
        found += [(left, top, left + side, top + side) for top in places for left in places]
    return found
