"""The manifest: it comes back as written, and a damaged one is refused by what is wrong with it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cache_samples import make_key, make_provenance
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.change import Change
from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.manifest import NAME, Manifest, ShardRecord, read_manifest
from headstart.core.cache.shard import Skipped
from headstart.core.cache.shard_plan import Part

Document = dict[str, Any]

# JSON in UTF-8 can't hold lone surrogates
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def make_record(index: int, start: int, stop: int, **changes: Any) -> ShardRecord:
    """What a manifest says of a whole shard, less `changes`."""
    record = ShardRecord(
        file=Part(index, start, stop).file,
        start=start,
        stop=stop,
        rows=stop - start,
        sha256=f"{index:02x}" * 32,
        inputs=f"{index + 100:02x}" * 32,
        inputs_stat="ab" * 32,
        elapsed_s=1.5,
    )
    return dataclasses.replace(record, **changes)


CHANGE = Change("0c" * 32, 13, 11, 2, 3, 1)


def make_manifest(**changes: Any) -> Manifest:
    """Three shards of a split, with one image skipped, less `changes`."""
    skipped = (Skipped(7, "bild/ä.png", "cut off"),)
    shards = (
        make_record(0, 0, 5),
        make_record(1, 5, 10, rows=4, skipped=skipped),
        make_record(2, 10, 13, inputs_stat=None),
    )
    named = make_key()
    names = (named.dataset, named.classes, "train")
    manifest = Manifest(named.feature_key, *names, 4, "float32", shards, make_provenance(), CHANGE)
    return dataclasses.replace(manifest, **changes)


def put(folder: Path, content: bytes) -> Path:
    (folder / NAME).write_bytes(content)
    return folder


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    records, done = [], 0
    for index in range(draw(st.integers(1, 4))):
        left_out = draw(st.lists(st.tuples(texts, texts), max_size=2))
        skipped = tuple(Skipped(done + row, *said) for row, said in enumerate(left_out))
        stop = done + len(skipped) + draw(st.integers(1, 3000))
        elapsed_s = draw(st.none() | st.floats(0, 1e6))
        stat = draw(st.none() | texts)
        rows = stop - done - len(skipped)
        records.append(make_record(index, done, stop, rows=rows, skipped=skipped, elapsed_s=elapsed_s, inputs_stat=stat))
        done = stop
    provenance = make_provenance(
        notes=tuple(draw(st.lists(texts, max_size=2))), versions=draw(st.dictionaries(texts, texts, max_size=3))
    )
    return make_manifest(
        dataset=draw(texts),
        classes=tuple(draw(st.lists(texts, max_size=3))),
        change=draw(st.none() | st.builds(Change, texts, *[st.integers(0, 2**40)] * 5)),
        split=draw(texts),
        dtype=draw(st.sampled_from(["float32", "float16"])),
        shards=tuple(records),
        provenance=provenance,
    )


@given(manifest=manifests())
@settings(max_examples=50)
def test_a_manifest_comes_back_as_written(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest) -> None:
    folder = put(tmp_path_factory.mktemp("set"), manifest.to_bytes())
    assert read_manifest(folder) == manifest


def test_the_row_numbers_leave_out_what_was_skipped() -> None:
    assert make_manifest().row_numbers().tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]


IMAGES_CHANGED: dict[str, Callable[[Manifest], Manifest]] = {
    "content": lambda found: dataclasses.replace(
        found, shards=(dataclasses.replace(found.shards[0], inputs="ff" * 32), *found.shards[1:])
    ),
    "fewer": lambda found: dataclasses.replace(found, shards=found.shards[:2]),
    "classes": lambda found: dataclasses.replace(found, classes=("other", "names")),
    "split": lambda found: dataclasses.replace(found, split="test"),
}


@pytest.mark.parametrize("change", IMAGES_CHANGED)
def test_other_images_have_another_digest(change: str) -> None:
    found = make_manifest()
    assert IMAGES_CHANGED[change](found).images_digest != found.images_digest


def test_the_images_are_the_same_whatever_the_backbone_and_the_name_of_the_data_set() -> None:
    found = make_manifest()
    key = dataclasses.replace(found.key, backbone="vgg16", precision="bf16")
    shards = tuple(dataclasses.replace(shard, sha256="00" * 32) for shard in found.shards)
    other = dataclasses.replace(found, key=key, dataset="other name", shards=shards, feature_dim=512)
    assert other.images_digest == found.images_digest


def test_equal_manifests_are_equal_bytes() -> None:
    assert make_manifest().to_bytes() == make_manifest().to_bytes()


def test_an_unknown_order_of_rows_is_refused(tmp_path: Path) -> None:
    provenance = dataclasses.replace(make_provenance(), order="sorted")  # type: ignore[arg-type]
    put(tmp_path, make_manifest(provenance=provenance).to_bytes())
    with pytest.raises(FeaturesDamaged, match="order is 'sorted', expected one of mixed, stratified, unknown"):
        read_manifest(tmp_path)


def test_a_manifest_of_version_1_was_computed_eagerly(tmp_path: Path) -> None:
    old = make_manifest(provenance=make_provenance(engine="eager"), change=None, version=1)
    document = json.loads(make_manifest().to_bytes())
    for name in ("sha256", "dataset", "classes", "change"):
        del document[name]
    del document["provenance"]["engine"], document["provenance"]["order"]
    document |= {"version": 1, "key": old.named.to_json(), "key_digest": old.shard_key, "digest": old.digest}
    content = json.dumps({**document, "sha256": sha256(canonical_json(document))}).encode()
    assert read_manifest(put(tmp_path, content)) == old


def test_the_engine_comes_back(tmp_path: Path) -> None:
    manifest = make_manifest(provenance=make_provenance(engine="compiled"))
    assert read_manifest(put(tmp_path, manifest.to_bytes())).provenance.engine == "compiled"


def test_the_file_is_json_that_says_what_it_is() -> None:
    found = json.loads(make_manifest().to_bytes())
    assert (found["format"], found["version"]) == ("headstart feature set", 4)
    assert (found["rows"], found["feature_dim"], found["dtype"]) == (12, 4, "float32")
    assert found["key"]["backbone"] == "resnet50"
    assert found["key_digest"] == make_key().feature_key.digest
    assert [shard["file"] for shard in found["shards"]] == ["shard-00000.h5", "shard-00001.h5", "shard-00002.h5"]
    assert found["shards"][1]["skipped"] == [{"row": 7, "id": "bild/ä.png", "reason": "cut off"}]


# --- what it says of the set -----------------------------------------------------------------------------------------


def test_rows_are_those_there_and_stop_counts_the_skipped_ones_too() -> None:
    manifest = make_manifest()
    assert (manifest.rows, manifest.stop, manifest.skipped) == (12, 13, 1)


@pytest.mark.parametrize(("dtype", "nbytes"), [("float32", 12 * 4 * 4), ("float16", 12 * 4 * 2)])
def test_nbytes_is_the_size_of_the_features(dtype: str, nbytes: int) -> None:
    assert make_manifest(dtype=dtype).nbytes == nbytes


def test_elapsed_s_is_the_sum_over_the_shards() -> None:
    assert make_manifest().elapsed_s == 4.5


def test_elapsed_s_is_unknown_where_one_shards_share_is() -> None:
    shards = (make_record(0, 0, 5), make_record(1, 5, 10, elapsed_s=None))
    assert make_manifest(shards=shards).elapsed_s is None


def test_a_run_of_no_time_is_not_an_unknown_one() -> None:
    assert make_manifest(shards=(make_record(0, 0, 5, elapsed_s=0.0),)).elapsed_s == 0.0


def test_the_digest_names_the_key_and_every_shard_in_order() -> None:
    first, second = make_record(0, 0, 5), make_record(1, 5, 10)
    digests = [
        make_manifest(shards=shards, key=key).digest
        for shards, key in [
            ((first, second), make_key().feature_key),
            ((second, first), make_key().feature_key),
            ((first,), make_key().feature_key),
            ((first, second), make_key(precision="bf16").feature_key),
            ((first, dataclasses.replace(second, sha256="ff" * 32)), make_key().feature_key),
        ]
    ]
    digests.append(make_manifest(shards=(first, second), classes=("other", "names")).digest)
    assert len(set(digests)) == len(digests)


def test_the_digest_does_not_depend_on_where_the_set_was_made() -> None:
    other = make_manifest(provenance=make_provenance(device="cuda:0", batch_size=512, created="2024"))
    assert other.digest == make_manifest().digest


def test_a_record_knows_its_part() -> None:
    assert make_record(12, 100, 200).part == Part(12, 100, 200)


BAD_NAMES = [
    "shard-0.h5",
    "shard-000001.h5",
    "shard--0001.h5",
    "shard-00000.h5.tmp",
    "shard-٠٠٠٠٠.h5",  # digits to Python
    "shard-abcde.h5",
    "Shard-00000.h5",
    "../shard-00000.h5",
    "/etc/passwd",
    "",
]


@pytest.mark.parametrize("file", BAD_NAMES)
def test_a_record_of_no_shards_name_is_refused(file: str) -> None:
    with pytest.raises(ValueError, match="is no shard's name"):
        _ = make_record(0, 0, 5, file=file).part


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_missing_manifest_is_a_missing_file(tmp_path: Path) -> None:
    # it is how an incomplete set is told from a damaged one
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        read_manifest(tmp_path)


GARBAGE = [
    b"",
    b"\0" * 100,
    b"[]",
    b"null",
    b"{}",
    b"5",
    b'"headstart feature set"',
    b"[" * 200_000,
    b"\xff\xfe",
    b"<html>",
]


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: repr(content[:24]))
def test_garbage_is_refused_with_the_place_and_the_next_step(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(
        FeaturesDamaged, match=r"manifest\.json: not a manifest of ours .*extract` that made the set writes it again"
    ):
        read_manifest(put(tmp_path, content))


def test_a_folder_in_the_manifests_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(FeaturesDamaged, match="not a manifest of ours"):
        read_manifest(tmp_path)


@dataclasses.dataclass(frozen=True)
class Damage:
    """`edit` changes the parsed document; `message` is what must be said of it."""

    name: str
    edit: Callable[[Document], Any]
    message: str


def setting(*path: str | int, to: Any) -> Callable[[Document], None]:
    def edit(document: Document) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return edit


def dropping(*path: str | int) -> Callable[[Document], None]:
    def edit(document: Document) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return edit


DAMAGES = [
    Damage("format", setting("format", to="another's feature set"), 'format "another\'s feature set" version 4, expected'),
    Damage("no format", dropping("format"), "format None"),
    Damage("version", setting("version", to=5), "version 5, expected 'headstart feature set' 4"),
    Damage("rows", setting("rows", to=13), "rows is 13, its contents give 12"),
    Damage("rows as text", setting("rows", to="12"), "rows is '12', its contents give 12"),
    Damage("digest", setting("digest", to="0" * 64), "digest is '0000"),
    Damage("key_digest", setting("key_digest", to="0" * 64), "key_digest is '0000"),
    Damage("no key_digest", dropping("key_digest"), "key_digest"),
    Damage("key field", setting("key", "image_size", to=225), "key_digest is "),
    Damage("key field of another type", setting("key", "image_size", to="224"), "image_size is '224'"),
    Damage("key field missing", dropping("key", "backbone"), r"\['backbone'\] are missing or unknown"),
    Damage("data set", setting("dataset", to="other"), "its own sha256 is another"),
    Damage("number as a data set", setting("dataset", to=7), "the data set and of its classes are not all text"),
    Damage("classes", setting("classes", 0, to="other"), "digest is "),
    Damage("number as a class", setting("classes", 0, to=0), "."),
    Damage("change", setting("change", "gone", to=4), "its own sha256 is another"),
    Damage("change as text", setting("change", "gone", to="3"), "expected a digest, numbers of pictures and class names"),
    Damage("change unknown", setting("change", "colour", to=1), "colour"),
    Damage("key missing", dropping("key"), "'key'"),
    Damage("shard's SHA-256", setting("shards", 1, "sha256", to="0" * 64), "digest is "),
    Damage("gap", setting("shards", 1, "start", to=6), r"shard 1, shard-00001\.h5, has rows 6-10, expected from 5 on"),
    Damage("overlap", setting("shards", 2, "start", to=9), r"shard 2, shard-00002\.h5, has rows 9-13, expected from 10 on"),
    Damage("late start", setting("shards", 0, "start", to=1), r"shard 0, .* has rows 1-5, expected from 0 on"),
    Damage("early stop", setting("shards", 0, "stop", to=4), r"shard 0, .* has rows 0-4"),
    Damage("late stop", setting("shards", 2, "stop", to=14), r"shard 2, .* has rows 10-14"),
    Damage(
        "another shard's name", setting("shards", 1, "file", to="shard-00002.h5"), r"shard 1, shard-00002\.h5, has rows"
    ),
    Damage("no shard's name", setting("shards", 1, "file", to="shard-1.h5"), "'shard-1.h5' is no shard's name"),
    Damage("path as a name", setting("shards", 1, "file", to="../shard-00001.h5"), r"shard-00001\.h5' is no shard's name"),
    Damage("number as a name", setting("shards", 1, "file", to=1), "shard 1: file is 1, expected str"),
    Damage(
        "text as seconds", setting("shards", 0, "elapsed_s", to="1"), "shard 0: elapsed_s is '1', expected int or float or"
    ),
    Damage(
        "a row not its own",
        setting("shards", 1, "skipped", 0, "row", to=12),
        "shard 1 leaves out rows that are not its own",
    ),
    Damage("truth as a row", setting("shards", 0, "start", to=True), "shard 0: start is True, expected int"),
    Damage("number as a digest", setting("shards", 2, "sha256", to=7), "shard 2: sha256 is 7, expected str"),
    Damage(
        "text as a count", setting("provenance", "split_rows", to="100"), "provenance: split_rows is '100', expected int"
    ),
    Damage(
        "list of versions", setting("provenance", "versions", to=["1"]), r"provenance: versions is \['1'\], expected dict"
    ),
    Damage(
        "number as a version", setting("provenance", "versions", "torch", to=2), "its notes or versions are not all text"
    ),
    Damage("skipped image forgotten", setting("shards", 1, "skipped", to=[]), r"shard 1, .* has rows 5-10"),
    Damage("skipped image without a row", dropping("shards", 1, "skipped", 0, "row"), "row"),
    Damage("shard missing", dropping("shards", 2), "digest is "),
    Damage("no shards", setting("shards", to=[]), "digest is "),
    Damage("shards of another type", setting("shards", to=5), "int"),
    Damage("shard field missing", dropping("shards", 0, "inputs"), "inputs"),
    Damage("shard field unknown", setting("shards", 0, "colour", to="green"), "colour"),
    Damage("provenance missing", dropping("provenance"), "provenance"),
    Damage("provenance field unknown", setting("provenance", "colour", to="green"), "colour"),
    Damage("engine", setting("provenance", "engine", to="other"), "its own sha256 is another"),
    Damage("engine missing", dropping("provenance", "engine"), "its own sha256 is another"),
    Damage("provenance field missing", dropping("provenance", "device"), "device"),
    Damage("feature_dim", setting("feature_dim", to=5), "."),
    Damage("feature_dim as text", setting("feature_dim", to="4"), "."),
    Damage("dtype", setting("dtype", to="float16"), "."),
    Damage("dtype unknown", setting("dtype", to="float31"), "features of 4 float31, expected 1 or more float32 or float16"),
    Damage("no features", setting("feature_dim", to=0), "features of 0 float32, expected 1 or more"),
    Damage("split", setting("split", to="test"), "."),
    Damage("inputs", setting("shards", 0, "inputs", to="0" * 64), "."),
    Damage("parameters", setting("provenance", "parameters", to="0" * 64), "."),
    Damage("notes", setting("provenance", "notes", to=[]), "."),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_a_damaged_field_is_refused_by_what_is_wrong(tmp_path: Path, damage: Damage) -> None:
    document = json.loads(make_manifest().to_bytes())
    damage.edit(document)
    with pytest.raises(FeaturesDamaged, match=rf"manifest\.json: not a manifest of ours \(.*{damage.message}"):
        read_manifest(put(tmp_path, json.dumps(document).encode()))


def test_the_document_without_an_edit_is_read(tmp_path: Path) -> None:
    # else the refusals above would say nothing
    document = json.loads(make_manifest().to_bytes())
    assert read_manifest(put(tmp_path, json.dumps(document).encode())) == make_manifest()


def test_a_manifest_of_no_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeaturesDamaged, match="it lists no shard"):
        read_manifest(put(tmp_path, make_manifest(shards=()).to_bytes()))


def test_a_key_named_twice_is_refused(tmp_path: Path) -> None:
    content = make_manifest().to_bytes().replace(b'"rows": 12,', b'"rows": 13, "rows": 12,')
    with pytest.raises(FeaturesDamaged, match="names the same key twice"):
        read_manifest(put(tmp_path, content))


def survivor(folder: Path, content: bytes) -> Manifest | None:
    """What can be read from damaged bytes; anything but FeaturesDamaged goes on to the test."""
    try:
        return read_manifest(put(folder, content))
    except FeaturesDamaged:
        return None


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    manifest = make_manifest()
    content = manifest.to_bytes()
    changed = []
    for bit in np.random.default_rng(0).choice(8 * len(content), size=300, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        if survivor(tmp_path, bytes(flipped)) not in (None, manifest):
            changed.append(bytes(flipped[bit // 8 - 20 : bit // 8 + 20]))
    assert changed == []


def test_a_truncated_manifest_is_refused_at_every_length(tmp_path: Path) -> None:
    content = make_manifest().to_bytes().rstrip()
    lengths = [*range(0, len(content), 7), *range(len(content) - 20, len(content))]
    assert [length for length in lengths if survivor(tmp_path, content[:length]) is not None] == []
