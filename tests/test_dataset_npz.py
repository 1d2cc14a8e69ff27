"""`npz:FILE`: arrays by their usual names, MedMNIST's among them; what is no uint8 picture is refused with what it is."""

import io
import zipfile
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from dataset_samples import labelled, read
from extract_samples import noise
from hypothesis import strategies as st

from headstart.core.cache.errors import DataInvalid, DataNotFound, HeadstartError
from headstart.core.extract import datasets
from headstart.core.extract.images import Images, arrays
from headstart.core.extract.pictures.preprocess import Preprocessing

NOWHERE = Path("unused")
RGB = noise(12, 8)
GREY = RGB[..., 0].copy()
LABELS = np.arange(12) % 3


def saved(path: Path, **found: Any) -> Path:
    np.savez_compressed(path, **found)
    return path


def opened(path: Path, split: str = "all") -> Images:
    return datasets.open_split(f"npz:{path}", split, NOWHERE)


def pixels(images: Images) -> npt.NDArray[np.uint8]:
    return read(images).pixels


@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x", "y"), ("image", "label"), ("data", "target"), ("IMAGES", "Labels")]
)
def test_arrays_are_found_by_their_usual_names(tmp_path: Path, names: tuple[str, str]) -> None:
    found = opened(saved(tmp_path / "tiny.npz", **{names[0]: RGB, names[1]: LABELS}))
    assert (found.name, found.classes, found.order) == ("npz-tiny", ("0", "1", "2"), "mixed")
    assert np.array_equal(pixels(found), RGB)
    assert found.labels(0, 12).tolist() == LABELS.tolist()
    assert found.remarks == ("12 pictures of 3 classes",)


@pytest.mark.parametrize("images", [GREY, GREY[..., np.newaxis]])
def test_grey_images_get_three_equal_channels(tmp_path: Path, images: npt.NDArray[np.uint8]) -> None:
    found = opened(saved(tmp_path / "a.npz", images=images, labels=LABELS))
    assert np.array_equal(pixels(found), np.stack([GREY] * 3, axis=-1))


def test_medmnists_arrays_are_its_splits(tmp_path: Path) -> None:
    parts = {"train": slice(0, 6), "val": slice(6, 9), "test": slice(9, 12)}
    given = {f"{name}_{what}": {"images": GREY, "labels": LABELS[:, np.newaxis]}[what][part]
             for name, part in parts.items() for what in ("images", "labels")}  # fmt: skip
    path = saved(tmp_path / "pathmnist.npz", **given)
    assert datasets.splits(f"npz:{path}", None, NOWHERE) == ("train", "val", "test")
    for name, part in parts.items():
        assert np.array_equal(pixels(opened(path, name))[..., 1], GREY[part])


def test_the_arrays_of_keras_are_understood(tmp_path: Path) -> None:
    path = saved(tmp_path / "mnist.npz", x_train=GREY[:8], y_train=LABELS[:8], x_test=GREY[8:], y_test=LABELS[8:])
    assert datasets.splits(f"npz:{path}", None, NOWHERE) == ("train", "test")
    assert opened(path, "test").labels(0, 4).tolist() == LABELS[8:].tolist()


def test_classes_that_stand_together_come_in_a_stratified_order(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(3), 4)
    found = opened(saved(tmp_path / "a.npz", images=RGB, labels=labels))
    assert found.order == "stratified"
    assert sorted(found.labels(0, 3).tolist()) == [0, 1, 2]
    numbers = [int(name) for name in found.ids(0, 12)]
    assert np.array_equal(pixels(found), RGB[numbers])
    assert np.array_equal(found.pick([5, 2], Preprocessing(16), 1).pixels, RGB[[numbers[5], numbers[2]]])
    own = found.in_order("unknown")
    assert np.array_equal(read(own).pixels, RGB)


def test_text_integers_with_gaps_and_names_are_labels(tmp_path: Path) -> None:
    assert opened(saved(tmp_path / "a.npz", images=RGB[:2], labels=np.array(["é", "a"]))).classes == ("a", "é")
    gaps = opened(saved(tmp_path / "b.npz", images=RGB[:3], labels=np.array([100, 9, -1])))
    assert (gaps.classes, gaps.labels(0, 3).tolist()) == (("9", "100"), [1, 0, -1])
    named = opened(saved(tmp_path / "c.npz", images=RGB[:2], labels=np.array([1, -1]), class_names=np.array(["a", "b"])))
    assert (named.classes, sorted(labelled(named).values())) == (("a", "b"), ["", "b"])
    unlabelled = opened(saved(tmp_path / "d.npz", images=RGB))
    assert (unlabelled.classes, unlabelled.remarks) == ((), ("12 pictures without labels",))


