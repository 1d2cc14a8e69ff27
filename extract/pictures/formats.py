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
_CODESTREAM, _END = b"\xff\x4f", b"\xff\xd9"
MOST_SCANS = 100
"""Of a JPEG, as libtiff has it of those in TIFF files (tif_jpeg.c: LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER). Encoders write
about ten. Each goes over the whole picture and may have 14 bytes: 1,000 of them, 38 kB, took 3.3 s at 4 megapixels."""
_MOST_SEGMENTS = 20_000
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_SOS, _EOI, _ALONE = 0xDA, 0xD9, (0x01, 0xD8)
"""What begins a scan, what ends the picture, and what has no length (ITU-T T.81, table B.1)."""


@functools.cache
def readable() -> tuple[str, ...]:
    """The formats that the installed Pillow decodes, by its names."""
    own = (name for name in _SUFFIXES if name != _PLUGIN and (name not in _NEEDS or _has(_NEEDS[name])))
    return (*own, _PLUGIN) if _has_heif() else tuple(own)


@functools.cache
def suffixes() -> frozenset[str]:
    """The endings of file names that are taken for pictures, in lower case; what a file holds is told by its content."""
    return frozenset(suffix for name in readable() for suffix in _SUFFIXES[name])


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


def has_scans_without_end(content: bytes) -> bool:
    """Whether a JPEG has more than `MOST_SCANS` scans, by its markers in the order in which they are decoded; or so many
    segments that counting would itself take long."""
    if content.count(bytes((0xFF, _SOS))) <= MOST_SCANS:  # some of these may be in other segments, or behind the end
        return False
    scans, place = 0, 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(content, place)
        if found is None or (kind := found[1][0]) == _EOI:
            return False
        scans += kind == _SOS
        if scans > MOST_SCANS:
            return True
        place = found.end() + (0 if kind in _ALONE else int.from_bytes(content[found.end() : found.end() + 2]))
    return True


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
