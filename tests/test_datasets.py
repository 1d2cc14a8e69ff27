"""Data sets: every row is what its format says, only the files needed are asked for, and what is amiss is named."""

import dataclasses
import hashlib
import io
import os
import pickle
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torchvision
from extract_samples import CIFAR_RECORD, CIFAR_ROWS, cifar_images, cifar_records, noise, write_picture, write_records
from heads_samples import blobs, make_key, write_set

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.datasets import cifar10, digits
from headstart.core.extract.images import Batch, Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.pictures.preprocess import Preprocessing


def link(source: Path, target: Path) -> Path:
    """A hard link: 30 MB that need not be written again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
    return target


def read(images: Images, start: int, stop: int) -> Batch:
    return images.read(start, stop, Preprocessing(32), 1)


# ---- the registry


PLACES = {
    "a split of a folder": ("folder-pets", "train", "/data/pets/train", ["folder:/data/pets", "folder:/data/pets/train"]),
    "a folder without": (
        "folder-pets", "all", "/data/pets", ["folder:/data/pets", "folder:/data", "classes:/data/pets"],
    ),
    "a list": ("list-pets", "all", "/data/pets.csv", ["list:/data/pets.csv"]),
    "one with a name of its own": ("cifar10", "test", "/data/cifar", ["cifar10"]),
    "one of torchvision's": ("torchvision-MNIST", "test", "/data", ["torchvision-MNIST"]),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_where_the_pictures_of_features_may_be_is_said_as_the_option_takes_it(case: str, tmp_path: Path) -> None:
    name, split, origin, expected = PLACES[case]
    key = dataclasses.replace(make_key(), dataset=name)
    made = write_set(FeatureStore(tmp_path), blobs(4), split, key).manifest
    found = dataclasses.replace(made, provenance=dataclasses.replace(made.provenance, data_from=origin))
    assert datasets.recorded_places(found) == expected


def test_the_data_sets_are_listed_with_what_they_take() -> None:
    assert {"cifar10", "digits", "folder:PATH"} <= set(datasets.names())


@pytest.mark.parametrize("name", ["mnist", "", "cifar", "__init__", "../cifar10", "./lo", "folder-lo"])
def test_an_unknown_data_set_is_answered_with_the_known_ones(name: str, tmp_path: Path) -> None:
    for ask in (lambda: datasets.splits(name, None, tmp_path), lambda: datasets.open_split(name, "train", tmp_path)):
        with pytest.raises(ArgumentInvalid, match=r"unknown.*, expected one of cifar10, classes:PATH, digits, folder:PATH"):
            ask()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar", r"unknown \(did you mean cifar10\?\)"),
        ("./lo", r"unknown \(did you mean --dataset folder:\./lo\?\)"),
        ("folder-lo", r"folder-lo is what features of a folder are called: say where it is with --dataset folder:PATH"),
        ("mnist", r"unknown \(did you mean torchvision:MNIST\?\)"),
        ("digit", r"unknown \(did you mean digits\?\)"),
    ],
)
def test_an_unknown_data_set_is_answered_with_what_was_meant(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentInvalid, match=hint):
        datasets.splits(name, None, tmp_path)


def test_a_data_sets_name_may_have_capital_letters(tmp_path: Path) -> None:
    assert datasets.splits("Digits", None, tmp_path) == ("train", "test")
    assert datasets.open_split("DIGITS", "train", tmp_path).name == "digits"


@pytest.mark.parametrize(
    ("split", "expected"),
    [(None, ("train", "test")), ("all", ("train", "test")), ("train", ("train",)), ("test", ("test",))],
)
def test_splits_asked_for_are_those_given_or_all(split: str | None, expected: tuple[str, ...], tmp_path: Path) -> None:
    assert datasets.splits("digits", split, tmp_path) == expected


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match="--split val: digits has only train, test"):
        datasets.splits("digits", "val", tmp_path)


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_an_argument_that_a_data_set_does_not_take_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=f"--dataset {name}:here: {name} takes no argument"):
        datasets.splits(f"{name}:here", None, tmp_path)


# ---- CIFAR-10, binary version


def test_a_hand_made_record_is_read_plane_by_plane_and_row_by_row(tmp_path: Path) -> None:
    records = np.zeros((CIFAR_ROWS, CIFAR_RECORD), dtype=np.uint8)
    records[7, 0] = 3
    records[7, 1 + 0 * 1024 + 32 * 5 + 9] = 10  # red at y = 5, x = 9
    records[7, 1 + 1 * 1024 + 32 * 31 + 0] = 20  # green at the lower left
    records[7, 1 + 2 * 1024 + 32 * 0 + 31] = 30  # blue at the upper right
    write_records(tmp_path / "data_batch_1.bin", records)
    images = cifar10.open_split("", "train", tmp_path)
    expected = np.zeros((32, 32, 3), dtype=np.uint8)
    expected[5, 9], expected[31, 0], expected[0, 31] = (10, 0, 0), (0, 20, 0), (0, 0, 30)
    assert np.array_equal(read(images, 7, 8).pixels[0], expected)
    assert images.labels(6, 9).tolist() == [0, 3, 0]
    assert images.classes[3] == "cat"


def test_rows_come_in_order_across_the_files_border(cifar_files: tuple[Path, Path], tmp_path: Path) -> None:
    for number, file in enumerate(cifar_files, 1):
        link(file, tmp_path / f"data_batch_{number}.bin")
    images = cifar10.open_split("", "train", tmp_path)
    records = np.concatenate([cifar_records(1)[-2:], cifar_records(2)[:3]])
    batch = read(images, 9_998, 10_003)
    assert np.array_equal(batch.pixels, cifar_images(records))
    assert images.labels(9_998, 10_003).tolist() == records[:, 0].tolist()
    assert images.ids(9_999, 10_001) == [b"9999", b"10000"]
    assert list(batch.fingerprints) == images.fingerprints(9_998, 10_003)


@pytest.mark.parametrize("start", [0, 9_999, 10_000, 19_999])
def test_no_rows_are_no_rows_anywhere(cifar_files: tuple[Path, Path], tmp_path: Path, start: int) -> None:
    for number, file in enumerate(cifar_files, 1):
        link(file, tmp_path / f"data_batch_{number}.bin")
    assert len(cifar10.open_split("", "train", tmp_path).labels(start, start)) == 0


def test_only_the_files_of_the_rows_asked_for_are_needed(cifar_files: tuple[Path, Path], tmp_path: Path) -> None:
    link(cifar_files[0], tmp_path / "data_batch_1.bin")
    images = cifar10.open_split("", "train", tmp_path)
    assert images.rows == 50_000
    assert len(read(images, 9_990, 10_000).pixels) == 10
    message = (
        r"data_batch_2\.bin: missing, .* or ask for less with --limit \(the 1 training files that are there hold 10000 rows"
    )
    for ask in (lambda: read(images, 9_990, 10_001), lambda: images.labels(10_000, 10_001)):
        with pytest.raises(DataNotFound, match=message):
            ask()


def test_a_missing_test_file_is_named_at_once(cifar_files: tuple[Path, Path], tmp_path: Path) -> None:
    link(cifar_files[0], tmp_path / "data_batch_1.bin")
    with pytest.raises(DataNotFound, match=r"test_batch\.bin: missing"):
        cifar10.open_split("", "test", tmp_path)


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_file_of_another_length_is_refused(cifar_files: tuple[Path, Path], tmp_path: Path, extra: int) -> None:
    path = tmp_path / "test_batch.bin"
    path.write_bytes((cifar_files[0].read_bytes() + b"\0")[: CIFAR_ROWS * CIFAR_RECORD + extra])
    message = rf"test_batch\.bin: {CIFAR_ROWS * CIFAR_RECORD + extra} bytes, expected 30730000; fetch https://"
    with pytest.raises(DataInvalid, match=message):
        cifar10.open_split("", "test", tmp_path)


def spoiled_record(content: bytes) -> bytes:
    place = 4_321 * CIFAR_RECORD
    return content[:place] + b"\x0a" + content[place + 1 :]


SPOILED = {
    "a byte short": (lambda content: content[:-1], "30729999 bytes, expected 30730000"),
    "a byte long": (lambda content: content + b"\0", "30730001 bytes, expected 30730000"),
    "a record short": (lambda content: content[CIFAR_RECORD:], "30726927 bytes, expected 30730000"),
    "empty": (lambda content: content[:0], "0 bytes, expected 30730000"),
    "label 10": (spoiled_record, "record 4321 has the label 10, expected 0 to 9"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_a_spoiled_training_file_is_refused_as_soon_as_one_of_its_rows_is_asked_for(
    cifar_files: tuple[Path, Path], tmp_path: Path, fault: str
) -> None:
    spoil, reason = SPOILED[fault]
    link(cifar_files[0], tmp_path / "data_batch_1.bin")
    (tmp_path / "data_batch_2.bin").write_bytes(spoil(cifar_files[1].read_bytes()))
    images = cifar10.open_split("", "train", tmp_path)
    assert read(images, 9_998, 10_000).rows.tolist() == [9_998, 9_999]
    for ask in (
        lambda: read(images, 9_999, 10_001),
        lambda: images.labels(10_000, 10_001),
        lambda: images.fingerprints(19_999, 20_000),
    ):
        with pytest.raises(DataInvalid, match=rf"data_batch_2\.bin: {reason}; fetch https://"):
            ask()


def test_a_label_that_is_no_class_is_refused_with_its_record(tmp_path: Path) -> None:
    records = cifar_records(1)
    records[5, 0], records[8, 0] = 10, 200
    write_records(tmp_path / "test_batch.bin", records)
    with pytest.raises(DataInvalid, match=r"test_batch\.bin: record 5 has the label 10, expected 0 to 9"):
        cifar10.open_split("", "test", tmp_path)


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_the_data_folder_may_be_the_batches_or_their_parent(
    cifar_files: tuple[Path, Path], tmp_path: Path, below: str
) -> None:
    link(cifar_files[0], tmp_path / below / "data_batch_1.bin")
    assert cifar10.open_split("", "train", tmp_path).source == str(tmp_path / below)


def test_a_stand_in_for_the_test_set_is_noted(cifar_files: tuple[Path, Path], tmp_path: Path) -> None:
    link(cifar_files[0], tmp_path / "even" / "test_batch.bin")
    records = cifar_records(1)
    records[0, 0] = 9
    write_records(tmp_path / "uneven" / "test_batch.bin", records)
    assert cifar10.open_split("", "test", tmp_path / "even").notes == ()
    assert cifar10.open_split("", "test", tmp_path / "uneven").notes == (cifar10.STAND_IN,)


def test_training_images_carry_no_note(cifar_files: tuple[Path, Path], tmp_path: Path) -> None:
    link(cifar_files[0], tmp_path / "data_batch_1.bin")
    assert cifar10.open_split("", "train", tmp_path).notes == ()


def test_the_shared_images_are_the_first_of_cifar10(shared: Path) -> None:
    images = cifar10.open_split("", "train", shared)
    assert [images.classes[label] for label in images.labels(0, 5)] == ["frog", "truck", "truck", "deer", "automobile"]
    assert read(images, 0, 1).pixels[0, 0, :2].tolist() == [[59, 62, 63], [43, 46, 45]]
    assert cifar10.open_split("", "test", shared).notes == (cifar10.STAND_IN,)


# ---- CIFAR-10, download


def archive(path: Path, name: str, content: bytes) -> str:
    """A .tar.gz with one member; gives its MD5."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_an_archive_with_the_right_md5_is_unpacked(tmp_path: Path) -> None:
    md5 = archive(tmp_path / "there.tar.gz", f"{cifar10.BINARY}/data_batch_1.bin", b"content")
    folder = cifar10.download(tmp_path / "data", (tmp_path / "there.tar.gz").as_uri(), md5)
    assert folder == tmp_path / "data" / cifar10.BINARY
    assert (folder / "data_batch_1.bin").read_bytes() == b"content"


