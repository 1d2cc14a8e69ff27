"""One shard: it comes back bit for bit, anyone can open it, and nothing but our own layout is let in."""

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cache_samples import digests_of, make_key, make_shard, never_wait, same_shard
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.shard import Rows, Shard, Skipped, decode_shard, encode_shard
from headstart.core.cache.store import FeatureStore

# libhdf5 and numpy both end fixed-length bytes at the last byte that is not zero
id_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@st.composite
def shards(draw: st.DrawFn) -> Shard:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, dim, start = draw(st.integers(1, 140)), draw(st.integers(1, 9)), draw(st.integers(0, 2**40))
    skipped = draw(st.lists(st.builds(Skipped, st.integers(0, 2**40), id_texts, id_texts), max_size=3))
    names = [draw(id_texts).encode() for _ in range(min(n, 5))]
    rows = Rows(
        features=rng.standard_normal((n, dim)).astype(draw(st.sampled_from([np.float32, np.float16]))),
        labels=rng.integers(-1, 2**62, size=n, dtype=np.int64),
        ids=np.array([names[i % len(names)] for i in range(n)], dtype=np.bytes_),
        digests=rng.integers(0, 256, (n, 32), dtype=np.uint8) if draw(st.booleans()) else None,
    )
    return Shard(make_key().digest, rng.bytes(32).hex(), start, start + n + len(skipped), rows, tuple(skipped))


@given(shards())
@settings(max_examples=60)
def test_a_shard_comes_back_bit_for_bit(shard: Shard) -> None:
    assert same_shard(decode_shard(encode_shard(shard), "here"), shard)


def test_special_numbers_come_back_bit_for_bit() -> None:
    shard = make_shard(np.random.default_rng(0), 0, 2)
    shard.rows.features[0] = [np.nan, np.inf, -0.0, np.finfo(np.float32).smallest_subnormal]
    assert same_shard(decode_shard(encode_shard(shard), "here"), shard)


def test_a_shard_of_skipped_images_only_comes_back() -> None:
    # with `--on-error skip` a folder may begin with more broken pictures than a shard has rows
    shard = make_shard(np.random.default_rng(0), 10, 13, skipped=range(10, 13))
    assert same_shard(decode_shard(encode_shard(shard), "here"), shard)


def test_views_are_written_as_what_they_show() -> None:
    shard = make_shard(np.random.default_rng(0), 0, 140)
    rows = Rows(shard.rows.features[::2, ::-1], shard.rows.labels[::2], shard.rows.ids[::2], digests_of(range(140))[::2])
    every_second = dataclasses.replace(shard, stop=70, rows=rows)
    assert same_shard(decode_shard(encode_shard(every_second), "here"), every_second)


def test_the_same_rows_give_the_same_bytes_at_another_time() -> None:
    # HDF5 can keep times, in seconds: only another second would show them
    shard = make_shard(np.random.default_rng(0), 0, 5, skipped=[2])
    content, second = encode_shard(shard), int(time.time())
    while int(time.time()) == second:
        time.sleep(0.02)
    assert encode_shard(shard) == content


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_file_opens_with_plain_h5py_as_the_contract_says(tmp_path: Path, dtype: str) -> None:
    shard = make_shard(np.random.default_rng(0), 100, 300, skipped=[150], dim=7, dtype=dtype)
    (tmp_path / "shard.h5").write_bytes(encode_shard(shard))
    with h5py.File(tmp_path / "shard.h5", "r") as file:
        assert set(file) == {"features", "labels", "ids", "digests"}
        found = {name: (file[name].shape, file[name].dtype) for name in file}
        assert found == {
            "features": ((199, 7), np.dtype(dtype)),
            "labels": ((199,), np.dtype("int64")),
            "ids": ((199,), np.dtype("S8")),
            "digests": ((199, 32), np.dtype("uint8")),
        }
        assert np.array_equal(file["features"][()], shard.rows.features)
        assert np.array_equal(file["labels"][()], shard.rows.labels)
        assert file["ids"][0] == b"100"
        assert file["digests"][0].tobytes() == hashlib.sha256(b"100").digest()
        attributes = dict(file.attrs)
    assert {name: attributes[name] for name in ("key", "inputs", "start", "stop")} == {
        "key": shard.key.encode(),
        "inputs": shard.inputs.encode(),
        "start": 100,
        "stop": 300,
    }
    assert json.loads(bytes(attributes["skipped"])) == [{"row": 150, "id": "bild/ä150.png", "reason": "cut off"}]


