"""Grey of more than 8 bits: shown as bright as it is, by the depth that the file states or that its values have."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import encoded
from PIL import Image, TiffImagePlugin

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.extract.pictures.decode import decode

RAMP = np.linspace(0, 1, 64)


def shown(content: bytes) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The picture's grey values, and what was remarked."""
    said: list[str] = []
    pixels = np.asarray(decode(content, "there", said.append))
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].astype(int), said


def ramp(highest: int, kind: str = "uint16") -> Image.Image:
    return Image.fromarray(np.rint(RAMP * highest).astype(kind)[np.newaxis])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_in_a_16_bit_file_are_not_black_and_are_said(form: str, bits: int) -> None:
    values, said = shown(encoded(ramp(2**bits - 1), form))
    assert np.abs(values - np.rint(RAMP * 255)).max() <= 1
    assert said == [f"no value above {2**bits - 1} in a file of 16 or 32 bits: taken as grey of {bits} bits"]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_16_bits(form: str) -> None:
    values, said = shown(encoded(ramp(65535), form))
    assert np.array_equal(values, np.rint(np.rint(RAMP * 65535) / 257).astype(int))
    assert said == []


def test_8_bit_values_in_a_32_bit_tiff_are_not_black() -> None:
    values, said = shown(encoded(ramp(255, "int32"), "TIFF"))
    assert np.array_equal(values, np.rint(RAMP * 255).astype(int))
    assert said == ["no value above 255 in a file of 16 or 32 bits: taken as grey of 8 bits"]


def test_a_depth_that_the_file_states_is_taken() -> None:
    """A TIFF of 12 bits a sample, two samples in three bytes, in which no value is above 1000."""
    values = [0, 500, 1000, 4]
    packed = b"".join((a << 12 | b).to_bytes(3) for a, b in zip(values[::2], values[1::2], strict=True))
    content = bytearray(encoded(Image.fromarray(np.zeros((1, 4), dtype=np.uint16)), "TIFF"))
    with Image.open(io.BytesIO(content)) as image:
        offset = image.tag_v2[273][0]
    content[offset : offset + 8] = packed + bytes(2)
    for tag, old, new in ((258, 16, 12), (279, 8, 6)):
        kind = 3 if tag == 258 else 4
        entry = (
            tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little") + old.to_bytes(4, "little")
        )
        assert content.count(entry) == 1, tag
        content = content.replace(entry, entry[:8] + new.to_bytes(4, "little"))
    found, said = shown(bytes(content))
    assert found.tolist() == [round(value * 255 / 4095) for value in values]
    assert said == []


def test_a_ppm_states_its_largest_value() -> None:
    assert shown(b"P5 3 1 4095\n" + bytes([0x0F, 0xFF, 0, 0, 0x08, 0]))[0].tolist() == [255, 0, 128]
    dark, said = shown(b"P5 3 1 65535\n" + bytes([0x0F, 0xFF, 0, 0, 0x08, 0]))
    assert (dark.tolist(), said) == ([16, 0, 8], [])


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_white_is_zero_is_no_negative(bits: int, compression: str | None) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    image = ramp(65535) if bits == 16 else Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)[np.newaxis])
    if bits == 8:  # Pillow writes such a file inverted itself
        image = Image.fromarray(np.asarray(image))
    content = encoded(image, "TIFF", tiffinfo=tags, compression=compression)
    with Image.open(io.BytesIO(content)) as stored:
        assert stored.tag_v2[262] == 0
    values, _ = shown(content)
    expected = np.rint(RAMP * 255) if bits == 8 else np.rint((1 - RAMP) * 255)
    assert np.abs(values - expected).max() <= 1


def test_a_black_picture_is_black_without_a_word() -> None:
    assert shown(encoded(ramp(0), "PNG")) == (pytest.approx(np.zeros(64)), [])


def test_a_transparent_value_is_white() -> None:
    image = Image.fromarray(np.array([[0, 30000, 65535]], dtype=np.uint16))
    values, _ = shown(encoded(image, "PNG", transparency=30000))
    assert values.tolist() == [0, 255, 255]


@pytest.mark.parametrize("values", [[-1, 5], [0, 70000]], ids=["negative", "beyond 16 bits"])
def test_values_of_no_known_depth_are_refused(values: list[int]) -> None:
    with pytest.raises(ImageUnreadable, match="grey values outside of 16 bits"):
        shown(encoded(Image.fromarray(np.array([values], dtype=np.int32)), "TIFF"))
