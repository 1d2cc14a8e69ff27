"""Whether a JPEG 2000 file is whole: the decoder shows what it finds of one that was cut between two tiles.

A codestream ends with the marker EOC (ISO/IEC 15444-1, A.4.4); in a JP2 file it is the box `jp2c` (I.5.4).
"""

_CODESTREAM, _END = b"\xff\x4f", b"\xff\xd9"


def is_whole(content: bytes) -> bool:
    """Whether the codestream has its end."""
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
