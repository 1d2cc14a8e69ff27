"""Stale features are impossible: 57 changes of key, pictures, labels, names or weights, each of which must be noticed.

Of each it is said how many pictures go through the backbone: those that are nowhere, and no other. 22 changes that alter
nothing must be answered from what is there. Every outcome is compared to the bit with a run into an empty features
directory, and whoever opened the set before must go on reading what that was. All pictures here have one size and, where a
change does not say otherwise, one modification time, as after unpacking an archive that keeps no times: the shortcut over
sizes and times must not be fooled either. It is taken over ids, labels, sizes, both times and inodes. What it can't see
must leave all of them alone, as a write past the file system does; `--force` asks no shortcut.
"""

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from extract_samples import Pixels, QuarterMeans, RecordingObserver, array_images, encoded, no_body, noise, picture
from hypothesis import strategies as st
from PIL import Image

from headstart.core.cache.errors import FeaturesStale
from headstart.core.cache.key import FEATURE_VERSION, FeatureKey
from headstart.core.cache.shard import Rows
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.backbones import POOLING, Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import Extractor
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.reuse import survey
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.weights import Weights

FILES = (
    *(f"a/{i}.bmp" for i in range(4)),
    *(f"a/z/{i}.bmp" for i in (4, 5)),
    *(f"b/m/{i}.bmp" for i in range(6)),
    *(f"c/{side}/{i}.bmp" for side in "xy" for i in range(3)),
)
"""Eighteen pictures of three classes, in the data set's order; shards of four rows."""
THEN = 1_693_569_600_000_000_000
PIXELS = noise(18, 8)


