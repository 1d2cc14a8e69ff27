"""The picture formats that are read, as far as the installed Pillow reads them, and the names of their files.

Left out are formats that can't be told by their first bytes (TGA), that Pillow decodes in Python (QOI), that hold several
pictures of one thing (ICO), and those that run programs or are documents (EPS, PDF).
"""

import functools
import re

from PIL import features

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),  # of a stereo pair the first picture counts
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
_PLUGIN = "HEIF"
"""What Pillow reads by another package, pillow-heif, where that is installed."""
_NEEDS = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
"""What Pillow may have been built without, as `PIL.features` calls it."""
UNREAD = (".heic", ".heif", ".hif", ".avif", ".jxl", ".tga", ".ico", ".psd", ".raw", ".dng", ".cr2", ".nef", ".arw", ".svg")
"""Suffixes of pictures that can't be read, or by some builds of Pillow only: said of the files left out."""
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""What ends the entropy-coded data of a JPEG scan (ITU-T T.81, B.1.1)."""
_CODESTREAM, _END, _SCAN = b"\xff\x4f", b"\xff\xd9", 0xDA


@functools.cache
def readable() -> tuple[str, ...]:
    """The formats that the installed Pillow decodes, by its names."""
    own = (name for name in _SUFFIXES if name != _PLUGIN and (name not in _NEEDS or _has(_NEEDS[name])))
    return (*own, _PLUGIN) if _has_heif() else tuple(own)


@functools.cache
def suffixes() -> frozenset[str]:
    """The endings of file names that are taken for pictures, in lower case; what a file holds is told by its content."""
    return frozenset(suffix for name in readable() for suffix in _SUFFIXES[name])


def jpeg_scans(content: bytes) -> int:
    """How many scans the first picture of a JPEG file has. Each of a progressive one is a pass over all of its pixels, and
    may take 31 bytes. What comes behind the picture does not count, nor do thumbnails in its headers."""
    place, scans = 2, 0
    while (found := _MARKER.search(content, place)) is not None and content[found.start() + 1] != _END[1]:
        scans += content[found.start() + 1] == _SCAN
        place = found.end() + max(2, int.from_bytes(content[found.end() : found.end() + 2]))
    return scans


def is_whole_jpeg2000(content: bytes) -> bool:
    """Whether a JPEG 2000 file has its end: the decoder shows what it finds of one that was cut between two tiles.

    A codestream ends with the marker EOC (ISO/IEC 15444-1, A.4.4); in a JP2 file it is the box `jp2c` (I.5.4).
    """
    if content.startswith(_CODESTREAM):
        return content.endswith(_END)
    place = 0
    while place + 8 <= len(content):
        size, head = int.from_bytes(content[place : place + 4]), 8
        if size == 1:  # the length is in the next eight bytes
            size, head = int.from_bytes(content[place + 8 : place + 16]), 16
        end = place + size if size else len(content)
        if content[place + 4 : place + 8] == b"jp2c":
            return end <= len(content) and content[place + head : end].endswith(_END)
        if end < place + head:
            return False
        place = end
    return False


def _has_heif() -> bool:
    """Whether pillow-heif is there; Pillow knows its format then, as those of its own plugins once it opens a file."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _has(feature: str) -> bool:
    # an older Pillow warns of a feature that it has not heard of
    return feature in (*features.modules, *features.codecs) and bool(features.check(feature))