def test_data_and_metadata_carry_checksums() -> None:
    content = encode_shard(make_shard(np.random.default_rng(0), 0, 100))
    assert content[8] == 3  # the superblock's version; 2 and 3 have checksums, 0 and 1 have none
    with h5py.File.in_memory(content) as file:
        assert all(file[name].fletcher32 for name in ("features", "labels", "ids", "digests"))


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def survivor(content: bytes) -> Shard | None:
    """What can be read from damaged bytes; anything but FeaturesDamaged goes on to the test."""
    try:
        return decode_shard(content, "here")
    except FeaturesDamaged:
        return None


@pytest.mark.parametrize("rows", [3, 100])
def test_a_flipped_bit_is_noticed_or_changes_nothing(rows: int) -> None:
    rng = np.random.default_rng(rows)
    shard = make_shard(rng, 0, rows, skipped=[1])
    content = encode_shard(shard)
    bits = rng.choice(8 * len(content), size=300, replace=False)
    found = {int(bit): survivor(flipped(content, int(bit))) for bit in bits}
    assert [bit for bit, read in found.items() if read is not None and not same_shard(read, shard)] == []
    assert None in found.values()


@pytest.mark.parametrize("count", [100, 2000])
def test_a_flipped_bit_in_the_list_of_skipped_images_is_noticed(count: int) -> None:
    # libhdf5 moves an attribute to other places as it grows; not each of them has a checksum
    shard = make_shard(np.random.default_rng(0), 0, count + 1, skipped=range(1, count + 1))
    content = encode_shard(shard)
    for row in range(10, 15):
        bit = 8 * (content.index(f"{row}.png".encode()) + 1)
        with pytest.raises(FeaturesDamaged, match="here: not a readable HDF5 file"):
            decode_shard(flipped(content, bit), "here")


def test_a_truncated_file_is_refused_at_every_length() -> None:
    content = encode_shard(make_shard(np.random.default_rng(0), 0, 3))
    lengths = [*range(0, 100), *range(100, len(content), 17), len(content) - 1]
    assert [length for length in lengths if survivor(content[:length]) is not None] == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(2000), b"\x89HDF\r\n\x1a\n" + bytes(2000)])
def test_what_is_no_hdf5_file_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(FeaturesDamaged, match=r"^some/shard\.h5: "):
        decode_shard(content, "some/shard.h5")


# --- layouts that somebody else may send -----------------------------------------------------------------------------

Edit = Callable[[h5py.File, Path], None]
SECRET = np.array([11, 22, 33], dtype=np.int64)