def place(path: Path, seed: int) -> None:
    """A picture of the common size and time at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture(seed=seed), "BMP"))
    os.utime(path, ns=(THEN, THEN))


@dataclasses.dataclass
class World:
    """A folder of pictures, another set in memory, and a features directory; changes change them."""

    top: Path
    photos: Path = dataclasses.field(init=False)
    store: FeatureStore = dataclasses.field(init=False)
    extractor: QuarterMeans = dataclasses.field(default_factory=QuarterMeans)

    def __post_init__(self) -> None:
        self.photos = self.top / "photos"
        self.store = FeatureStore(self.top / "features")
        for seed, path in enumerate(FILES):
            place(self.photos / path, seed)

    def path(self, name: str) -> Path:
        return self.photos / name

    def job(self, images: Images | None = None, **config: Any) -> Job:
        """A job over the folder as it is now, or over other images."""
        return Job(
            images=images or datasets.open_split(f"folder:{self.photos}", "all", Path("unused")).in_order("unknown"),
            backbone=Backbone("quarters", 4, no_body),
            weights=Weights("file", "0" * 64, "nowhere"),
            preprocessing=Preprocessing(16),
            device=Device("cpu", "fp32", "this CPU"),
            config=ExtractConfig(**{"shard_rows": 4, **config}),
        )

    def run(self, job: Job, **changes: Any) -> Outcome:
        job = dataclasses.replace(job, config=dataclasses.replace(job.config, **changes))
        return extract(job, lambda _: self.extractor, self.store, RecordingObserver())

    def assert_as_if_computed_now(self, job: Job, outcome: Outcome) -> None:
        """To the bit what a run into an empty features directory gives, for the rows asked for."""
        empty = FeatureStore(self.top / "empty")
        fresh = extract(job, lambda _: QuarterMeans(), empty, RecordingObserver()).features.load()
        found = outcome.features.load(limit=job.rows)
        assert bits(found) == bits(fresh)
        shutil.rmtree(empty.root)


def bits(rows: Rows) -> list[tuple[Any, ...]]:
    arrays = [np.ascontiguousarray(array) for array in (rows.features, rows.labels)]
    return [*((array.dtype, array.shape, array.tobytes()) for array in arrays), rows.ids.tolist()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@dataclasses.dataclass(frozen=True)
class Change:
    """What is done after a first run. `then` gives the second run's job; where `before` is given it gives the first's."""

    name: str
    then: Callable[[World], Job]
    answer: str = ""
    before: Callable[[World], Job] = World.job

    def __str__(self) -> str:
        return self.name


# ---- the key


@dataclasses.dataclass(frozen=True)
class Rekeyed(Job):
    """A job of another release of ours, whose key differs in what is no setting."""

    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> FeatureKey:
        return dataclasses.replace(super().key, **self.changes)


def rekeyed(job: Job, **changes: Any) -> Job:
    return Rekeyed(**{field.name: getattr(job, field.name) for field in dataclasses.fields(job)}, changes=changes)


def with_images(world: World, **changes: Any) -> Job:
    job = world.job()
    return dataclasses.replace(job, images=dataclasses.replace(job.images, **changes))  # type: ignore[type-var]


def with_preprocessing(world: World, **changes: Any) -> Job:
    return dataclasses.replace(world.job(), preprocessing=Preprocessing(**{"image_size": 16, **changes}))


def with_weights(world: World, label: str, digest: str) -> Job:
    return dataclasses.replace(world.job(), weights=Weights(label, digest, "nowhere"))


KEY_FIELDS: dict[str, Callable[[World], Job]] = {
    "backbone": lambda world: dataclasses.replace(world.job(), backbone=Backbone("eighths", 4, no_body)),
    "pooling": lambda world: rekeyed(world.job(), pooling="max"),
    "weights": lambda world: with_weights(world, "IMAGENET1K_V2", "0" * 64),
    "weights_sha256": lambda world: with_weights(world, "file", "0" * 63 + "1"),
    "image_size": lambda world: with_preprocessing(world, image_size=18),
    "interpolation": lambda world: with_preprocessing(world, interpolation="bicubic"),
    "mean": lambda world: with_preprocessing(world, mean=(0.485, 0.456, 0.407)),
    "std": lambda world: with_preprocessing(world, std=(0.229, 0.224, 0.226)),
    "precision": lambda world: dataclasses.replace(world.job(), device=Device("cpu", "tf32", "this CPU")),
    "feature_version": lambda world: rekeyed(world.job(), feature_version=FEATURE_VERSION + 1),
    "resize": lambda world: with_preprocessing(world, resize=20),
    "crop": lambda world: with_preprocessing(world, crop="center"),
    "view": lambda world: with_preprocessing(world, view="flip"),
}
"""For each field of the key a job in which only that field differs."""


def renamed(world: World, old: str, new: str) -> Job:
    world.path(new).parent.mkdir(parents=True, exist_ok=True)
    world.path(old).rename(world.path(new))
    return world.job()


def class_added(world: World) -> Job:
    place(world.path("d/0.bmp"), 90)
    return world.job()


def empty_class_added(world: World) -> Job:
    world.path("aa").mkdir()
    return world.job()


def class_removed(world: World) -> Job:
    shutil.rmtree(world.path("b"))
    return world.job()


def exchanged(world: World, one: str, other: str) -> Job:
    """Two files or folders under each other's name, with no file's own times changed where they are folders."""
    world.path(one).rename(world.top / "aside")
    world.path(other).rename(world.path(one))
    (world.top / "aside").rename(world.path(other))
    return world.job()


ANOTHER_KEY = [Change(f"key: {field}", then) for field, then in KEY_FIELDS.items()]


def test_every_field_of_the_key_is_changed_alone() -> None:
    assert list(KEY_FIELDS) == [field.name for field in dataclasses.fields(FeatureKey)]


@pytest.mark.parametrize("field", KEY_FIELDS)
def test_the_change_is_of_its_field_alone(world: World, field: str) -> None:
    before, after = world.job().key, KEY_FIELDS[field](world).key
    assert [text.split(" is ")[0] for text in before.differences(after)] == [field]


def test_the_key_names_our_pooling_and_feature_version(world: World) -> None:
    assert (world.job().key.pooling, world.job().key.feature_version) == (POOLING, FEATURE_VERSION)


@pytest.mark.parametrize("change", ANOTHER_KEY, ids=str)
def test_what_has_another_key_is_another_set(world: World, change: Change) -> None:
    first = world.run(world.job())
    old = bits(first.features.load())
    job = change.then(world)
    second = world.run(job)
    assert second.features.folder != first.features.folder
    assert (second.computed, second.change) == (job.rows, None)
    world.assert_as_if_computed_now(job, second)
    assert bits(first.features.load()) == old


# ---- the inputs


def one_pixel(world: World, times: str) -> Job:
    """One pixel of a/2.bmp rewritten in place; the file keeps its size."""
    path = world.path("a/2.bmp")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    if times == "restored":
        os.utime(path, ns=(THEN, THEN))
    return world.job()


def written(world: World, name: str, content: bytes) -> Job:
    world.path(name).write_bytes(content)
    return world.job()


def added(world: World, name: str) -> Job:
    place(world.path(name), 77)
    return world.job()


def removed(world: World, name: str) -> Job:
    world.path(name).unlink()
    return world.job()


def linked(world: World, name: str, target: str) -> Job:
    """A picture replaced by a link."""
    world.path(name).unlink()
    world.path(name).symlink_to(target)
    return world.job(on_error="skip")


def piped(world: World, name: str) -> Job:
    world.path(name).unlink()
    os.mkfifo(world.path(name))
    return world.job(on_error="skip")


def relinked(world: World) -> Job:
    """A link to one of two pictures led to the other; all files stay as they are."""
    world.path("a/3.bmp").unlink()
    world.path("a/3.bmp").symlink_to(world.top / "other-1.bmp")
    return world.job()


def first_link(world: World) -> Job:
    for number in (0, 1):
        place(world.top / f"other-{number}.bmp", 50 + number)
    world.path("a/3.bmp").unlink()
    world.path("a/3.bmp").symlink_to(world.top / "other-0.bmp")
    return world.job()


def truncated(world: World) -> Job:
    os.truncate(world.path("a/1.bmp"), 600)
    return world.job(on_error="skip")


def emptied(world: World) -> Job:
    os.truncate(world.path("a/1.bmp"), 0)
    return world.job(on_error="skip")


def spoiled_first(world: World) -> Job:
    world.path("a/1.bmp").write_bytes(b"spoiled")
    return world.job(on_error="skip")


def repaired(world: World) -> Job:
    place(world.path("a/1.bmp"), 1)
    return world.job(on_error="skip")


def arrays(world: World, pixels: Pixels = PIXELS, labels: list[int] | None = None, **config: Any) -> Job:
    images = array_images(pixels)
    if labels is not None:
        given = np.array(labels, dtype=np.int64)
        images = dataclasses.replace(images, load=lambda start, stop: (pixels[start:stop], given[start:stop]))
    return world.job(images, **config)


def array_pixel(world: World) -> Job:
    pixels = PIXELS.copy()
    pixels[17, 7, 7, 2] ^= 1
    return arrays(world, pixels)


def other_parameters(world: World) -> Job:
    world.extractor = QuarterMeans(parameters="others")
    return arrays(world)


LABELS = [row % 3 for row in range(18)]


def half_removed(world: World) -> Job:
    for path in FILES[::2]:
        world.path(path).unlink()
    return world.job()


def copied_file(world: World, name: str, other: str) -> Job:
    shutil.copy(world.path(name), world.path(other))
    return world.job()


def twice_added(world: World) -> Job:
    place(world.path("a/new.bmp"), 77)
    return copied_file(world, "a/new.bmp", "c/x/new.bmp")


def some(world: World) -> dict[str, Any]:
    """Every third picture, with labels of their own."""
    images = world.job().images
    assert isinstance(images, FileImages)
    return {"paths": images.paths[::3], "targets": tuple(i % 2 for i in range(6))}


BROUGHT_UP_TO_DATE = [
    Change("another data set's name", lambda world: with_images(world, name="folder-fotos"), "0"),
    Change("another class's name", lambda world: with_images(world, classes=("a", "b", "d")), "0"),
    Change("class order", lambda world: with_images(world, classes=("a", "c", "b")), "0"),
    Change("split", lambda world: with_images(world, split="test"), "0"),
    Change("a class added", class_added, "1"),
    Change("an empty class added", empty_class_added, "0"),
    Change("a class removed", class_removed, "0"),
    Change("a class renamed, order kept", lambda world: renamed(world, "c", "cc"), "0"),
    Change("half of the pictures removed", half_removed, "0"),
    Change("a picture copied", lambda world: copied_file(world, "a/0.bmp", "b/m/0y.bmp"), "0"),
    Change("a new picture twice", twice_added, "1"),
    Change("a sub-set under another name", lambda world: with_images(world, name="some", **some(world)), "0"),
    Change("one pixel, same size", lambda world: one_pixel(world, "new"), "1"),
    Change("one pixel, same size, old modification time restored", lambda world: one_pixel(world, "restored"), "1"),
    Change("another format, same picture", lambda w: written(w, "a/0.bmp", encoded(picture(), "PNG")), "1"),
    Change("a byte added", lambda w: written(w, "b/m/0.bmp", w.path("b/m/0.bmp").read_bytes() + b"\0"), "1"),
    Change("a file cut", truncated, "0"),
    Change("a file emptied", emptied, "0"),
    Change("a skipped file mended", repaired, "1", before=spoiled_first),
    Change("a file renamed, order kept", lambda world: renamed(world, "a/3.bmp", "a/3x.bmp"), "0"),
    Change("a file renamed to the front", lambda world: renamed(world, "a/3.bmp", "a/!.bmp"), "0"),
    Change("a file moved to another class", lambda world: renamed(world, "c/y/2.bmp", "a/0x.bmp"), "0"),
    Change("a folder renamed, order kept", lambda world: renamed(world, "b/m", "b/n"), "0"),
    Change("a folder moved to another class, order kept", lambda world: renamed(world, "a/z", "b/0"), "0"),
    Change("two files exchanged", lambda world: exchanged(world, "a/0.bmp", "a/1.bmp"), "0"),
    Change("two files of two classes exchanged", lambda w: exchanged(w, "a/0.bmp", "c/x/0.bmp"), "0"),
    Change("two folders with the same names in them exchanged", lambda w: exchanged(w, "c/x", "c/y"), "0"),
    Change("an image added at the front", lambda world: added(world, "a/!.bmp"), "1"),
    Change("an image added in the middle", lambda world: added(world, "b/m/1x.bmp"), "1"),
    Change("the first image removed", lambda world: removed(world, "a/0.bmp"), "0"),
    Change("the last image removed", lambda world: removed(world, "c/y/2.bmp"), "0"),
    Change("a file replaced by a link to another", lambda w: linked(w, "a/0.bmp", "1.bmp"), "0"),
    Change("a link led to another file", relinked, "1", before=first_link),
    Change("a file replaced by a link to nowhere", lambda w: linked(w, "a/0.bmp", "nowhere"), "0"),
    Change("a file replaced by a link to itself", lambda w: linked(w, "a/0.bmp", "0.bmp"), "0"),
    Change("a file replaced by a pipe", lambda world: piped(world, "a/0.bmp"), "0"),
    Change("array: one pixel", array_pixel, "1", before=arrays),
    Change("array: one label", lambda w: arrays(w, labels=[*LABELS[:9], 1, *LABELS[10:]]), "0", before=arrays),
    Change("array: labels shuffled", lambda w: arrays(w, labels=LABELS[::-1]), "0", before=arrays),
    Change("array: images in another order", lambda w: arrays(w, PIXELS[::-1].copy()), "0", before=arrays),
    Change("array: the last images gone", lambda w: arrays(w, PIXELS[:16]), "0", before=arrays),
]


@pytest.mark.parametrize("change", BROUGHT_UP_TO_DATE, ids=str)
def test_changed_inputs_are_brought_up_to_date_at_the_price_of_what_is_new(world: World, change: Change) -> None:
    first = world.run(change.before(world))
    old, there = bits(first.features.load()), shards(world.store)
    job = change.then(world)
    world.extractor.seen = 0
    second = world.run(job)
    assert second.computed == int(change.answer)
    assert second.change is not None
    assert world.extractor.seen <= second.computed
    assert second.features.folder != first.features.folder
    world.assert_as_if_computed_now(job, second)
    assert bits(first.features.load()) == old
    assert there.items() <= shards(world.store).items()
    assert world.run(job).features == second.features


@pytest.mark.parametrize(
    ("then", "foretold", "words"),
    [
        (lambda w: removed(w, "a/1.bmp"), "1 unreadable picture no longer there", "1 unreadable picture no longer there"),
        (lambda w: removed(w, "a/0.bmp"), "1 no longer there", "1 no longer there"),
        (lambda w: added(w, "a/7.bmp"), "1 picture is new", ""),
        (lambda w: repaired(w), "1 picture is new", ""),
        (lambda w: renamed(w, "a/1.bmp", "b/m/spoiled.bmp"), "its classes or the order of its files have changed", ""),
    ],
    ids=["the unreadable one gone", "another gone", "one added", "mended", "renamed"],
)
def test_a_picture_that_was_left_out_is_told_as_what_became_of_it(
    world: World, then: Callable[[World], Job], foretold: str, words: str
) -> None:
    world.run(spoiled_first(world))
    job = dataclasses.replace(then(world), config=ExtractConfig(shard_rows=4, on_error="skip"))
    told = survey(job, world.store).changes
    assert told is not None
    assert told.words == foretold
    change = world.run(job).change
    assert change is not None
    assert ", ".join(change.difference.words) == words


def test_another_network_under_the_same_weights_is_refused(world: World) -> None:
    first = world.run(arrays(world, limit=8)).features
    job = other_parameters(world)
    with pytest.raises(FeaturesStale, match=r"made with other parameters than nowhere gives now; --force computes the set"):
        world.run(job)
    assert bits(world.run(arrays(world, limit=8)).features.load()) == bits(first.load())
    world.assert_as_if_computed_now(job, world.run(job, force=True))


@pytest.mark.parametrize("change", [Change("nothing", World.job), Change("all", lambda w: added(w, "a/!.bmp"))], ids=str)
def test_force_computes_everything_and_keeps_what_was_there(world: World, change: Change) -> None:
    first = world.run(world.job()).features
    job = change.then(world)
    second = world.run(job, force=True)
    assert (second.computed, second.features.folder.name) == (job.rows, f"{first.folder.name}-2")
    world.assert_as_if_computed_now(job, second)
    assert len(first.load()) == 18


def shards(store: FeatureStore) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(store.root.glob("*/shard-*.h5"))}


def limited(world: World) -> Job:
    return world.job(limit=10)


ONLY_THE_REST = [
    Change("images added at the end", lambda world: added(world, "c/y/3.bmp"), "1"),
    Change("a longer limit", World.job, "8", before=limited),
    Change("array: images added at the end", lambda w: arrays(w, noise(20, 8)), "2", before=arrays),
]


@pytest.mark.parametrize("change", ONLY_THE_REST, ids=str)
def test_of_a_longer_set_only_the_rest_is_computed(world: World, change: Change) -> None:
    world.run(change.before(world))
    job = change.then(world)
    outcome = world.run(job)
    assert outcome.computed == int(change.answer)
    world.assert_as_if_computed_now(job, outcome)


# ---- what changes no feature


def moved(world: World) -> Job:
    (world.top / "elsewhere").mkdir()
    world.photos = world.photos.rename(world.top / "elsewhere/photos")
    return world.job()


def copied(world: World) -> Job:
    world.photos = Path(shutil.copytree(world.photos, world.top / "backup/photos"))
    return world.job()


def through_a_link(world: World) -> Job:
    (world.top / "link").symlink_to(world.photos)
    world.photos = world.top / "link"
    return world.job()


def features_moved(world: World) -> Job:
    world.store = FeatureStore(world.store.root.rename(world.top / "kept"))
    return world.job()


def touched(world: World) -> Job:
    for path in FILES:
        os.utime(world.path(path))
    return world.job()


def with_rights(world: World) -> Job:
    for path in FILES:
        world.path(path).chmod(0o600)
    return world.job()


def rewritten(world: World) -> Job:
    for path in FILES:
        content = world.path(path).read_bytes()
        world.path(path).unlink()
        world.path(path).write_bytes(content)
    return world.job()


def strangers_added(world: World) -> Job:
    for name in ("readme.txt", "a/notes.md", "a/.hidden.bmp", ".trash/0.bmp"):
        place(world.path(name), 3)
    return world.job()


def class_linked(world: World) -> Job:
    world.path("b").rename(world.top / "b")
    world.path("b").symlink_to(world.top / "b")
    return world.job()


def picture_linked(world: World) -> Job:
    world.path("a/0.bmp").rename(world.top / "0.bmp")
    world.path("a/0.bmp").symlink_to(world.top / "0.bmp")
    return world.job()


def changed_beyond(world: World) -> Job:
    place(world.path("c/y/2.bmp"), 88)
    return world.job(limit=16)


FOUND = [
    Change("nothing", World.job),
    Change("data folder moved", moved),
    Change("data folder copied", copied),
    Change("data folder through a link", through_a_link),
    Change("features directory moved", features_moved),
    Change("files touched", touched),
    Change("files' rights changed", with_rights),
    Change("files written again", rewritten),
    Change("other files and hidden ones added", strangers_added),
    Change("a class folder that is a link now", class_linked),
    Change("a picture that is a link now", picture_linked),
    Change("a change beyond the limit", changed_beyond),
    Change("workers", lambda world: world.job(workers=1)),
    Change("batch size", lambda world: world.job(batch_size=7)),
    Change("shard rows", lambda world: world.job(shard_rows=5)),
    Change("on error skip", lambda world: world.job(on_error="skip")),
    Change("a smaller limit", lambda world: world.job(limit=7)),
    Change("a limit beyond the end", lambda world: world.job(limit=999)),
    Change("device", lambda w: dataclasses.replace(w.job(), device=Device("cuda:3", "fp32", "that GPU"))),
    Change("weights elsewhere", lambda w: dataclasses.replace(w.job(), weights=Weights("file", "0" * 64, "elsewhere"))),
    Change("notes", lambda world: with_images(world, notes=("a stand-in",))),
    Change("array: read again", arrays, before=arrays),
]


@pytest.mark.parametrize("change", FOUND, ids=str)
def test_what_changes_no_feature_is_answered_from_what_is_there(world: World, change: Change) -> None:
    world.run(change.before(world))
    job = change.then(world)
    before = shards(world.store)

    def load(_: Job) -> Extractor:
        raise AssertionError("the backbone was loaded")

    outcome = extract(job, load, world.store, RecordingObserver())
    assert (outcome.computed, shards(world.store)) == (0, before)
    world.assert_as_if_computed_now(job, outcome)


def test_this_file_counts_its_changes_truthfully() -> None:
    names = [change.name for change in (*ANOTHER_KEY, *BROUGHT_UP_TO_DATE, *ONLY_THE_REST)]
    assert len(names) == len(set(names))
    assert f"{len(names)} changes of key" in (__doc__ or "")
    assert f"{len(FOUND)} changes that alter" in (__doc__ or "")
    assert len(names) >= 25


# ---- any changes


def op_exchange(world: World, one: Path, other: Path) -> None:
    if one == other:
        return
    one.rename(world.top / "aside")
    other.rename(one)
    (world.top / "aside").rename(other)


def op_copy(world: World, one: Path, other: Path) -> None:
    if one != other:
        shutil.copy(one, other)


def op_paint(world: World, one: Path, other: Path) -> None:
    with Image.open(one) as image:
        image.load()
        image.putpixel((3, 3), (1, 2, 3))
        image.save(one, "BMP")


def op_write_again(world: World, one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.unlink()
    one.write_bytes(content)


def op_rename(world: World, one: Path, other: Path) -> None:
    one.rename(one.with_name(f"{one.stem}x.bmp"))


def op_move(world: World, one: Path, other: Path) -> None:
    if one != other:
        one.rename(other.with_name(f"{other.stem}y.bmp"))


def op_add(world: World, one: Path, other: Path) -> None:
    shutil.copy(one, other.with_name(f"{other.stem}z.bmp"))


def op_remove(world: World, one: Path, other: Path) -> None:
    if len(list(world.photos.rglob("*.bmp"))) > 1:
        one.unlink()


def op_folders(world: World, one: Path, other: Path) -> None:
    if one.parent not in (other.parent, *other.parent.parents) and other.parent not in one.parent.parents:
        op_exchange(world, one.parent, other.parent)


OPS = [value for name, value in list(globals().items()) if name.startswith("op_")]


@hypothesis.given(
    ops=st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=4),
    same_times=st.booleans(),
)
@hypothesis.settings(max_examples=40)
def test_after_any_changes_the_set_is_right_at_the_price_of_what_is_new(
    tmp_path_factory: pytest.TempPathFactory,
    ops: list[tuple[Callable[[World, Path, Path], None], int, int]],
    same_times: bool,
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    before = world.job()
    first, contents = world.run(before), seen(before)
    old = bits(first.features.load())
    for op, one, other in ops:
        there = sorted(world.photos.rglob("*.bmp"))
        op(world, there[one % len(there)], there[other % len(there)])
    for path in world.photos.rglob("*.bmp") if same_times else []:
        os.utime(path, ns=(THEN, THEN))
    job = world.job()
    now, known = seen(job), {mark for _, _, mark in contents}
    outcome = world.run(job)
    assert outcome.computed == len({mark for _, _, mark in now} - known)
    assert (outcome.features.folder == first.features.folder) is (
        now[: len(contents)] == contents and same_classes(job, first)
    )
    world.assert_as_if_computed_now(job, outcome)
    assert bits(first.features.load()) == old or outcome.features.folder == first.features.folder
    shutil.rmtree(world.top)


def same_classes(job: Job, first: Outcome) -> bool:
    return job.images.classes == first.features.manifest.classes


def seen(job: Job) -> list[tuple[bytes, int, str]]:
    """Every row's id, label and content."""
    images, rows = job.images, (0, job.images.rows)
    return list(zip(images.ids(*rows), images.labels(*rows).tolist(), images.fingerprints(*rows), strict=True))
