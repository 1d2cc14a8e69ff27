"""torchvision's sets: real files in each class's own layout, read row by row; what is amiss is one line."""

import bz2
import contextlib
import functools
import gzip
import hashlib
import http.server
import inspect
import io
import json
import os
import pickle
import re
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import torchvision.datasets
from click.testing import CliRunner, Result
from extract_samples import ROOT, encoded, noise, picture, printed_by_python, write_picture
from hypothesis import strategies as st

from headstart.core import cli
from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound, OutOfMemory
from headstart.core.extract import datasets
from headstart.core.extract.datasets import torchvision as theirs
from headstart.core.extract.datasets.torchvision import sets
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.pictures.preprocess import Preprocessing

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched from anywhere but this machine."""
    opened = urllib.request.urlopen

    def here_only(request: Any, *args: Any, **named: Any) -> Any:
        url = request if isinstance(request, str) else request.full_url
        if not url.startswith("http://127.0.0.1:"):
            raise urllib.error.URLError("no network\nin tests")
        return opened(request, *args, **named)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(urllib.request, "urlopen", here_only)


def opened(name: str, split: str, root: Path) -> Images:
    return datasets.open_split(f"torchvision:{name}", split, root)


def files(name: str, split: str, root: Path) -> FileImages:
    """A split with its rows in torchvision's order."""
    images = opened(name, split, root)
    assert isinstance(images, FileImages)
    assert images.order == "stratified"
    return images.in_order("unknown")


def pixels(images: Images, start: int, stop: int) -> Pixels:
    return images.read(start, stop, Preprocessing(32), 1).pixels


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def grey(rows: int, size: int = 28, seed: int = 0) -> Pixels:
    return noise(rows, size, seed)[..., 0]


