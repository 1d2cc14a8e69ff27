"""Mutated pictures of every form: each is shown as RGB or refused with a reason, and a cut one is never shown in part.

The mutations know no format. What a crafted header may declare is bounded here, so that no mutant takes seconds;
the real limit has a test of its own.

Run as a script this file decodes so many mutants as a user's process does, where a warning is printed: see `main`.
"""

import dataclasses
import functools
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from extract_samples import encoded, picture
from PIL import Image

from headstart.console.group import quiet_pillow
from headstart.core.cache.errors import ImageUnreadable
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.pictures import decode as decoding
from headstart.core.extract.pictures.decode import decode
from headstart.core.extract.pictures.formats import readable
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing

MOST_PIXELS = 1_000_000
SEED = 20230901
TESTS = Path(__file__).resolve().parents[1]
REASON = re.compile(r"there: (can't be decoded \(.+\)|[0-9]+x[0-9]+ px, more than [0-9]+ pixels)", re.DOTALL)


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A smaller limit, and Pillow's warnings no errors: else the tests would refuse what a user's process shows."""
    monkeypatch.setattr(decoding, "MAX_PIXELS", MOST_PIXELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- the corpus


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _animation(form: str) -> bytes:
    frames = [picture(seed=seed) for seed in (1, 2, 3)]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:])


def _transparent() -> Image.Image:
    image = picture(seed=4).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _deep() -> Image.Image:
    return Image.fromarray(np.arange(24 * 16, dtype=np.uint16).reshape(16, 24) * 170)


@functools.cache
def corpus() -> Mapping[str, bytes]:
    """A small file of each kind, by name; the name begins with the form."""
    plain, grey, few = picture(), picture().convert("L"), picture().quantize(16)
    return {
        "JPEG": encoded(plain, "JPEG"),
        "JPEG progressive": encoded(plain, "JPEG", progressive=True),
        "JPEG grey": encoded(grey, "JPEG"),
        "JPEG cmyk": encoded(plain.convert("CMYK"), "JPEG"),
        "JPEG rotated": encoded(plain, "JPEG", exif=_exif(6)),
        "PNG": encoded(plain, "PNG"),
        "PNG transparent": encoded(_transparent(), "PNG"),
        "PNG palette": encoded(few, "PNG", transparency=3),
        "PNG grey": encoded(grey, "PNG"),
        "PNG 16 bits": encoded(_deep(), "PNG"),
        "PNG rotated": encoded(plain, "PNG", exif=_exif(5)),
        "PNG animated": _animation("PNG"),
        "WEBP": encoded(plain, "WEBP"),
        "WEBP lossless": encoded(_transparent(), "WEBP", lossless=True),
        "WEBP rotated": encoded(plain, "WEBP", exif=_exif(8)),
        "WEBP animated": _animation("WEBP"),
        "GIF": encoded(few, "GIF"),
        "GIF animated": _animation("GIF"),
        "BMP": encoded(plain, "BMP"),
        "BMP palette": encoded(few, "BMP"),
        "TIFF": encoded(plain, "TIFF"),
        "TIFF lzw": encoded(plain, "TIFF", compression="tiff_lzw"),
        "TIFF jpeg": encoded(plain, "TIFF", compression="jpeg"),
        "TIFF cmyk": encoded(plain.convert("CMYK"), "TIFF"),
        "TIFF 16 bits": encoded(_deep(), "TIFF"),
        "TIFF transparent": encoded(_transparent(), "TIFF", exif=_exif(3)),
        "PPM": encoded(plain, "PPM"),
        "PPM grey": encoded(grey, "PPM"),
        "PPM 16 bits": b"P5 3 2 4095\n" + bytes(range(12)),
        **(_of_jpeg2000(plain) if "JPEG2000" in readable() else {}),
        **({"AVIF": encoded(plain, "AVIF", exif=_exif(6))} if "AVIF" in readable() else {}),
    }


def _of_jpeg2000(plain: Image.Image) -> Mapping[str, bytes]:
    return {
        "JPEG2000": encoded(plain, "JPEG2000"),
        "JPEG2000 tiles": encoded(plain, "JPEG2000", tile_size=(8, 8)),
        "JPEG2000 bare": encoded(plain, "JPEG2000", no_jp2=True, irreversible=True),
        "JPEG2000 16 bits": encoded(_deep(), "JPEG2000"),
    }


# ---- the mutations

Mutation = Callable[[bytes, np.random.Generator], bytes]


def flip_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bytes changed, anywhere."""
    return _overwritten(content, rng, len(content))


