"""Grey of more than 8 bits as 8 bits.

A file of 16 or 32 bits often holds fewer: 12-bit cameras and scanners store 0 to 4095, and seen as 16 bits that is nearly
black. So integers are scaled by the depth that the file states (TIFF's BitsPerSample of 9 to 15, the largest value of a PPM
file and the precision of a JPEG 2000 one, by which Pillow has scaled to 16 bits already). Where a file states no more than
its 16 or 32 bits, the depth is the smallest of 8, 10, 12, 14 and 16 bits that holds the picture's largest value, and where
that is not 16 it is said. PNG's sBIT is not asked: its samples have to be scaled to 16 bits already.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_DEPTHS = (8, 10, 12, 14, 16)
_STRIP = 256
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey of more than 8 bits, which Pillow would clip at 255."""
    return image.mode.startswith("I") or image.mode == "F"


def to_8_bits(image: Image.Image, remark: Callable[[str], None]) -> Image.Image:
    """Deep grey as mode L. Floats are taken as [0, 1]; integers as the module says, which tells `remark` of a guess.

    Raises ValueError for other values.
    """
    values = np.asarray(image)
    lowest, highest = values.min(), values.max()
    floats = values.dtype.kind == "f"
    if not (np.isfinite(lowest) and np.isfinite(highest)) or lowest < 0 or highest > (255.5 / 255 if floats else 65535):
        raise ValueError("grey values outside of 16 bits or of [0, 1]")
    full = 1.0 if floats else float(2 ** _depth(image, int(highest), remark) - 1)
    found = np.empty(values.shape, dtype=np.uint8)
    for top in range(0, len(values), _STRIP):  # eight bytes a pixel for a strip only
        part = values[top : top + _STRIP].astype(np.float64)
        scaled = part * 255 if floats else part / (full / 255)
        found[top : top + _STRIP] = np.rint(255 - scaled if _is_negative(image) else scaled)
    return Image.fromarray(_on_white(image, values, found))


def _depth(image: Image.Image, highest: int, remark: Callable[[str], None]) -> int:
    if image.format in ("PPM", "JPEG2000"):
        return 16
    stated = _tag(image, _BITS_PER_SAMPLE, 16)
    if 8 < stated < 16:
        return stated
    depth = next(bits for bits in _DEPTHS if highest < 2**bits)
    if depth < 16 and highest:
        remark(f"no value above {2**depth - 1} in a file of 16 or 32 bits: taken as grey of {depth} bits")
    return depth


def _is_negative(image: Image.Image) -> bool:
    """TIFF's WhiteIsZero, which Pillow heeds for 8 bits only."""
    return _tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO


def _on_white(image: Image.Image, values: npt.NDArray[Any], found: Pixels) -> Pixels:
    """The picture with the value that a PNG calls transparent shown as white."""
    clear = image.info.get("transparency")
    return np.where(values == clear, np.uint8(255), found) if isinstance(clear, int) else found


def _tag(image: Image.Image, number: int, default: int) -> int:
    """A TIFF tag's whole number, or the first of several."""
    found = getattr(image, "tag_v2", {}).get(number, default)
    found = found[0] if isinstance(found, tuple) and found else found
    return found if isinstance(found, int) else default