def idx(values: npt.NDArray[np.uint8]) -> bytes:
    """An array in the format of http://yann.lecun.com/exdb/mnist: zeros, type 8, dimensions, lengths, values."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4) for n in values.shape) + values.tobytes()


def write_idx(raw: Path, images: Pixels, labels: Sequence[int], prefixes: Sequence[str] = ("train", "t10k")) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    for prefix in prefixes:
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.array(labels, dtype=np.uint8)))


def mnist(root: Path, rows: int = 6, name: str = "MNIST") -> Path:
    """A small MNIST, whose row i has the label i modulo 10; the test rows differ from the training rows."""
    write_idx(root / name / "raw", grey(rows), [i % 10 for i in range(rows)], ["train"])
    write_idx(root / name / "raw", grey(rows, seed=1), [9 - i % 10 for i in range(rows)], ["t10k"])
    return root


# ---- the names


def test_the_registry_lists_it_with_what_it_takes() -> None:
    assert "torchvision:NAME" in datasets.names()


@pytest.mark.parametrize("name", sets.SETS)
def test_every_name_of_the_table_is_a_class_that_can_be_asked_so(name: str) -> None:
    kind, source = getattr(torchvision.datasets, name), sets.SETS[name]
    assert set(source.splits) in ({"train", "test"}, {"all"})
    for arguments in source.splits.values():
        loader = {"loader": str} if source.read is sets.read_files else {}
        inspect.signature(kind).bind("root", download=False, **arguments, **loader)


def test_the_page_names_the_table() -> None:
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"torchvision's classification sets, by the names they have there: ([^.]*)\.", text)
    assert sorted(re.split(r",\s|\sand\s", listed)) == sorted(sets.SETS)


@pytest.mark.parametrize("name", sets.LEFT_OUT)
def test_what_is_left_out_is_there_in_torchvision_and_says_why(name: str, tmp_path: Path) -> None:
    assert hasattr(torchvision.datasets, name)
    assert name not in sets.SETS
    reason = re.escape(sets.LEFT_OUT[name])
    with pytest.raises(ArgumentInvalid, match=rf"--dataset torchvision:{name}: left out, since {reason}"):
        datasets.splits(f"torchvision:{name}", None, tmp_path)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cifar100", r"unknown \(did you mean CIFAR100\?\), expected one of CIFAR100, Caltech101"),
        ("mnist", r"unknown \(did you mean MNIST or .*expected one of"),
        ("Flowers", r"unknown \(did you mean Flowers102\?\), expected one of"),
        ("../MNIST/raw/../../../x", "unknown, expected one of CIFAR100"),
        ("__init__", "unknown, expected one of CIFAR100"),
        ("", "no name, expected one of CIFAR100"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(name: str, answer: str, tmp_path: Path) -> None:
    for ask in (datasets.splits, datasets.open_split):
        with pytest.raises(ArgumentInvalid, match=rf"^--dataset torchvision:{re.escape(name)}: {answer}"):
            ask(f"torchvision:{name}", "train", tmp_path)


@hypothesis.given(st.text(max_size=20) | st.sampled_from(sorted({*sets.SETS, *sets.LEFT_OUT})))
def test_any_name_is_in_the_table_or_an_error(name: str) -> None:
    with contextlib.suppress(ArgumentInvalid):
        assert theirs.splits(name, Path("nowhere")) in (("train", "test"), ("all",))
        assert name in sets.SETS


def test_splits_are_known_without_torch(tmp_path: Path) -> None:
    ask = "print(datasets.splits('torchvision:DTD', None, '.'), 'torch' in sys.modules)"
    code = f"import sys; from headstart.core.extract import datasets; {ask}"
    assert printed_by_python(code) == "('train', 'test') False\n"
    assert datasets.splits("torchvision:EuroSAT", None, tmp_path) == ("all",)
    with pytest.raises(DataNotFound, match="--split test: torchvision:EuroSAT has only all"):
        datasets.splits("torchvision:EuroSAT", "test", tmp_path)


def test_the_name_in_keys_is_understood_as_well(tmp_path: Path) -> None:
    name = opened("MNIST", "test", mnist(tmp_path)).name
    assert name == "torchvision-MNIST"
    assert datasets.splits(name, None, tmp_path) == ("train", "test")
    assert datasets.open_split(name, "test", tmp_path).labels(0, 2).tolist() == [9, 8]


# ---- arrays


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_idx_files_are_read_as_three_equal_channels(tmp_path: Path, name: str) -> None:
    train, test = (opened(name, split, mnist(tmp_path, 12, name)) for split in ("train", "test"))
    assert (train.rows, train.split, train.source) == (12, "train", str(tmp_path))
    assert train.classes == tuple(getattr(torchvision.datasets, name).classes)
    assert np.array_equal(pixels(train, 3, 7), np.repeat(grey(12)[3:7, :, :, np.newaxis], 3, axis=3))
    assert np.array_equal(pixels(test, 0, 12)[..., 1], grey(12, seed=1))
    assert train.labels(9, 12).tolist() == [9, 0, 1]
    assert train.labels(0, 12).dtype == np.int64
    assert train.ids(10, 12) == [b"10", b"11"]
    assert list(train.read(2, 4, Preprocessing(32), 1).fingerprints) == train.fingerprints(2, 4)


@hypothesis.given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.data())
def test_any_range_of_any_size_is_what_was_written(
    rows: int, height: int, width: int, seed: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    random = np.random.default_rng(seed)
    values, labels = random.integers(0, 256, (rows, height, width), dtype=np.uint8), random.integers(0, 10, rows)
    with tempfile.TemporaryDirectory() as root:
        write_idx(Path(root) / "MNIST/raw", values, labels.tolist())
        images = opened("MNIST", "train", Path(root)).in_order("unknown")
        assert np.array_equal(pixels(images, start, stop), np.stack([values[start:stop]] * 3, axis=-1))
        assert images.labels(start, stop).tolist() == labels[start:stop].tolist()


def test_mixed_arrays_stay_in_torchvisions_order(tmp_path: Path) -> None:
    images = opened("MNIST", "train", mnist(tmp_path, 30))
    assert images.order == "mixed"
    assert images.ids(0, 30) == [b"%d" % row for row in range(30)]
    assert images.in_order("unknown") is images


def test_arrays_whose_classes_stand_together_are_stratified_under_torchvisions_row_numbers(tmp_path: Path) -> None:
    values, labels = grey(40), [row // 10 for row in range(40)]
    write_idx(tmp_path / "MNIST/raw", values, labels)
    images = opened("MNIST", "train", tmp_path)
    assert images.order == "stratified"
    numbers = [int(name) for name in images.ids(0, 40)]
    assert sorted(numbers) == list(range(40))
    assert sorted(images.labels(0, 4).tolist()) == [0, 1, 2, 3]
    assert images.labels(5, 17).tolist() == [labels[number] for number in numbers[5:17]]
    assert np.array_equal(pixels(images, 5, 17)[..., 0], values[numbers[5:17]])
    assert images.fingerprints(5, 17) == list(images.read(5, 17, Preprocessing(32), 1).fingerprints)
    own = images.in_order("unknown")
    assert (own.order, own.ids(3, 5), own.labels(0, 40).tolist()) == ("unknown", [b"3", b"4"], labels)
    assert np.array_equal(pixels(own, 5, 17)[..., 0], values[5:17])


CIFAR = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)


def cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pickles in CIFAR-100's layout, which torchvision is told to expect."""
    folder = root / "cifar-100-python"
    folder.mkdir()
    contents: dict[str, dict[str, object]] = {
        "train": {"data": CIFAR, "fine_labels": [5, 0, 99, 7]},
        "test": {"data": CIFAR[:1], "fine_labels": [1]},
        "meta": {"fine_label_names": [f"class {i}" for i in range(100)]},
    }
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
    kind = torchvision.datasets.CIFAR100
    monkeypatch.setattr(kind, "train_list", [["train", md5(folder / "train")]])
    monkeypatch.setattr(kind, "test_list", [["test", md5(folder / "test")]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / "meta")})
    return root


