"""`tar:GLOB`: WebDataset's layout by an index; hostile names are names alone, and no part passes for the whole."""

import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import hypothesis
import pytest
from dataset_samples import Sample, labelled, read, samples, write_members, write_tar
from extract_samples import encoded, picture
from hypothesis import strategies as st

from headstart.core.cache.errors import DataInvalid, DataNotFound, HeadstartError
from headstart.core.extract import datasets
from headstart.core.extract.images import Images

NOWHERE = Path("unused")
PNG = encoded(picture(), "PNG")


def opened(path: Path | str, split: str = "all") -> Images:
    return datasets.open_split(f"tar:{path}", split, NOWHERE)


def archive(path: Path, members: Mapping[str, bytes]) -> Path:
    return write_members(path, members)


# ---- the layout


def test_members_of_a_key_make_up_a_row(tmp_path: Path) -> None:
    found = opened(write_tar(tmp_path / "pets.tar", samples(6, "cat", "dog")))
    assert (found.name, found.classes, found.order) == ("tar-pets", ("cat", "dog"), "stratified")
    assert labelled(found) == {f"pets.tar#{n:04d}.png".encode(): "cat" if n < 3 else "dog" for n in range(6)}
    assert read(found).skipped == []
    assert found.remarks == ("6 pictures of 2 classes",)


@pytest.mark.parametrize(
    ("extension", "content", "expected"),
    [
        ("cls", b"7\n", "7"),
        ("txt", b" a cat ", "a cat"),
        ("json", b'{"caption": "no", "label": 7}', "7"),
        ("json", b'"cat"', "cat"),
        ("json", b'{"class": "cat"}', "cat"),
        ("CLS", b"cat", "cat"),
        ("json", b'{"label": null}', ""),
    ],
)
def test_a_label_is_read_from_what_stands_beside_the_picture(
    tmp_path: Path, extension: str, content: bytes, expected: str
) -> None:
    found = opened(archive(tmp_path / "a.tar", {"x/1.png": PNG, f"x/1.{extension}": content}))
    assert labelled(found) == {b"a.tar#x/1.png": expected}


def test_the_key_ends_at_the_first_dot_and_the_rest_is_counted(tmp_path: Path) -> None:
    members = {"a.b/1.png": PNG, "a.b/1.cls": b"x", "a.b/1.seg.txt": b"", "a.b/2.mp3": b"", "README": b"", "1.PNG": PNG}
    found = opened(archive(tmp_path / "a.tar", members))
    assert labelled(found) == {b"a.tar#a.b/1.png": "x", b"a.tar#1.PNG": ""}
    assert "left out: .seg.txt 1, .mp3 1, without suffix 1" in found.remarks[0]


def test_what_systems_leave_is_passed_over(tmp_path: Path) -> None:
    junk = {"._1.png": b"x", "__MACOSX/1.png": b"x", "a/Thumbs.db": b"x", ".DS_Store": b"x", "desktop.ini": b"x"}
    found = opened(archive(tmp_path / "a.tar", {"./1.png": PNG, **junk}))
    assert (found.ids(0, 1), found.remarks) == ([b"a.tar#1.png"], ("1 picture without labels",))


def test_of_several_pictures_or_labels_one_must_be_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"1.jpg": PNG, "1.depth.png": PNG, "1.cls": b"a", "1.fine.cls": b"b"})
    with pytest.raises(DataInvalid, match=r"a\.tar: 1 has several pictures \(\.jpg, \.depth\.png\); .* 'tar:.*a\.tar#jpg'"):
        opened(path)
    assert labelled(opened(f"{path}#depth.png,fine.cls")) == {b"a.tar#1.depth.png": "b"}
    assert labelled(opened(f"{path}#jpg")) == {b"a.tar#1.jpg": "a"}


def test_archives_are_splits_by_their_names(tmp_path: Path) -> None:
    for number, name in enumerate(("train-000.tar", "train-001.tar", "val-000.tar", "test-000.tar")):
        write_tar(tmp_path / name, samples(4, "9", "10", seed=10 * number))
    spec = f"tar:{tmp_path}/{{train,val,test}}-*.tar"
    for spec in (f"tar:{tmp_path}", f"tar:{tmp_path}/*-00?.tar"):
        assert datasets.splits(spec, None, NOWHERE) == ("train", "val", "test")
        train, val, test = (datasets.open_split(spec, split, NOWHERE) for split in ("train", "val", "test"))
        assert (train.rows, val.rows, test.rows, val.classes) == (8, 4, 4, ("9", "10"))
        assert set(test.ids(0, 4)) == {f"test-000.tar#{n:04d}.png".encode() for n in range(4)}


def test_a_range_of_archives_must_be_there_whole(tmp_path: Path) -> None:
    for number in (0, 1):
        write_tar(tmp_path / f"train-{number:03d}.tar", samples(4, "a", "b", seed=10 * number))
    assert opened(f"{tmp_path}/train-{{000..001}}.tar").rows == 8
    with pytest.raises(
        DataNotFound, match=r"train-002\.tar: no such file, of 1 that --dataset tar:.*\{000\.\.002\}\.tar names"
    ):
        opened(f"{tmp_path}/train-{{000..002}}.tar")