def test_what_neither_version_is_there_for_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = np.zeros((CIFAR_ROWS, CIFAR_RECORD), dtype=np.uint8)
    records[2, :2] = 4, 99
    md5 = archive(tmp_path / "there.tar.gz", f"{cifar10.BINARY}/data_batch_1.bin", records.tobytes())
    monkeypatch.setattr(cifar10.download, "__defaults__", ((tmp_path / "there.tar.gz").as_uri(), md5))
    images = cifar10.open_split("", "train", tmp_path / "data")
    assert images.labels(0, 4).tolist() == [0, 0, 4, 0]
    assert read(images, 2, 3).pixels[0, 0, 0].tolist() == [99, 0, 0]


def test_an_archive_with_another_md5_is_not_unpacked(tmp_path: Path) -> None:
    archive(tmp_path / "there.tar.gz", f"{cifar10.BINARY}/data_batch_1.bin", b"content")
    with pytest.raises(DataInvalid, match=rf"MD5 is \w+, expected {'0' * 32}; remove the file to download it anew"):
        cifar10.download(tmp_path / "data", (tmp_path / "there.tar.gz").as_uri(), "0" * 32)
    assert not (tmp_path / "data" / cifar10.BINARY).exists()


def test_an_archive_that_is_already_there_is_not_downloaded_again(tmp_path: Path) -> None:
    md5 = archive(tmp_path / "cifar-10-binary.tar.gz", f"{cifar10.BINARY}/data_batch_1.bin", b"content")
    assert (cifar10.download(tmp_path, "file:///nowhere", md5) / "data_batch_1.bin").is_file()