def test_cifar100_is_read_plane_by_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = opened("CIFAR100", "train", cifar100(tmp_path, monkeypatch))
    assert (images.rows, len(images.classes), images.classes[7]) == (4, 100, "class 7")
    assert images.labels(0, 4).tolist() == [5, 0, 99, 7]
    assert pixels(images, 1, 2)[0, 2, 3].tolist() == [CIFAR[1, plane * 1024 + 2 * 32 + 3] for plane in range(3)]


class Runs:
    """A pickle that creates a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["train", "meta"])
def test_an_altered_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    altered = cifar100(tmp_path, monkeypatch) / "cifar-100-python" / name
    altered.write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises((DataNotFound, DataInvalid), match=r"CIFAR100.*(no network|not found or corrupted)"):
        opened("CIFAR100", "train", tmp_path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(altered.read_bytes())  # on purpose: unless the file is armed, refusing it above would prove nothing
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["training.pt", "test.pt"])
def test_old_pickled_copies_of_mnist_are_refused(tmp_path: Path, file: str) -> None:
    copy = mnist(tmp_path) / "MNIST" / "processed" / file
    copy.parent.mkdir()
    copy.write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(DataInvalid, match=rf"processed/{file}: pickled and without a hash; remove .*/MNIST/processed"):
        opened("MNIST", "train", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_svhn_is_read_from_its_matlab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    values = noise(4, 32)
    savemat(tmp_path / "test_32x32.mat", {"X": values.transpose(1, 2, 3, 0), "y": np.array([[3], [10], [1], [9]])})
    listed = {"test": ["http://nowhere", "test_32x32.mat", md5(tmp_path / "test_32x32.mat")]}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listed)
    images = opened("SVHN", "test", tmp_path)
    assert np.array_equal(pixels(images, 1, 3), values[1:3])
    assert pixels(images, 1, 3).flags.c_contiguous
    assert (images.labels(0, 4).tolist(), images.classes) == ([3, 0, 1, 9], tuple("0123456789"))


def test_stl10_has_columns_first_and_labels_from_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    values = noise(2, 96)
    (folder / "test_X.bin").write_bytes(values.transpose(0, 3, 2, 1).tobytes())
    (folder / "test_y.bin").write_bytes(bytes([10, 1]))
    (folder / "class_names.txt").write_text("not\nhashed\n")
    listed = [[name, md5(folder / name)] for name in ("test_X.bin", "test_y.bin")]
    monkeypatch.setattr(torchvision.datasets.STL10, "train_list", [])
    monkeypatch.setattr(torchvision.datasets.STL10, "test_list", listed)
    images = opened("STL10", "test", tmp_path)
    assert np.array_equal(pixels(images, 0, 2), values)
    assert [images.classes[label] for label in images.labels(0, 2)] == ["truck", "airplane"]


def test_usps_is_read_from_its_text(tmp_path: Path) -> None:
    lines = [f"{label} " + " ".join(f"{i}:{value}" for i in range(1, 257)) for label, value in ((1, -1), (10, 1), (5, 0))]
    (tmp_path / "usps.t.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    images = opened("USPS", "test", tmp_path)
    assert images.labels(0, 3).tolist() == [0, 9, 4]
    assert pixels(images, 0, 3)[:, 3, 4].tolist() == [[0] * 3, [255] * 3, [127] * 3]


def test_semeion_is_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ink = np.random.default_rng(0).integers(0, 2, (3, 256))
    np.savetxt(tmp_path / "semeion.data", np.hstack([ink, np.eye(10, dtype=int)[[4, 0, 9]]]), fmt="%d")
    monkeypatch.setattr(torchvision.datasets.SEMEION, "md5_checksum", md5(tmp_path / "semeion.data"))
    images = opened("SEMEION", "all", tmp_path)
    assert np.array_equal(pixels(images, 0, 3)[..., 2], ink.reshape(3, 16, 16) * 255)
    assert images.labels(0, 3).tolist() == [4, 0, 9]


# ---- files


def test_eurosat_is_one_split_of_class_folders(tmp_path: Path) -> None:
    for seed, path in enumerate(("River/River_1.jpg", "Forest/Forest_2.jpg", "Forest/Forest_1.jpg")):
        write_picture(tmp_path / "eurosat/2750" / path, seed)
    images = files("EuroSAT", "all", tmp_path)
    assert (images.name, images.classes, images.root) == ("torchvision-EuroSAT", ("Forest", "River"), tmp_path)
    assert images.paths == tuple(
        f"eurosat/2750/{p}" for p in ("Forest/Forest_1.jpg", "Forest/Forest_2.jpg", "River/River_1.jpg")
    )
    assert images.labels(0, 3).tolist() == [0, 0, 1]
    assert np.array_equal(
        images.read(2, 3, Preprocessing(24), 1).pixels[0], np.asarray(picture(seed=0).resize((24, 24), 2))
    )
    assert images.stat(0, 3) is not None


def test_dtd_is_listed_in_the_order_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "dtd/dtd"
    (folder / "labels").mkdir(parents=True)
    (folder / "labels/train1.txt").write_text("zigzagged/b.jpg\nbanded/a.jpg\n")
    (folder / "labels/test1.txt").write_text("banded/c.jpg\nzigzagged/d.jpg\n")
    train, test = (files("DTD", split, tmp_path) for split in ("train", "test"))
    assert train.classes == test.classes == ("banded", "zigzagged")
    assert train.paths == ("dtd/dtd/images/zigzagged/b.jpg", "dtd/dtd/images/banded/a.jpg")
    assert (train.targets, test.targets) == ((1, 0), (0, 1))


def food101(root: Path, **lists: dict[str, list[str]]) -> Path:
    for split, content in lists.items():
        write = root / "food-101/meta" / f"{split}.json"
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_text(json.dumps(content))
    (root / "food-101/images").mkdir()
    return root


def test_food101_is_listed_from_its_json(tmp_path: Path) -> None:
    food101(tmp_path, test={"waffles": ["waffles/2"], "apple_pie": ["apple_pie/7", "apple_pie/1"]})
    images = files("Food101", "test", tmp_path)
    assert images.classes == ("apple_pie", "waffles")
    assert [path.removeprefix("food-101/images/") for path in images.paths] == [
        "waffles/2.jpg",
        "apple_pie/7.jpg",
        "apple_pie/1.jpg",
    ]
    assert images.targets == (1, 0, 0)


def test_a_listed_picture_that_is_not_there_is_said_where_it_is_read(tmp_path: Path) -> None:
    images = files("Food101", "train", food101(tmp_path, train={"waffles": ["waffles/2"]}))
    (missing,) = images.read(0, 1, Preprocessing(32), 1).skipped
    assert (missing.id, missing.reason) == ("food-101/images/waffles/2.jpg", "can't be opened: No such file or directory")


def test_a_list_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    food101(tmp_path, train={"waffles": ["../../../secret"]})
    with pytest.raises(DataInvalid, match=r"can't read its Food101 \(\.\./secret\.jpg lies outside of it\)"):
        opened("Food101", "train", tmp_path)


def test_pets_are_trained_on_trainval(tmp_path: Path) -> None:
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    lines = "Abyssinian_100 1 1 1\namerican_bulldog_2 2 2 1\nAbyssinian_101 1 1 1\n"
    (folder / "annotations/trainval.txt").write_text(lines)
    images = files("OxfordIIITPet", "train", tmp_path)
    assert images.classes == ("Abyssinian", "American Bulldog")
    assert images.paths[1] == "oxford-iiit-pet/images/american_bulldog_2.jpg"
    assert images.targets == (0, 1, 0)


def test_imagenettes_validation_split_is_its_test_split_and_says_so(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for seed, wnid in enumerate(("n03417042", "n01440764")):
            path = write_picture(tmp_path / "imagenette2" / split / wnid / f"{split}.png", seed)
            path.rename(path.with_suffix(".JPEG"))
    train, test = (files("Imagenette", split, tmp_path) for split in ("train", "test"))
    assert train.classes == test.classes == ("tench", "garbage truck")
    assert test.paths == ("imagenette2/val/n01440764/val.JPEG", "imagenette2/val/n03417042/val.JPEG")
    assert train.notes == ()
    assert test.notes == ("the test images are Imagenette's validation split, the only one it has beside training",)


def test_flowers_labels_come_from_its_matlab_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    folder = tmp_path / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[7, 102, 1]])})
    savemat(folder / "setid.mat", {"trnid": np.array([[3, 2]]), "valid": np.array([[1]]), "tstid": np.array([[1, 2]])})
    names = {"label": "imagelabels.mat", "setid": "setid.mat"}
    listed = {key: (name, md5(folder / name)) for key, name in names.items()}
    kind = torchvision.datasets.Flowers102
    monkeypatch.setattr(kind, "_file_dict", {**kind._file_dict, **listed})
    images = files("Flowers102", "train", tmp_path)
    assert images.paths == ("flowers-102/jpg/image_00003.jpg", "flowers-102/jpg/image_00002.jpg")
    assert [images.classes[label] for label in images.targets] == ["pink primrose", "blackberry lily"]


def test_caltech101_leaves_the_background_out(tmp_path: Path) -> None:
    top = tmp_path / "caltech101/101_ObjectCategories"
    for path in ("ant/image_0001.jpg", "ant/image_0002.jpg", "Faces/image_0001.jpg", "BACKGROUND_Google/image_0001.jpg"):
        write_picture(top / path)
    images = files("Caltech101", "all", tmp_path)
    assert images.classes == ("Faces", "ant")
    assert [path.partition("Categories/")[2] for path in images.paths] == [
        "Faces/image_0001.jpg",
        "ant/image_0001.jpg",
        "ant/image_0002.jpg",
    ]
    assert len(images.read(0, 3, Preprocessing(24), 1).pixels) == 3


@pytest.mark.parametrize(("name", "top"), [("Country211", "country211"), ("RenderedSST2", "rendered-sst2")])
def test_class_folders_below_split_folders(tmp_path: Path, name: str, top: str) -> None:
    for split in ("train", "test"):
        for seed, label in enumerate(("positive", "negative")):
            write_picture(tmp_path / top / split / label / "a.png", seed)
    images = files(name, "test", tmp_path)
    assert (images.classes, images.targets) == (("negative", "positive"), (0, 1))
    assert images.paths == (f"{top}/test/negative/a.png", f"{top}/test/positive/a.png")


# ---- what is amiss


def test_without_network_the_ways_out_are_named_on_one_line(tmp_path: Path) -> None:
    for name, source in sets.SETS.items():
        with pytest.raises(DataNotFound, match=rf"data: torchvision finds no whole {name} there, and downl") as caught:
            opened(name, next(iter(source.splits)), tmp_path / "data")
        assert "no network in tests" in str(caught.value)
        assert str(caught.value).endswith("point --data-dir at it, or try --dataset digits, which needs no download")
        assert not list((tmp_path / "data").glob(".*"))  # no mark: nothing there could pass for whole


SPOILED = {
    "empty images": ("images-idx3-ubyte", lambda _: b"", "invalid literal|must"),
    "half the images": ("images-idx3-ubyte", lambda content: content[: len(content) // 2], "shape .* is invalid"),
    "labels for images": ("images-idx3-ubyte", lambda _: idx(np.zeros(6, np.uint8)), "should have 3 dimension"),
    "another type": ("images-idx3-ubyte", lambda content: content[:2] + b"\x09" + content[3:], "should be of dtype"),
    "no type": ("images-idx3-ubyte", lambda content: bytes(len(content)), "AssertionError"),
    "a label short": (
        "labels-idx1-ubyte",
        lambda _: idx(np.zeros(5, np.uint8)),
        r"6 images, and labels of shape \(5,\)",
    ),
    "label 10": (
        "labels-idx1-ubyte",
        lambda content: content[:-2] + b"\x0a\x01",
        "row 4 has the label 10, expected 0 to 9",
    ),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_a_spoiled_file_is_one_line(tmp_path: Path, fault: str) -> None:
    file, spoil, reason = SPOILED[fault]
    path = mnist(tmp_path) / "MNIST/raw" / f"train-{file}"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataInvalid, match=rf"torchvision can't read its MNIST \(.*({reason}).*\); remove that set's files"):
        opened("MNIST", "train", tmp_path)


@hypothesis.given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_images_or_an_error(content: bytes, labels: bool) -> None:
    with tempfile.TemporaryDirectory() as root:
        mnist(Path(root), 2)
        (Path(root) / "MNIST/raw" / ("train-labels-idx1-ubyte" if labels else "train-images-idx3-ubyte")).write_bytes(
            content
        )
        with contextlib.suppress(DataInvalid):
            images = opened("MNIST", "train", Path(root))
            assert pixels(images, 0, 2).shape[::3] == (2, 3)


BROKEN = {
    "DTD": ("dtd/dtd/labels/train1.txt", b"no slash\n", "train", "values to unpack"),
    "Food101": ("food-101/meta/train.json", b"{", "train", "Expecting property name"),
    "OxfordIIITPet": ("oxford-iiit-pet/annotations/test.txt", b"\xff\xfe\n", "test", "codec can't decode"),
    "USPS": ("usps.bz2", b"not bzip2", "train", "Invalid data stream"),
    "Caltech101": ("caltech101/101_ObjectCategories/ant/image_0001.jpg", b"", "all", "not in list"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_lists_are_one_line(tmp_path: Path, name: str) -> None:
    file, content, split, reason = BROKEN[name]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(content)
    for folder in ("food-101/images", "oxford-iiit-pet/images"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataInvalid, match=rf"can't read its {name} \([^\n]*{reason}[^\n]*\); remove that set's files"):
        opened(name, split, tmp_path)


def test_a_list_that_is_missing_from_what_is_there_is_named(tmp_path: Path) -> None:
    food101(tmp_path, train={"waffles": ["waffles/2"]})
    with pytest.raises(DataInvalid, match=r"can't read its Food101 \(.*No such file.*test\.json"):
        opened("Food101", "test", tmp_path)
    assert files("Food101", "train", tmp_path).rows == 1  # no mark is left


# no mode keeps root from reading; FAULTS below holds the message for root too
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_access_are_named(tmp_path: Path) -> None:
    (mnist(tmp_path) / "MNIST/raw/train-images-idx3-ubyte").chmod(0)
    with pytest.raises(DataNotFound, match=r"train-images-idx3-ubyte: no access \(Permission denied\)"):
        opened("MNIST", "train", tmp_path)


def test_a_data_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataNotFound, match=r"finds no whole MNIST there, and downloading it failed \(.*File exists"):
        opened("MNIST", "train", tmp_path / "data")


FAULTS = [
    (PermissionError(13, "Permission denied", "there/list"), DataNotFound, r"^there/list: no access \(Permission denied\)"),
    (
        ModuleNotFoundError("No module named 'scipy'"),
        DataNotFound,
        "torchvision:MNIST: No module named 'scipy'; install it",
    ),
    (MemoryError(), OutOfMemory, "MNIST is read in one piece, and there is no memory for it"),
    (RuntimeError("something\nelse"), DataInvalid, r"can't read its MNIST \(something else\)"),
]


@pytest.mark.parametrize(("fault", "kind", "message"), FAULTS, ids=lambda value: type(value).__name__)
def test_what_torchvision_raises_becomes_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, kind: type[Exception], message: str
) -> None:
    def fails(*args: object, **named: object) -> None:
        raise fault

    monkeypatch.setattr(torchvision.datasets, "MNIST", fails)
    with pytest.raises(kind, match=message):
        opened("MNIST", "train", tmp_path)


def test_a_torchvision_that_does_not_fit_torch_is_said() -> None:
    code = """
