"""What rows are by content: hashed once, asked of the file system before that, told apart from what is not known."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from extract_samples import array_images, file_images, noise, write_picture
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.digests import from_hex
from headstart.core.extract.images import rows_digest
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.images.files import FileImages


def test_marks_and_digests_are_the_images_own(tmp_path: Path) -> None:
    images = file_images(tmp_path, 5)
    contents = Contents(images)
    assert contents.marks(1, 4) == images.fingerprints(1, 4)
    contents.read(range(5))
    assert np.array_equal(contents.digests(4), from_hex(images.fingerprints(0, 4)))
    assert contents.inputs(0, 5) == rows_digest(images, (0, 5))
    assert contents.stat(0, 5) == images.stat(0, 5) is not None


def test_a_file_is_hashed_once_in_a_run(tmp_path: Path) -> None:
    images = file_images(tmp_path, 3)
    contents = Contents(images)
    first = contents.marks(0, 3)
    write_picture(tmp_path / "01.png", seed=99)
    contents.read([0, 1, 2])
    assert contents.marks(0, 3) == first != images.fingerprints(0, 3)
    contents.learn(1, images.fingerprints(1, 2)[0])
    assert contents.marks(0, 3) == images.fingerprints(0, 3)


def test_the_file_system_is_asked_before_a_file_is_hashed(tmp_path: Path) -> None:
    images = file_images(tmp_path, 3)
    before = images.stat(0, 3)
    contents = Contents(images)
    contents.read(range(3))
    write_picture(tmp_path / "01.png", seed=99)
    assert contents.stat(0, 3) == before != images.stat(0, 3)


def test_what_is_not_known_or_not_readable_is_like_no_other(tmp_path: Path) -> None:
    images = file_images(tmp_path, 4)
    (tmp_path / "02.png").unlink()
    contents = Contents(images)
    contents.read([0, 2])
    assert contents.marks(2, 3) == images.fingerprints(2, 3)
    assert contents.marks(2, 3)[0].startswith("unreadable")
    assert contents.stat(0, 4) is None
    digests = contents.digests(4)
    assert len(np.unique(digests, axis=0)) == 4
    assert digests[0].tobytes().hex() == images.fingerprints(0, 1)[0]
    assert not (digests == 0).all(axis=1).any()
    contents.learn(2, "ab" * 32)
    assert contents.marks(2, 3) == ["ab" * 32]


def test_rows_are_asked_for_in_parts_whatever_their_gaps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = file_images(tmp_path, 9)
    asked: list[tuple[int, int]] = []
    real = FileImages.fingerprints

    def fingerprints(self: FileImages, start: int, stop: int) -> list[str]:
        asked.append((start, stop))
        return real(self, start, stop)

    monkeypatch.setattr(FileImages, "fingerprints", fingerprints)
    monkeypatch.setattr("headstart.core.extract.images.contents._BLOCK", 3)
    contents = Contents(images)
    contents.read([1, 2, 5])
    contents.read(range(9))
    assert asked == [(1, 3), (5, 6), (0, 1), (3, 5), (6, 9)]
    contents.read(range(9))
    assert len(asked) == 5


def test_arrays_have_no_facts_and_nothing_else_is_amiss() -> None:
    images = array_images(noise(4, 8))
    contents = Contents(images)
    assert contents.stat(0, 4) is None
    assert contents.marks(0, 4) == images.fingerprints(0, 4)
    assert Contents(array_images(noise(0, 8))).digests(0).shape == (0, 32)


def test_what_is_remembered_of_files_is_not_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = file_images(tmp_path, 6)
    first = Contents(images)
    expected = first.marks(0, 6)
    known = first.known_files(6)
    write_picture(tmp_path / "01.png", seed=99)
    (tmp_path / "04.png").unlink()
    asked: list[int] = []
    real = FileImages.fingerprints

    def fingerprints(self: FileImages, start: int, stop: int) -> list[str]:
        asked.extend(range(start, stop))
        return real(self, start, stop)

    monkeypatch.setattr(FileImages, "fingerprints", fingerprints)
    contents = Contents(images, lambda: known)
    marks = contents.marks(0, 6)
    assert asked == [1, 4]
    assert [row for row in range(6) if marks[row] == expected[row]] == [0, 2, 3, 5]
    assert marks == real(images, 0, 6)
    assert len(contents.known_files(6).ids) == 5  # what can't be read is not remembered
    assert asked == [1, 4]


def test_rows_that_were_not_read_stay_remembered(tmp_path: Path) -> None:
    images = file_images(tmp_path, 4)
    first = Contents(images)
    first.read(range(4))
    known = first.known_files(4)
    again = Contents(images, lambda: known)
    assert again.known_files(4).to_bytes() == known.to_bytes()
    assert len(Contents(images).known_files(4).ids) == 0
    assert len(Contents(array_images(noise(4, 8))).known_files(4).ids) == 0


def test_what_one_process_knows_of_some_rows_another_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = file_images(tmp_path, 6)
    (tmp_path / "03.png").unlink()
    first, other = Contents(images), Contents(images)
    stat = first.stat(2, 3)
    first.read([2, 3])
    other.learn(3, images.fingerprints(2, 3)[0])  # it knew that row better: what it is told now counts
    # how it goes to a worker and back; the bytes are this test's own
    other.take(pickle.loads(pickle.dumps(first.known(2, 5))))
    write_picture(tmp_path / "02.png", seed=99)
    assert other.stat(2, 3) == stat != images.stat(2, 3)  # as it was before the file was read
    assert other.marks(2, 4) == first.marks(2, 4)
    assert other.marks(4, 5) == images.fingerprints(4, 5)  # nobody had read it
    first.take(other.known(2, 5))
    monkeypatch.setattr(FileImages, "fingerprints", lambda *_: pytest.fail("read again"))
    first.marks(2, 5)


@given(
    hashed=st.lists(st.integers(0, 11), unique=True),
    unreadable=st.lists(st.integers(0, 11), unique=True),
    span=st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted),
)
def test_what_is_told_of_some_rows_concerns_no_other(hashed: list[int], unreadable: list[int], span: list[int]) -> None:
    images, nothing = array_images(noise(12, 4)), Contents(array_images(noise(12, 4))).digests(12)
    marks = images.fingerprints(0, 12)
    there, here = Contents(images), Contents(images)
    for row in hashed:
        there.learn(row, "unreadable: gone" if row in unreadable else marks[row])
    start, stop = span
    here.take(there.known(start, stop))
    whole, taken = there.digests(12), here.digests(12)
    assert np.array_equal(whole[start:stop], taken[start:stop])
    others = [row for row in range(12) if not start <= row < stop]
    assert np.array_equal(taken[others], nothing[others])
    told = [there.known(0, 12).unreadable.get(row) for row in range(start, stop)]
    assert [here.known(0, 12).unreadable.get(row) for row in range(start, stop)] == told