def test_a_broken_picture_is_left_out_with_its_name(tmp_path: Path) -> None:
    given = samples(4, "a", "b")
    given[1] = Sample(given[1].name, given[1].content[:40], "a")
    batch = read(opened(write_tar(tmp_path / "a.tar", given)))
    assert [image.id for image in batch.skipped] == ["a.tar#0001.png"]
    assert "can't be decoded" in batch.skipped[0].reason
    assert len(batch.fingerprints) == 4


# ---- what is amiss


def test_an_archive_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(
        DataNotFound, match=r"no picture in the archives, which hold \.cls 1; expected KEY\.jpg and KEY\.cls"
    ):
        opened(archive(tmp_path / "a.tar", {"1.cls": b"a"}))
    with pytest.raises(DataNotFound, match=r"no picture in the archives, which hold nothing"):
        opened(archive(tmp_path / "b.tar", {}))
    with pytest.raises(DataNotFound, match=rf"no such file; {tmp_path} has a\.tar, b\.tar"):
        opened(tmp_path / "c.tar")


@pytest.mark.parametrize(
    ("extension", "content", "message"),
    [
        ("txt", b"a cat\nand a dog", r"1\.txt: 'a cat\\nand a dog'… is longer than a label, as captions are"),
        ("txt", b"x" * 300, "is longer than a label"),
        ("cls", b"\xff", r"1\.cls: no label in UTF-8 can be read from it"),
        ("json", b"{", r"1\.json: no label in UTF-8 can be read from it"),
        ("json", b"[" * 100_000, r"1\.json: no label in UTF-8 can be read from it"),
        ("json", b'{"text": "a"}', r"1\.json: has text, expected one of label, class, target, category, cls"),
        ("json", b'{"label": [1, 2]}', r"1\.json: the label is \[1, 2\], expected text or an integer"),
    ],
)
def test_what_can_be_no_label_is_named(tmp_path: Path, extension: str, content: bytes, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        opened(archive(tmp_path / "a.tar", {"1.png": PNG, f"1.{extension}": content}))


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_archive_is_refused_with_the_way_out(tmp_path: Path, mode: str) -> None:
    path = write_members(tmp_path / f"a.tar.{mode[2:]}", {"1.png": PNG}, mode)
    with pytest.raises(
        DataInvalid, match=r"a compressed archive, in which no picture can be found .* unpack the compression"
    ):
        opened(path)
    with pytest.raises(DataInvalid, match=r"a\.tar: no whole tar archive"):
        opened(path.rename(tmp_path / "a.tar"))


def test_an_archive_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", samples(3, "a", "b"))
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) + 511 & ~511
    for stop in range(0, end + 1, 256):
        path.write_bytes(whole[:stop])
        with pytest.raises(DataInvalid, match=r"^.*a\.tar: "):
            opened(path)


def test_joined_archives_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", samples(2, "a", "b"))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DataInvalid, match=r"more follows after its end at byte [\d,]+, as of joined archives; part them"):
        opened(path)


@hypothesis.given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
@hypothesis.settings(max_examples=150)
def test_a_damaged_archive_gives_rows_or_a_known_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: bool
) -> None:
    path = write_tar(tmp_path_factory.mktemp("any") / "a.tar", samples(2, "a", "b"))
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place] = byte
    path.write_bytes(content[:place] if cut else content)
    try:
        read(opened(path))
    except HeadstartError:
        return


def test_an_archive_that_changes_while_it_is_read_gives_no_picture(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", samples(2, "a", "b"))
    found = opened(path)
    write_tar(path, samples(2, "a", "b", seed=50))
    assert {image.reason for image in read(found).skipped} == {"the archive changed while it was read"}
    assert all(mark.startswith("unreadable: ") for mark in found.fingerprints(0, 2))
    assert read(opened(path)).skipped == []


def test_hostile_names_and_links_touch_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    path = tmp_path / "in/a.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for name in ("../../evil.png", "/etc/evil.png", "a\nb/\x1b[31m.png", "x" * 300 + ".png"):
            head = tarfile.TarInfo(name)
            head.size = len(PNG)
            tar.addfile(head, io.BytesIO(PNG))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            head = tarfile.TarInfo(f"link{kind.decode()}.png")
            head.type, head.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(head)
    found = opened(path)
    assert found.rows == 4
    assert "left out: links and devices 4" in found.remarks[0]
    assert read(found).skipped == []
    assert sorted(os.listdir(tmp_path)) == ["in", "secret.png"]
    assert sorted(os.listdir(tmp_path / "in")) == ["a.tar"]


def test_a_list_of_keys_in_json_is_what_webdataset_writes(tmp_path: Path) -> None:
    """What WebDataset's ShardWriter makes of {"__key__": …, "png": …, "json": …}."""
    members = {}
    for one in samples(4, "a", "b"):
        members[f"{one.name}.json"] = json.dumps({"label": one.label}).encode()
        members[f"{one.name}.png"] = one.content
    assert sorted(labelled(opened(archive(tmp_path / "a.tar", members))).values()) == ["a", "a", "b", "b"]