import builtins
from pathlib import Path
from headstart.core.cache.errors import DataNotFound
from headstart.core.extract import datasets
from headstart.core.extract.pictures.preprocess import Preprocessing
real = builtins.__import__
def broken(name, *args, **named):
    if name.startswith("torchvision"):
        raise RuntimeError("operator torchvision::nms does not exist")
    return real(name, *args, **named)
builtins.__import__ = broken
try:
    datasets.open_split("torchvision:MNIST", "train", Path("."))
except DataNotFound as error:
    print(error)
"""
    expected = "torchvision can't be imported (operator torchvision::nms does not exist); install the one that fits torch\n"
    assert printed_by_python(code) == expected


# ---- downloads


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address on this machine that it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def serve_mnist(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = served
    resources = []
    for path in sorted((mnist(folder) / "MNIST/raw").iterdir()):
        packed = folder / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        resources.append((packed.name, md5(packed)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)


def test_what_is_not_there_is_downloaded_once(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_mnist(served, monkeypatch)
    images = opened("MNIST", "test", tmp_path / "data")
    assert images.labels(0, 6).tolist() == [9, 8, 7, 6, 5, 4]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://nowhere/"])
    assert np.array_equal(pixels(opened("MNIST", "train", tmp_path / "data"), 0, 6)[..., 0], grey(6))
    assert not list((tmp_path / "data").glob(".*"))
    assert capsys.readouterr().out == ""


def test_a_download_with_another_hash_is_refused(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_mnist(served, monkeypatch)
    (served[0] / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DataNotFound, match=r"finds no whole MNIST there, and downloading it failed \(.*corrupted"):
        opened("MNIST", "train", tmp_path / "data")


class Killed(BaseException):
    """As KeyboardInterrupt: nobody swallows it."""


def half_a_download(fault: BaseException) -> Any:
    def unpack(url: str, download_root: str, md5: str) -> None:
        write_picture(Path(download_root) / "2750/Forest/Forest_1.jpg")
        raise fault

    return unpack


HALVES = {
    "killed": (Killed("in the middle"), Killed, "in the middle"),
    "full": (OSError(28, "No space left on device"), DataNotFound, "No space left"),
}


@pytest.mark.parametrize("how", HALVES)
def test_half_a_download_never_passes_for_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    fault, kind, message = HALVES[how]
    monkeypatch.setattr(torchvision.datasets.eurosat, "download_and_extract_archive", half_a_download(fault))
    with pytest.raises(kind, match=message):
        opened("EuroSAT", "all", tmp_path)
    assert torchvision.datasets.EuroSAT(str(tmp_path)).samples  # torchvision would take it
    with pytest.raises(DataInvalid, match=r"\.EuroSAT\.download: a download of EuroSAT broke off here, .*; remove what"):
        opened("EuroSAT", "all", tmp_path)
    (tmp_path / ".EuroSAT.download").unlink()
    assert opened("EuroSAT", "all", tmp_path).rows == 1


def test_a_killed_download_that_left_nothing_is_begun_anew(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_mnist(served, monkeypatch)
    (tmp_path / ".MNIST.download").touch()
    assert opened("MNIST", "train", tmp_path).rows == 6
    assert not (tmp_path / ".MNIST.download").exists()


def test_an_archive_is_unpacked_into_the_data_folder(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    with tarfile.open(folder / "dtd.tar.gz", "w:gz") as tar:
        for name, content in {
            "labels/train1.txt": b"dotted/a.jpg\n",
            "images/dotted/a.jpg": encoded(picture(), "JPEG"),
        }.items():
            member = tarfile.TarInfo(f"dtd/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(torchvision.datasets.DTD, "_URL", f"{url}dtd.tar.gz")
    monkeypatch.setattr(torchvision.datasets.DTD, "_MD5", md5(folder / "dtd.tar.gz"))
    images = files("DTD", "train", tmp_path / "data")
    assert images.paths == ("dtd/dtd/images/dotted/a.jpg",)
    assert len(images.read(0, 1, Preprocessing(24), 1).pixels) == 1


# ---- the command line


def run(root: Path, *words: str) -> Result:
    folders = ("--features-dir", f"{root}/features", "--runs-dir", f"{root}/runs", "--data-dir", f"{root}/data")
    result = CliRunner().invoke(cli.cli, [*words, *folders, "--device", "cpu"])
    assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
    return result


@pytest.mark.slow
def test_from_images_to_a_timed_head(tmp_path: Path) -> None:
    mnist(tmp_path / "data", 40)
    extract = ("extract", "-m", "resnet18", "--dataset", "torchvision:MNIST", "--weights", "random:0", "--limit", "30")
    words = (*extract, "--image-size", "32", "--precision", "fp32", "--json")
    made, again = (json.loads(run(tmp_path, *words).stdout.splitlines()[-1]) for _ in range(2))
    assert [(split["split"], split["rows"], split["computed"]) for split in made] == [("train", 30, 30), ("test", 30, 30)]
    assert [split["computed"] for split in again] == [0, 0]
    names = sorted(path.name for path in (tmp_path / "features").iterdir() if path.is_dir())
    assert [name.partition("-resnet18-")[0] for name in names] == ["torchvision-MNIST-test", "torchvision-MNIST-train"]
    run(tmp_path, "train-head", "--dataset", "torchvision-MNIST", "--head", "linear", "--epochs", "1")
    timed = run(tmp_path, "bench-inference", "--limit", "4", "--repeats", "1", "--json")
    assert '"torchvision-MNIST"' in timed.stdout  # the images were found by the name in the head's key