# ---- what is amiss


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            {"images": RGB / 255, "labels": LABELS},
            r"images is float64 \(12, 8, 8, 3\), expected uint8 .*; \(x \* 255\)\.round",
        ),
        ({"images": RGB.astype(np.uint16), "labels": LABELS}, r"images is uint16 \(12, 8, 8, 3\), expected uint8"),
        (
            {"images": RGB.transpose(0, 3, 1, 2), "labels": LABELS},
            r"images is uint8 \(12, 3, 8, 8\), expected uint8 \(N, H, W",
        ),
        ({"images": RGB.reshape(12, -1), "labels": LABELS}, r"images is uint8 \(12, 192\), expected"),
        ({"images": RGB, "labels": LABELS[:5]}, "images has 12 images, labels 5 labels"),
        (
            {"images": RGB, "labels": np.eye(3)[LABELS]},
            r"labels is float64 \(12, 3\), .*; several labels for a picture can't",
        ),
        ({"images": RGB, "labels": LABELS / 2}, r"labels is float64 \(12,\), expected integers or text \(N,\)$"),
        ({"images": RGB, "x": RGB, "labels": LABELS}, "images and x may be the same"),
        ({"features": RGB, "labels": LABELS}, "holds features, labels; expected images, uint8"),
        ({"images": RGB, "labels": LABELS, "class_names": np.array(["a"])}, "no numbers of the 1 class names in the file"),
    ],
)
def test_what_is_no_picture_or_label_is_named(tmp_path: Path, found: dict[str, Any], message: str) -> None:
    path = saved(tmp_path / "a.npz", **found)
    with pytest.raises(DataInvalid, match=rf"^{path}: .*{message}"):
        opened(path)


class Touching:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_nothing_pickled_is_read(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    path = tmp_path / "a.npz"
    np.savez(path, images=RGB[:1], labels=np.array([Touching(touched)], dtype=object))
    with pytest.raises(DataInvalid, match=r"an array of Python objects, which are pickled\); expected images"):
        opened(path)
    assert not touched.exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(30)])
def test_what_is_no_npz_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataInvalid, match=r"a\.npz: (can't be read \(|no \.npz file, which is a zip archive; )"):
        opened(tmp_path / "a.npz")


def test_an_array_alone_and_no_images_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RGB)
    with pytest.raises(DataInvalid, match=r"a\.npz: no \.npz file, which is a zip archive"):
        opened((tmp_path / "a.npy").rename(tmp_path / "a.npz"))
    with pytest.raises(DataNotFound, match=r"no images in images"):
        opened(saved(tmp_path / "b.npz", images=RGB[:0], labels=LABELS[:0]))
    with pytest.raises(DataNotFound, match=rf"no such file; {tmp_path} has a\.npz, b\.npz"):
        opened(tmp_path / "c.npz")


@hypothesis.given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
@hypothesis.settings(max_examples=100)
def test_a_damaged_file_gives_rows_or_a_known_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: bool
) -> None:
    path = saved(tmp_path_factory.mktemp("any") / "a.npz", images=RGB[:2, :4, :4], labels=LABELS[:2])
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place] = byte
    path.write_bytes(content[:place] if cut else content)
    try:
        read(opened(path))
    except HeadstartError:
        return


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", images=RGB, labels=LABELS)
    found = opened(path)
    saved(path, images=RGB[::-1], labels=LABELS[:12])
    with pytest.raises(DataInvalid, match="changed while it was read; start again"):
        read(found)
    assert np.array_equal(pixels(opened(path)), RGB[::-1])


def test_nothing_is_decoded_for_a_file_that_did_not_change(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", images=RGB, labels=LABELS)
    found = opened(path)
    before = found.stat(0, 12)
    assert before is not None
    assert before == opened(path).stat(0, 12)
    assert before != found.stat(0, 11)
    saved(path, images=RGB, labels=LABELS)
    assert before != opened(path).stat(0, 12)


def test_rows_are_those_of_the_same_arrays_elsewhere(tmp_path: Path) -> None:
    found = opened(saved(tmp_path / "a.npz", images=RGB, labels=LABELS))
    assert found.fingerprints(0, 12) == [arrays.fingerprint(image) for image in RGB]


def test_a_member_that_unpacks_to_more_than_there_is_is_a_known_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**6, 10**3)})
    labels = io.BytesIO()
    np.save(labels, LABELS)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", buffer.getvalue())
        archive.writestr("labels.npy", labels.getvalue())
    with pytest.raises(DataInvalid, match="images ends before its last image"):
        opened(path)