@pytest.mark.parametrize("name", ["../evil", f"{cifar10.BINARY}/../../evil"])
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    md5 = archive(tmp_path / "there.tar.gz", name, b"content")
    with pytest.raises(tarfile.OutsideDestinationError, match="outside the destination"):
        cifar10.download(tmp_path / "data", (tmp_path / "there.tar.gz").as_uri(), md5)
    assert not (tmp_path / "evil").exists()


def test_without_network_the_ways_out_are_named(tmp_path: Path) -> None:
    ways = r"put one of them there, point --data-dir at it, or try --dataset digits, which needs no download"
    with pytest.raises(DataNotFound, match=rf"holds neither cifar-10-batches-bin nor .* failed \(.*\); {ways}"):
        cifar10.download(tmp_path / "data", (tmp_path / "missing.tar.gz").as_uri(), "0" * 32)


class HangsUp(socketserver.BaseRequestHandler):
    """A server that promises a hundred bytes, sends ten and hangs up."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(10))


@pytest.fixture
def broken_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socketserver.TCPServer(("127.0.0.1", 0), HangsUp) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/cifar-10-binary.tar.gz"
        server.shutdown()
        thread.join()


def test_a_download_that_breaks_off_is_an_error_and_keeps_nothing(broken_server: str, tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"downloading http://.* failed"):
        cifar10.download(tmp_path / "data", broken_server, "0" * 32)
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []


# ---- CIFAR-10, python version


class FakeCifar:
    """As much of torchvision's CIFAR10 as we use, since the official pickles can't be had here."""

    made: tuple[str, bool, bool] | None = None

    def __init__(self, root: str, train: bool, download: bool) -> None:
        type(self).made = (root, train, download)
        self.data: npt.NDArray[np.uint8] = noise(6, 32)
        self.targets = [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("inside", [True, False], ids=["folder", "parent"])
def test_the_python_version_is_read_by_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, inside: bool
) -> None:
    folder = tmp_path / cifar10.PYTHON
    folder.mkdir()
    (folder / "batches.meta").touch()
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar)
    images = cifar10.open_split("", split, folder if inside else tmp_path)
    assert FakeCifar.made == (str(tmp_path), split == "train", False)
    assert (images.rows, images.split, images.source, images.classes) == (6, split, str(folder), cifar10.CLASSES)
    assert np.array_equal(read(images, 2, 5).pixels, noise(6, 32)[2:5])
    assert images.labels(2, 5).tolist() == [3, 2, 1]


def test_the_binary_version_is_preferred(
    cifar_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / cifar10.PYTHON).mkdir()
    (tmp_path / cifar10.PYTHON / "batches.meta").touch()
    link(cifar_files[0], tmp_path / cifar10.BINARY / "data_batch_1.bin")
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar)
    assert cifar10.open_split("", "train", tmp_path).source == str(tmp_path / cifar10.BINARY)


def test_a_python_version_that_torchvision_refuses_is_an_error(tmp_path: Path) -> None:
    (tmp_path / cifar10.PYTHON).mkdir()
    (tmp_path / cifar10.PYTHON / "batches.meta").write_bytes(b"altered")
    with pytest.raises(DataInvalid, match=r"torchvision finds files missing or altered \(Dataset not found or corrupted"):
        cifar10.open_split("", "train", tmp_path)


# ---- digits


def test_digits_are_1297_and_500_scans_of_8_pixels(tmp_path: Path) -> None:
    train, test = (digits.open_split("", split, tmp_path) for split in ("train", "test"))
    assert (train.rows, test.rows) == (1297, 500)
    assert read(train, 0, 1297).pixels.shape == (1297, 8, 8, 3)
    assert read(test, 0, 500).pixels.dtype == np.uint8
    assert train.labels(0, 5).tolist() == [0, 1, 2, 3, 4]
    assert train.classes == tuple("0123456789")


def test_digits_are_scikit_learns_scans_in_order_as_grey_from_0_to_255(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.concatenate(
        [read(digits.open_split("", s, tmp_path), 0, n).pixels for s, n in (("train", 1297), ("test", 500))]
    )
    labels = np.concatenate([digits.open_split("", s, tmp_path).labels(0, n) for s, n in (("train", 1297), ("test", 500))])
    assert np.array_equal(labels, found.target)
    assert (pixels == pixels[..., :1]).all()
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.abs(pixels[..., 0] / 255 - found.images / 16).max() <= 0.5 / 255 + 1e-9


# ---- folders


def tree(root: Path, *paths: str) -> Path:
    for seed, path in enumerate(paths):
        write_picture(root / path, seed)
    return root


def opened(root: Path, split: str = "all") -> FileImages:
    """A split with its rows in the order of their names."""
    images = datasets.open_split(f"folder:{root}", split, Path("unused"))
    assert isinstance(images, FileImages)
    return images.in_order("unknown")


def test_class_folders_are_sorted_as_strings(tmp_path: Path) -> None:
    images = opened(tree(tmp_path, "2/a.png", "10/b.png", "1/c.png", "1/a.png"))
    assert images.classes == ("1", "10", "2")
    assert images.paths == ("1/a.png", "1/c.png", "10/b.png", "2/a.png")
    assert images.labels(0, 4).tolist() == [0, 0, 1, 2]
    assert images.name == f"folder-{tmp_path.name}"


def test_a_folder_of_classes_is_one_split(tmp_path: Path) -> None:
    spec = f"folder:{tree(tmp_path, 'cat/a.png')}"
    assert datasets.splits(spec, None, tmp_path) == datasets.splits(spec, "all", tmp_path) == ("all",)
    with pytest.raises(DataNotFound, match=r"--split train: folder:.* has only all"):
        datasets.splits(spec, "train", tmp_path)


def test_train_and_test_folders_are_splits(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/dog/d.png")
    assert datasets.splits(f"folder:{tmp_path}", None, tmp_path) == ("train", "test")
    train, test = opened(tmp_path, "train"), opened(tmp_path, "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert (train.root, train.paths) == (tmp_path / "train", ("cat/a.png", "dog/b.png"))
    assert (test.split, test.paths) == ("test", ("cat/c.png", "dog/d.png"))


def test_a_test_folder_that_lacks_a_class_keeps_the_indices(tmp_path: Path) -> None:
    tree(tmp_path, "train/ape/a.png", "train/bee/b.png", "train/cow/c.png", "test/cow/d.png", "test/bee/e.png")
    test = opened(tmp_path, "test")
    assert test.classes == ("ape", "bee", "cow")
    assert dict(zip(test.paths, test.targets, strict=True)) == {"bee/e.png": 1, "cow/d.png": 2}


def test_a_class_folder_without_pictures_keeps_its_index(tmp_path: Path) -> None:
    tree(tmp_path, "ape/a.png", "cow/c.png")
    (tmp_path / "bee").mkdir()
    assert opened(tmp_path).targets == (0, 2)


def test_a_test_class_that_training_has_not_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/a.png", "test/cat/b.png", "test/dog/c.png", "test/elk/d.png")
    with pytest.raises(DataInvalid, match=r"test: has the classes dog, elk, which .*train has not"):
        opened(tmp_path, "test")


def test_a_test_folder_alone_has_its_own_classes(tmp_path: Path) -> None:
    tree(tmp_path, "test/cat/a.png", "test/dog/b.png")
    assert datasets.splits(f"folder:{tmp_path}", None, tmp_path) == ("test",)
    assert opened(tmp_path, "test").classes == ("cat", "dog")


def test_hidden_folders_and_files_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, ".ipynb_checkpoints/a.png", "cat/a.png", "cat/.b.png", "cat/.trash/c.png")
    assert (opened(tmp_path).classes, opened(tmp_path).paths) == (("cat",), ("cat/a.png",))


def test_what_is_not_named_like_a_picture_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "cat/a.png", "cat/b.JPEG", "cat/c.txt", "cat/d")
    assert opened(tmp_path).paths == ("cat/a.png", "cat/b.JPEG")


def test_pictures_in_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    tree(tmp_path, "cat/young/a.png", "cat/b.png", "dog/old/very/c.png")
    images = opened(tmp_path)
    assert images.paths == ("cat/b.png", "cat/young/a.png", "dog/old/very/c.png")
    assert images.targets == (0, 0, 1)


def test_pictures_without_folders_are_unlabelled(tmp_path: Path) -> None:
    images = opened(tree(tmp_path, "b.png", "a.png"))
    assert (images.classes, images.paths) == ((), ("a.png", "b.png"))
    assert images.labels(0, 2).tolist() == [-1, -1]


def test_rows_are_in_a_stratified_order_by_the_hashes_of_their_paths(tmp_path: Path) -> None:
    tree(tmp_path, *(f"cat/{number}.png" for number in range(8)), *(f"dog/{number}.png" for number in range(4)))
    images = datasets.open_split(f"folder:{tmp_path}", "all", Path("unused"))
    assert isinstance(images, FileImages)
    assert (images.order, images.in_order("stratified")) == ("stratified", images)
    assert images.labels(0, 12).tolist() == [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0]
    cats = [path for path in images.paths if path.startswith("cat")]
    assert cats == sorted(cats, key=lambda path: hashlib.sha256(path.encode()).digest())
    assert images.labels(0, 12).tolist() == [int(path.startswith("dog")) for path in images.paths]
    by_name = images.in_order("unknown")
    assert (by_name.order, by_name.paths) == ("unknown", tuple(sorted(images.paths)))
    assert by_name.labels(0, 12).tolist() == [0] * 8 + [1] * 4


def test_images_can_be_sent_to_another_process(tmp_path: Path) -> None:
    images = datasets.open_split(f"folder:{tree(tmp_path, 'cat/a.png', 'dog/b.png')}", "all", Path("unused"))
    # how multiprocessing sends them, and no file of anybody's is read
    assert pickle.loads(pickle.dumps(images)).ids(0, 2) == images.ids(0, 2)


def test_what_was_found_is_said(tmp_path: Path) -> None:
    tree(tmp_path, "cat/a.png", "dog/b.png", "dog/c.png", "beside.png")
    for name in ("cat/notes.txt", "cat/.DS_Store", "dog/a.jxl", "readme.md"):
        (tmp_path / name).touch()
    (tmp_path / "emu").mkdir()
    summary, empty = opened(tmp_path).remarks
    assert summary.startswith(
        "3 pictures of 2 of 3 classes; left out: 4 files (.jxl 1, .md 1, .txt 1, pictures beside the class"
    )
    assert "; .jxl can't be read here: convert such pictures to JPEG or PNG" in summary
    assert empty == "1 class folder is empty: emu"


def test_a_class_without_pictures_in_a_split_is_not_counted_there(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{split}/{name}/a.png" for split in ("train", "val") for name in ("cat", "dog")), "train/emu/a.png")
    (tmp_path / "val/emu").mkdir()
    first = [opened(tmp_path, split).remarks[0] for split in ("train", "val")]
    assert first == ["train: 3 pictures of 3 classes", "val: 2 pictures of 2 of 3 classes"]
    rows = [
        "path,label,split",
        *(
            f"{path},{path.split('/')[1]},{path.split('/')[0]}"
            for path in sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.png"))
        ),
    ]
    (tmp_path / "pets.csv").write_text("\n".join(rows))
    listed = [datasets.open_split(f"list:{tmp_path}/pets.csv", split, tmp_path).remarks[0] for split in ("train", "val")]
    assert listed == first


def test_splits_are_counted_each(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/a.png", "train/dog/b.png", "val/cat/c.png")
    (tmp_path / "val/cat/x.csv").touch()
    train, val = (opened(tmp_path, split) for split in ("train", "val"))
    said = (
        "the folder has no test pictures: heads are tested by cross-validation, and chosen on val/ if it has "
        "100 pictures or more and both folders have all classes (else it may join train/); call val/ test/ to test on it "
        "instead"
    )
    assert train.remarks == ("train: 2 pictures of 2 classes", said)
    assert val.remarks == ("val: 1 picture of 1 of 2 classes; left out: 1 file (.csv 1)", said)
    assert train.notes == val.notes == ()
    assert (val.root, val.paths) == (tmp_path / "val", ("cat/c.png",))


def test_validation_pictures_are_a_split_and_may_have_classes_of_their_own(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/a.png", "train/dog/b.png", "valid/cat/a.png", "valid/emu/d.png", "test/dog/e.png")
    train, val, test = (opened(tmp_path, split) for split in ("train", "val", "test"))
    assert train.classes == val.classes == test.classes == ("cat", "dog", "emu")
    assert dict(zip(train.paths, train.targets, strict=True)) == {"cat/a.png": 0, "dog/b.png": 1}
    assert dict(zip(val.paths, val.targets, strict=True)) == {"cat/a.png": 0, "emu/d.png": 2}
    assert (train.root, val.root, test.paths, test.targets) == (
        tmp_path / "train",
        tmp_path / "valid",
        ("dog/e.png",),
        (1,),
    )


def test_a_training_folder_alone_is_one_set(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/a.png", "train/dog/b.png")
    assert datasets.splits(f"folder:{tmp_path}", None, tmp_path) == ("all",)
    assert (opened(tmp_path).root, opened(tmp_path).paths) == (tmp_path / "train", ("cat/a.png", "dog/b.png"))


def test_each_sub_folder_can_be_made_a_class_by_hand(tmp_path: Path) -> None:
    tree(tmp_path, "engine/a/1.png", "test/b/2.png", "train/3.png")
    spec = datasets.undivided(f"folder:{tmp_path}")
    assert datasets.splits(spec, None, tmp_path) == ("all",)
    images = datasets.open_split(spec, "all", tmp_path)
    assert images.classes == ("engine", "test", "train")
    assert (images.name, images.rows) == (f"folder-{tmp_path.name}", 3)
    assert datasets.undivided(spec) == spec
    with pytest.raises(
        DataNotFound, match="--no-splits: digits has splits of its own; the option is for --dataset folder:PATH"
    ):
        datasets.undivided("digits")


def test_classes_that_look_alike_are_refused_with_their_codes(tmp_path: Path) -> None:
    tree(tmp_path, "caf\u00e9/a.png", "cafe\u0301/b.png")
    with pytest.raises(DataInvalid, match=r"'cafe\\u0301' and 'caf\\xe9' differ only in Unicode form \(NFC and NFD\)"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "hint"),
    [
        ("caf\u00e9", "cafe\u0301", r"has the classes cafe\\u0301, .* 'cafe\\u0301' is not 'caf\\xe9': rename one"),
        ("Cat", "cat", r"has the classes cat, .* 'cat' is not 'Cat': rename one of the two"),
    ],
    ids=["Unicode form", "capital letters"],
)
def test_a_test_class_spelled_otherwise_is_named(tmp_path: Path, train: str, test: str, hint: str) -> None:
    tree(tmp_path, f"train/{train}/a.png", f"test/{test}/b.png")
    with pytest.raises(DataInvalid, match=hint):
        opened(tmp_path, "test")


def test_classes_that_differ_in_capitals_only_are_said(tmp_path: Path) -> None:
    assert opened(tree(tmp_path, "Cat/a.png", "cat/b.png")).remarks[1:] == (
        "class folders that differ in capital letters only: Cat, cat",
    )


def test_many_classes_are_not_spelled_out_in_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/a.png", *(f"test/class {number:03d}/b.png" for number in range(200)))
    with pytest.raises(DataInvalid, match=r"class 009 and 190 more, which .*train has not") as caught:
        opened(tmp_path, "test")
    assert len(str(caught.value)) < 500


def test_a_newline_in_a_class_name_is_spelled_out(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/a.png", "test/two\nlines/b.png")
    with pytest.raises(DataInvalid, match=r"has the classes two\\nlines,"):
        opened(tmp_path, "test")


def test_what_there_is_instead_of_pictures_is_said(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("cat/a.jxl", "cat/b.jxl", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(
        DataNotFound, match=r"no pictures \(.*\); left out: 3 files \(\.jxl 2, \.txt 1\); \.jxl can't be read"
    ):
        opened(tmp_path)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(
        DataNotFound, match=r"no pictures \(\.apng, .*\), and no other files; expected .*/CLASS/PICTURE\.jpg"
    ):
        opened(tmp_path)


@pytest.mark.parametrize("ask", ["splits", "open_split"])
def test_a_path_that_is_no_folder_is_an_error(tmp_path: Path, ask: str) -> None:
    write_picture(tmp_path / "a.png")
    for path in (tmp_path / "missing", tmp_path / "a.png"):
        with pytest.raises(DataNotFound, match=rf"^--dataset folder:{path}: no such folder"):
            getattr(datasets, ask)(f"folder:{path}", "train", tmp_path)


@pytest.mark.parametrize("spec", ["folder", "folder:"])
def test_a_folder_without_a_path_is_an_error(tmp_path: Path, spec: str) -> None:
    with pytest.raises(DataNotFound, match="--dataset folder: no path; expected --dataset folder:PATH"):
        datasets.splits(spec, None, tmp_path)


def test_a_path_may_hold_colons_or_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tree(tmp_path, "a:b/cat/x.png")
    assert opened(tmp_path / "a:b").paths == ("cat/x.png",)
    assert opened(Path("~/a:b")).root == tmp_path / "a:b"