def edit_header(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bytes changed where sizes, kinds and offsets are declared."""
    return _overwritten(content, rng, min(64, len(content)))


def _overwritten(content: bytes, rng: np.random.Generator, below: int) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(below, size=rng.integers(1, 9)):
        changed[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
    return bytes(changed)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """The end cut off."""
    return content[: rng.integers(len(content))]


def duplicate(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece twice."""
    start, stop = _piece(content, rng)
    return content[:stop] + content[start:]


def delete(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece left out."""
    start, stop = _piece(content, rng)
    return content[:start] + content[stop:]


def _piece(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, start + int(rng.integers(1, 65))


MUTATIONS: tuple[Mutation, ...] = (flip_bytes, edit_header, truncate, duplicate, delete)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A picture's name in the corpus, what was done to it, and what came out."""

    source: str
    mutation: Mutation
    content: bytes

    def __str__(self) -> str:
        return f"{self.source}, {self.mutation.__name__}, {self.content.hex()}"


def mutants(count: int) -> Iterator[Mutant]:
    """`count` mutants, the same in every run: all sources and mutations in turn."""
    rng, sources = np.random.default_rng(SEED), list(corpus().items())
    for number in range(count):
        source, content = sources[number % len(sources)]
        mutation = MUTATIONS[number // len(sources) % len(MUTATIONS)]
        yield Mutant(source, mutation, mutation(content, rng))


# ---- what must hold


def shown(content: bytes) -> Image.Image | None:
    """The picture, None where it is refused with a reason; any other error is raised."""
    image, refusal = None, ""
    try:
        image = decode(content, "there")
    except ImageUnreadable as error:
        refusal = str(error)
    if image is None:
        assert REASON.fullmatch(refusal), refusal
        return None
    assert image.mode == "RGB"
    assert 0 < image.width * image.height <= MOST_PIXELS
    assert np.asarray(image).shape == (image.height, image.width, 3)
    return image


@pytest.mark.torture
@pytest.mark.parametrize("name", corpus())
def test_every_picture_of_the_corpus_is_shown(name: str) -> None:
    assert shown(corpus()[name]) is not None


@pytest.mark.torture
def test_every_mutant_is_shown_or_refused_with_a_reason(share: Callable[[int, int], int]) -> None:
    count, refused = share(2000, 400), 0
    for mutant in mutants(count):
        try:
            refused += shown(mutant.content) is None
        except Exception as error:
            error.add_note(str(mutant))  # to be kept as a test of its own
            raise
    assert count // 10 < refused < count - count // 10  # neither do all mutations break a file nor hardly any


@pytest.mark.torture
@pytest.mark.parametrize("name", corpus())
def test_a_picture_cut_anywhere_is_refused_or_shown_whole(name: str, share: Callable[[int, int], int]) -> None:
    content = corpus()[name]
    whole, partial = shown(content), []
    assert whole is not None
    for length in range(0, len(content), share(1, 1 + len(content) // 60)):
        image = shown(content[:length])
        if image is not None and image.tobytes() != whole.tobytes():
            partial.append(length)
    assert partial == []


@pytest.mark.torture
def test_a_folder_of_mutants_keeps_rows_ids_labels_and_reasons_aligned(
    tmp_path: Path, share: Callable[[int, int], int]
) -> None:
    contents = [mutant.content for mutant in mutants(share(2000, 200))]
    paths = tuple(f"{number:04d}.jpg" for number in range(len(contents)))
    for path, content in zip(paths, contents, strict=True):
        (tmp_path / path).write_bytes(content)
    files = FileImages("mutants", "all", ("a", "b", "c"), tmp_path, paths, tuple(i % 3 for i in range(len(paths))))
    batch = files.read(0, len(paths), Preprocessing(8), 4)
    skipped = {image.row: image for image in batch.skipped}
    assert sorted([*batch.rows.tolist(), *skipped]) == list(range(len(paths)))
    pixels = dict(zip(batch.rows.tolist(), batch.pixels, strict=True))
    for row, content in enumerate(contents):
        image = shown(content)
        if image is None:
            assert skipped[row].id == paths[row]
            assert skipped[row].reason
        else:
            assert np.array_equal(pixels[row], framed(image, Preprocessing(8))), row
    assert files.ids(0, len(paths)) == [path.encode() for path in paths]
    assert files.labels(0, len(paths)).tolist() == [row % 3 for row in range(len(paths))]
    assert files.fingerprints(0, len(paths)) == list(batch.fingerprints)


@pytest.mark.torture
def test_no_mutant_makes_python_warn(share: Callable[[int, int], int]) -> None:
    # a warning among a progress bar's lines helps nobody: the reason of what is refused is kept, with the file's name
    done = subprocess.run(
        [sys.executable, __file__, str(share(2000, 400))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "Warning:" in line] == []


def main(count: str) -> None:
    """Decode `count` mutants as the program does, the pixels bounded."""
    decoding.MAX_PIXELS = MOST_PIXELS
    quiet_pillow()
    for mutant in mutants(int(count)):
        shown(mutant.content)


if __name__ == "__main__":
    main(*sys.argv[1:])