def edited(tmp_path: Path, edit: Edit) -> Path:
    """A file on disk that was a good shard of three rows before `edit`, which may point to the file of `SECRET`."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET.tobytes())
    path = tmp_path / "shard.h5"
    path.write_bytes(encode_shard(make_shard(np.random.default_rng(0), 0, 3)))
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        edit(file, secret)
    return path


def remade(name: str, **options: Any) -> Edit:
    """The data set `name` made again with other `options`, checksummed unless they say otherwise."""

    def edit(file: h5py.File, secret: Path) -> None:
        del file[name]
        file.create_dataset(name, **{"chunks": True, "fletcher32": True, **options})

    return edit


def attribute(name: str, value: Any) -> Edit:
    def edit(file: h5py.File, secret: Path) -> None:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value

    return edit


def linked(name: str, link: Any) -> Edit:
    def edit(file: h5py.File, secret: Path) -> None:
        if name in file:
            del file[name]
        file[name] = link

    return edit


def no_edit(file: h5py.File, secret: Path) -> None:
    pass


def external_storage(file: h5py.File, secret: Path) -> None:
    del file["labels"]
    file.create_dataset("labels", (3,), np.int64, external=[(str(secret), 0, SECRET.nbytes)])


def virtual(file: h5py.File, secret: Path) -> None:
    del file["features"]
    layout = h5py.VirtualLayout((3, 4), np.float32)
    layout[...] = h5py.VirtualSource(str(secret.with_name("other.h5")), "features", (3, 4))
    file.create_virtual_dataset("features", layout)


def group(file: h5py.File, secret: Path) -> None:
    del file["features"]
    file.create_group("features")


def named_type(file: h5py.File, secret: Path) -> None:
    del file["labels"]
    file["labels"] = np.dtype("int64")


def extra_attribute(file: h5py.File, secret: Path) -> None:
    file.attrs["more"] = 1


def variable_length(file: h5py.File, secret: Path) -> None:
    del file["ids"]
    file.create_dataset("ids", data=["0", "1", "2"], dtype=h5py.string_dtype())


def unknown_filter(file: h5py.File, secret: Path) -> None:
    del file["features"]
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((3, 4))
    create.set_fletcher32()
    create.set_filter(305, h5py.h5z.FLAG_OPTIONAL, (1,))  # libhdf5 would look for a plugin of this number and load it
    h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((3, 4)), create)


def gzip_bomb(file: h5py.File, secret: Path) -> None:
    # a thousandth of what it unpacks to, and the shape is no lie
    del file["features"]
    file.create_dataset("features", data=np.zeros((2**14, 2**8), np.float32), compression="gzip", fletcher32=True)


def loop(file: h5py.File, secret: Path) -> None:
    file["more"] = file["/"]


def variable_length_skipped(file: h5py.File, secret: Path) -> None:
    del file.attrs["skipped"]
    value = np.empty(1, object)
    value[0] = np.zeros(3, np.uint8)
    file.attrs.create("skipped", value, dtype=h5py.vlen_dtype("u1"))


def reference_as_key(file: h5py.File, secret: Path) -> None:
    del file.attrs["key"]
    file.attrs["key"] = file["labels"].ref


def contiguous(file: h5py.File, secret: Path) -> None:
    del file["ids"]
    file.create_dataset("ids", data=np.zeros(3, "S4"))


def bytes_of(text: str) -> Any:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def skipped_row_is_text(file: h5py.File, secret: Path) -> None:
    attribute("skipped", bytes_of('[{"row": "3", "id": "a", "reason": "b"}]'))(file, secret)
    attribute("stop", np.int64(4))(file, secret)


@dataclasses.dataclass(frozen=True)
class Layout:
    name: str
    edit: Edit
    message: str


FLOATS = np.zeros((3, 4), np.float32)
LAYOUTS = [
    Layout("soft link", linked("labels", h5py.SoftLink("/ids")), "labels is a SoftLink"),
    Layout("dangling soft link", linked("ids", h5py.SoftLink("/nowhere")), "ids is a SoftLink"),
    Layout("external link", linked("ids", h5py.ExternalLink("other.h5", "/ids")), "ids is a ExternalLink"),
    Layout("external storage", external_storage, "labels keeps its data outside the file"),
    Layout("virtual data set", virtual, "features keeps its data outside the file"),
    Layout("extra data set", linked("more", FLOATS), "holds 'more', expected only features, labels, ids, digests"),
    Layout("extra external link", linked("more", h5py.ExternalLink("other.h5", "/")), "holds 'more'"),
    Layout("group in place of a data set", group, "features is no data set"),
    Layout("type in place of a data set", named_type, "labels is no data set"),
    Layout("integer features", remade("features", data=FLOATS.astype(np.int32)), r"features is int32 \(3, 4\)"),
    Layout("double features", remade("features", data=FLOATS.astype(np.float64)), "features (is|are) float64"),
    Layout("complex features", remade("features", data=FLOATS.astype(np.complex64)), "features is complex64"),
    Layout("features of one dimension", remade("features", data=FLOATS[:, 0]), r"features is float32 \(3,\)"),
    Layout("features of three dimensions", remade("features", data=FLOATS[None]), r"features is float32 \(1, 3, 4\)"),
    Layout("float labels", remade("labels", data=FLOATS[:, 0]), "labels is float32"),
    Layout("unsigned labels", remade("labels", data=np.zeros(3, np.uint64)), "labels is uint64"),
    Layout("short labels", remade("labels", data=np.zeros(3, np.int8)), "labels (is|are) int8"),
    Layout("labels of two dimensions", remade("labels", data=np.zeros((3, 1), np.int64)), r"labels is int64 \(3, 1\)"),
    Layout("number ids", remade("ids", data=np.zeros(3, np.int64)), "ids is int64"),
    Layout("variable-length ids", variable_length, "ids is object"),
    Layout("compound features", remade("features", data=np.zeros((3, 4), [("a", "f4")])), "features is "),
    Layout("compressed", remade("features", data=FLOATS, compression="gzip"), r"features needs the filters \[1, 3\]"),
    Layout(
        "compressed terabytes",
        remade("features", shape=(2**32, 256), dtype="f4", chunks=(2**16, 256), compression="gzip"),
        "features needs the filters",
    ),
    Layout("gzip bomb", gzip_bomb, r"features needs the filters \[1, 3\]"),
    Layout("lzf", remade("labels", data=np.arange(3), compression="lzf"), r"labels needs the filters \[3, 32000\]"),
    Layout("scale-offset", remade("labels", data=np.arange(3), fletcher32=False, scaleoffset=0), r"the filters \[6\]"),
    Layout("unknown filter", unknown_filter, r"features needs the filters \[3, 305\]"),
    Layout("object references", remade("features", shape=(3, 4), dtype=h5py.ref_dtype), "features is object"),
    Layout("region references", remade("features", shape=(3, 4), dtype=h5py.regionref_dtype), "features is object"),
    Layout("opaque features", remade("features", data=np.zeros((3, 4), "V4")), r"features is \|V4"),
    Layout("array type", remade("features", shape=(3, 4), dtype=np.dtype(("f4", (2,)))), "features is "),
    Layout("labels of the other byte order", remade("labels", data=np.zeros(3, ">i8")), "labels are >i8"),
    Layout("scalar features", linked("features", np.float32(1)), r"features is float32 \(\)"),
    Layout("empty features", linked("features", h5py.Empty("f4")), "features is float32 None"),
    Layout("group within itself", loop, "holds 'more'"),
    Layout(
        "chunk of gigabytes never written",
        remade("features", shape=(3, 4), dtype="f4", maxshape=(None, 4), chunks=(2**27, 4)),
        "features declares 48 bytes and holds 0",
    ),
    Layout("variable-length list of skipped images", variable_length_skipped, "of unreadable types"),
    Layout("reference as the key", reference_as_key, "of unreadable types"),
    Layout("shuffled", remade("features", data=FLOATS, shuffle=True), "features needs the filters"),
    Layout("no checksum", remade("features", data=FLOATS, fletcher32=False), "features .*(checksum|filter)"),
    Layout("no checksum, no chunks", contiguous, "ids .*(checksum|filter)"),
    Layout(
        "terabytes never written",
        remade("features", shape=(2**32, 256), dtype="f4", chunks=(64, 256)),
        "features declares 4398046511104 bytes in a file of",
    ),
    Layout("rows never written", remade("features", shape=(3, 4), dtype="f4", fillvalue=7.0), "features "),
    Layout("too few labels", remade("labels", data=np.zeros(2, np.int64)), "ids, digests differ in length"),
    Layout("too many ids", remade("ids", data=np.zeros(4, "S4")), "ids, digests differ in length"),
    Layout("too few digests", remade("digests", data=np.zeros((2, 32), np.uint8)), "digests differ in length"),
    Layout("short digests", remade("digests", data=np.zeros((3, 31), np.uint8)), r"digests are uint8 \(3, 31\)"),
    Layout("digests as text", remade("digests", data=np.zeros(3, "S64")), "digests is "),
    Layout("missing attribute", attribute("inputs", None), "has the attributes .*expected .*'inputs'"),
    Layout("extra attribute", extra_attribute, "has the attributes .*'more'"),
    Layout("number as the key", attribute("key", np.int64(64)), "key|readable"),
    Layout("variable-length key", attribute("key", "a" * 64), "key|readable"),
    Layout("text as the start", attribute("start", np.bytes_(b"zero")), "start|readable"),
    Layout("fraction as the start", attribute("start", 0.5), "start|readable"),
    Layout("more rows than there are", attribute("stop", np.int64(5)), "rows 0-5"),
    Layout("fewer rows than there are", attribute("stop", np.int64(2)), "rows 0-2"),
    Layout("skipped is no JSON", attribute("skipped", bytes_of("[")), "readable|skipped"),
    Layout("skipped is no list", attribute("skipped", bytes_of('{"row": 1}')), "readable|skipped"),
    Layout("skipped of another shape", attribute("skipped", bytes_of('[{"line": 1}]')), "readable|skipped"),
    Layout("skipped row is no number", skipped_row_is_text, "readable|skipped"),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_that_is_not_ours_is_refused_by_name(tmp_path: Path, layout: Layout) -> None:
    content = edited(tmp_path, layout.edit).read_bytes()
    with pytest.raises(FeaturesDamaged, match=rf"^shard\.h5: .*({layout.message})"):
        decode_shard(content, "shard.h5")


def refuse_to_open(*args: object, **options: object) -> None:
    raise AssertionError("libhdf5 was asked to open a file in the process that wants the shard")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_that_is_not_ours_is_no_shard_of_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    store = FeatureStore(tmp_path / "features")
    with store.writing(make_key(), "train", never_wait) as writer:
        shutil.copy(edited(tmp_path, layout.edit), writer.folder / "shard-00000.h5")
        with monkeypatch.context() as patch:
            patch.setattr(h5py, "File", refuse_to_open)
            assert writer.present() == {}
        assert writer.damaged == ["shard-00000.h5"]
        assert [path.name for path in writer.folder.iterdir()] == ["shard-00000.h5"]


@pytest.mark.parametrize("name", ["features", "labels", "ids"])
def test_a_missing_data_set_is_refused_by_name(tmp_path: Path, name: str) -> None:
    def edit(file: h5py.File, secret: Path) -> None:
        del file[name]

    with pytest.raises(FeaturesDamaged, match=rf"^shard\.h5: lacks {name}"):
        decode_shard(edited(tmp_path, edit).read_bytes(), "shard.h5")


def test_the_file_opened_but_not_edited_is_let_in(tmp_path: Path) -> None:
    # else the refusals above would say nothing
    path = edited(tmp_path, no_edit)
    assert same_shard(decode_shard(path.read_bytes(), "shard.h5"), make_shard(np.random.default_rng(0), 0, 3))
    store = FeatureStore(tmp_path / "features")
    with store.writing(make_key(), "train", never_wait) as writer:
        shutil.copy(path, writer.folder / "shard-00000.h5")
        assert set(writer.present()) == {0}


def test_external_storage_is_the_danger_we_take_it_for(tmp_path: Path) -> None:
    # plain h5py reads any file of the machine through it: the day it no longer does, the refusal may go
    with h5py.File.in_memory(edited(tmp_path, external_storage).read_bytes()) as file:
        assert np.array_equal(file["labels"][()], SECRET)


# --- what is not written ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Unfit:
    name: str
    changes: dict[str, Any]
    message: str


UNFIT = [
    Unfit("flat features", {"features": FLOATS[:, 0]}, r"features are float32 \(3,\), expected .* \(n, D\)"),
    Unfit("double features", {"features": FLOATS.astype("f8")}, "features are float64"),
    Unfit("integer features", {"features": FLOATS.astype("i4")}, "features are int32"),
    Unfit("features of the other byte order", {"features": FLOATS.astype(">f4")}, "features are >f4"),
    Unfit("too few features", {"features": FLOATS[:2]}, "rows 0-3 with 0 skipped, but 2 features, 3 labels and 3 ids"),
    Unfit("too many labels", {"labels": np.zeros(4, np.int64)}, "but 3 features, 4 labels and 3 ids"),
    Unfit("too few ids", {"ids": np.zeros(1, "S4")}, "but 3 features, 3 labels and 1 ids"),
    Unfit("short labels", {"labels": np.zeros(3, np.int32)}, "labels are int32"),
    Unfit("labels of the other byte order", {"labels": np.zeros(3, ">i8")}, "labels are >i8"),
    Unfit("labels of two dimensions", {"labels": np.zeros((3, 2), np.int64)}, r"labels are int64 \(3, 2\)"),
    Unfit("text ids", {"ids": np.array(["a", "b", "c"])}, "ids <U1"),
    Unfit("object ids", {"ids": np.array([b"a", b"b", b"c"], dtype=object)}, "ids object"),
    Unfit("ids of two dimensions", {"ids": np.zeros((3, 2), "S4")}, r"ids \|S4 \(3, 2\)"),
]


@pytest.mark.parametrize("case", UNFIT, ids=lambda case: case.name)
def test_arrays_that_do_not_fit_are_not_written(case: Unfit) -> None:
    shard = make_shard(np.random.default_rng(0), 0, 3)
    with pytest.raises(ValueError, match=case.message):
        encode_shard(dataclasses.replace(shard, rows=dataclasses.replace(shard.rows, **case.changes)))


def test_a_skipped_image_is_not_counted_as_a_row() -> None:
    shard = make_shard(np.random.default_rng(0), 0, 3)
    with pytest.raises(ValueError, match="rows 0-3 with 1 skipped, but 3 features"):
        encode_shard(dataclasses.replace(shard, skipped=(Skipped(1, "1", "cut off"),)))
