"""Views are sets of their own beside that of the pictures as they are: made, found, resumed and renewed as any."""

import dataclasses
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_samples import SMALL, coloured, pets
from cli_samples import Place, parse
from dataset_samples import samples, write_folder
from extract_samples import (
    Interrupted,
    QuarterMeans,
    RecordingObserver,
    array_images,
    digits_jobs,
    encoded,
    file_images,
    write_picture,
)
from PIL import Image, ImageOps
from run_samples import PIXELS, assert_equal, expected_rows, job, run, run_finding_all, shards, tiny

import headstart as hs
from headstart.core.cache.errors import ArgumentInvalid, ImageUnreadable, WeightsMismatch
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.views import FLIP, crop
from headstart.core.extract import plan as plans
from headstart.core.extract import weights
from headstart.core.extract.config import MOST_VIEWS, ExtractConfig, ExtractionRequest
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network import loaded
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.restore import restore
from headstart.core.extract.reuse import older_views
from headstart.core.extract.run import extract
from headstart.core.extract.tuning.request import engine_request
from headstart.core.extract.tuning.trials import EngineRequest

VIEWS = (FLIP, crop(0, 1))
WORDS = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32")


def seen(job: Job, view: str) -> Job:
    return dataclasses.replace(job, preprocessing=dataclasses.replace(job.preprocessing, view=view))


def by_view(folder: Path) -> dict[str, FeatureSet]:
    return {found.manifest.key.view_words: found for found in FeatureStore(folder).sets()}


# ---- what is planned


def test_a_command_makes_the_pictures_as_they_are_first_and_then_each_view() -> None:
    config = ExtractConfig(image_size=32, device="cpu")
    request = ExtractionRequest(("resnet18", "resnet50"), "digits", None, ("random:0",), False, config, 2, 5)
    jobs = plans.plan(request, Path("nowhere"))
    assert [job.title for job in jobs[:6]] == [
        "resnet18 digits train",
        "resnet18 digits test",
        "resnet18 digits train, crop 1 of seed 5",
        "resnet18 digits test, crop 1 of seed 5",
        "resnet18 digits train, crop 2 of seed 5",
        "resnet18 digits test, crop 2 of seed 5",
    ]
    assert [job.backbone.name for job in jobs[6:]] == ["resnet50"] * 6
    for one in jobs[:6]:
        assert one.key.plain == jobs[0].key
        assert one.network.is_same(jobs[0].network)
    assert len({one.key.digest8 for one in jobs[:6]}) == 3
    assert "view" not in jobs[0].key.to_json()


@pytest.mark.parametrize(
    ("views", "seed", "expected"),
    [
        (None, None, ()),
        ("flip", None, (FLIP,)),
        (1, None, (crop(0, 1),)),
        (np.int64(2), np.int64(7), (crop(7, 1), crop(7, 2))),
    ],
)
def test_a_request_names_its_views(views: Any, seed: Any, expected: tuple[str, ...]) -> None:
    assert ExtractionRequest(views=views, view_seed=seed).view_names == expected


@pytest.mark.parametrize("views", [0, -1, MOST_VIEWS + 1, "x", "2", 1.5, True, "", ["flip"]], ids=repr)
def test_views_of_no_use_are_refused(views: Any) -> None:
    with pytest.raises(ArgumentInvalid, match=r"views is .*, expected flip or a whole number from 1 to 64"):
        ExtractionRequest(views=views)


@pytest.mark.parametrize("views", [None, "flip"])
def test_a_seed_without_a_number_of_views_is_refused(views: Any) -> None:
    with pytest.raises(ArgumentInvalid, match="a seed draws random crops, and none are asked for; say how many"):
        ExtractionRequest(views=views, view_seed=0)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True], ids=repr)
def test_seeds_of_no_use_are_refused(seed: Any) -> None:
    with pytest.raises(ArgumentInvalid, match=r"view_seed is .*, expected a whole number from 0 on"):
        ExtractionRequest(views=2, view_seed=seed)


def test_one_network_is_loaded_for_all_views(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loaded, "NETWORKS", loaded.Networks())
    count, own = [], weights.load
    monkeypatch.setattr(weights, "load", lambda *given: count.append(1) or own(*given))  # type: ignore[func-returns-value]
    config = ExtractConfig(image_size=32, device="cpu", precision="fp32", limit=3)
    for one in plans.plan(ExtractionRequest(("resnet18",), "digits", None, ("random:0",), False, config, 2), tmp_path):
        plans.load(one)
    assert len(count) == 1


def test_a_view_is_computed_as_the_pictures_as_they_are_were(store: FeatureStore) -> None:
    plain = tiny(batch_size=None)
    first = QuarterMeans(batch_size=5)
    run(plain, store, first)
    kept = store.execution(plain.named, "train")
    assert kept is not None
    notes: list[str] = []
    found = engine_request(seen(plain, FLIP), store, None, (18, 18), (), notes.append)
    assert found == EngineRequest(18, kept.engine, kept.batch_size, max(18, kept.batch_size))
    outcome = run(seen(plain, FLIP), store, QuarterMeans(batch_size=7))
    origin = outcome.features.manifest.provenance
    assert EngineConfig(origin.engine, origin.batch_size) == EngineConfig(kept.engine, kept.batch_size)
    assert notes == []


def test_engine_and_batch_size_are_chosen_for_all_views_together(store: FeatureStore) -> None:
    plain = tiny(batch_size=None)
    later = [seen(plain, view) for view in VIEWS]
    assert engine_request(plain, store, None, (18, 18), later, lambda _: None).rows == 3 * 18


# ---- sets of stand-in features


@pytest.mark.parametrize("view", VIEWS)
def test_views_and_plain_sets_are_kept_apart(store: FeatureStore, view: str) -> None:
    plain = run(tiny(), store)
    before = shards(store)
    extractor = QuarterMeans()
    outcome = run(seen(tiny(), view), store, extractor)
    assert (outcome.computed, extractor.seen, outcome.change) == (18, 18, None)
    assert outcome.features.folder != plain.features.folder
    assert outcome.features.manifest.images_digest == plain.features.manifest.images_digest
    found, own = outcome.features.load(), plain.features.load()
    assert np.array_equal(found.ids, own.ids)
    assert np.array_equal(found.labels, own.labels)
    assert not np.array_equal(found.features, own.features)
    assert before.items() <= {path.name: path.read_bytes() for path in plain.features.folder.glob("*.h5")}.items()
    run_finding_all(tiny(), store)
    run_finding_all(seen(tiny(), view), store)
    assert [one.folder for one in store.views(tiny().named, "train")] == [outcome.features.folder]


def test_a_flip_has_the_features_of_mirrored_pictures(store: FeatureStore) -> None:
    assert_equal(run(seen(tiny(), FLIP), store).features.load(), expected_rows(PIXELS[:, :, ::-1]))


@pytest.mark.parametrize("view", VIEWS)
def test_equal_pictures_have_equal_rows_computed_once(store: FeatureStore, view: str) -> None:
    pixels = PIXELS.copy()
    pixels[[5, 11, 17]] = pixels[2]
    extractor = QuarterMeans()
    rows = run(seen(job(array_images(pixels)), view), store, extractor).features.load()
    assert extractor.seen == 15
    assert all(np.array_equal(rows.features[row], rows.features[2]) for row in (5, 11, 17))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("done", [0, 1, 4])
def test_a_killed_view_goes_on_and_ends_as_an_uninterrupted_one(tmp_path: Path, view: str, done: int) -> None:
    whole, broken = FeatureStore(tmp_path / "whole"), FeatureStore(tmp_path / "broken")
    expected = run(seen(tiny(), view), whole).features
    run(tiny(), broken)
    with pytest.raises(Interrupted, match=r"^$"):
        run(seen(tiny(), view), broken, observer=RecordingObserver(stop_after=done * 4))
    assert len(broken.sets()) == 1
    extractor = QuarterMeans()
    outcome = run(seen(tiny(), view), broken, extractor)
    assert extractor.seen == 18 - done * 4
    assert outcome.features.manifest.digest == expected.manifest.digest
    assert [path.read_bytes() for path in sorted(outcome.features.folder.glob("*.h5"))] == [*shards(whole).values()]


@pytest.mark.parametrize("view", VIEWS)
def test_an_added_picture_costs_one_row_of_each_view(store: FeatureStore, tmp_path: Path, view: str) -> None:
    images = file_images(tmp_path / "photos", 9)
    run(job(images), store)
    run(seen(job(images), view), store)
    write_picture(tmp_path / "photos/aa.png", 90)
    more = FileImages("files", "all", images.classes, images.root, ("aa.png", *images.paths), (2, *images.targets))
    extractor = QuarterMeans()
    assert run(job(more), store, extractor).computed == 1
    outcome = run(seen(job(more), view), store, extractor)
    assert (outcome.computed, extractor.seen) == (1, 2)
    assert outcome.change is not None
    alone = run(seen(job(more), view), FeatureStore(tmp_path / "alone")).features
    assert_equal(outcome.features.load(), alone.load())


@pytest.mark.parametrize("view", VIEWS)
def test_rows_of_a_view_are_found_in_other_data_sets_of_the_same_view(
    store: FeatureStore, tmp_path: Path, view: str
) -> None:
    images = file_images(tmp_path / "photos", 9)
    part = dataclasses.replace(images, name="part", paths=images.paths[6:1:-1], targets=images.targets[6:1:-1])
    run(job(part), store)  # of the same pictures, but not of the view
    rows = run(seen(job(images), view), store).features.load()
    found = run_finding_all_but_a_change(seen(job(part), view), store)
    assert np.array_equal(found.features, rows.features[6:1:-1])


def run_finding_all_but_a_change(job: Job, store: FeatureStore) -> Any:
    extractor = QuarterMeans()
    outcome = run(job, store, extractor)
    assert (outcome.computed, extractor.seen) == (0, 0)
    return outcome.features.load()


def test_a_picture_that_cannot_be_read_is_left_out_of_views_too(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 6)
    (tmp_path / "photos/03.png").write_bytes(b"no picture")
    for view in VIEWS:
        with pytest.raises(ImageUnreadable, match=r"photos/03\.png: .*; --on-error skip leaves such images out"):
            run(seen(job(images), view), store)
        manifest = run(seen(job(images, on_error="skip"), view), store).features.manifest
        assert (manifest.rows, [image.id for one in manifest.shards for image in one.skipped]) == (5, ["03.png"])


def test_views_that_are_older_than_the_pictures_are_told(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 9)
    for view in ("", *VIEWS):
        run(seen(job(images), view), store)
    assert older_views(job(images), store) == []
    assert older_views(job(images, shard_rows=2), store) == []
    write_picture(tmp_path / "photos/04.png", 77)
    run(job(images), store)
    assert [one.manifest.key.view for one in older_views(job(images), store)] == [
        one.manifest.key.view for one in store.views(job(images).named, "all")
    ]
    for view in VIEWS:
        run(seen(job(images), view), store)
    assert older_views(job(images), store) == []


def test_views_of_fewer_rows_are_older_whatever_the_shards(store: FeatureStore) -> None:
    run(tiny(limit=10), store)
    run(seen(tiny(limit=10), FLIP), store)
    run(tiny(), store)
    assert [one.manifest.stop for one in older_views(tiny(), store)] == [10]
    assert older_views(tiny(limit=10), store) == []
    run(seen(tiny(shard_rows=5), FLIP), store)
    assert older_views(tiny(), store) == []


# ---- the command, with a network


def same_features(found: FeatureSet, expected: FeatureSet) -> None:
    ours, theirs = found.load(), expected.load()
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert np.array_equal(ours.features, theirs.features)


@pytest.mark.parametrize("transform", ["squash", "preset"])
def test_features_of_a_flip_are_those_of_mirrored_pictures(tmp_path: Path, transform: str) -> None:
    given = samples(20, "a", "b")
    mirrored = [
        dataclasses.replace(one, content=encoded(ImageOps.mirror(Image.open(io.BytesIO(one.content))), "PNG"))
        for one in given
    ]
    own, other = Place(tmp_path / "own"), Place(tmp_path / "other")
    words = ("extract", *WORDS, "--transform", transform, "--batch-size", "4", "--engine", "eager", "--dataset")
    own.run(*words, f"folder:{write_folder(own.root / 'pets', given)}", "--views", "flip")
    other.run(*words, f"folder:{write_folder(other.root / 'pets', mirrored)}")
    same_features(by_view(own.root / "features")["flip"], by_view(other.root / "features")[""])


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A place with nine pictures of three classes."""
    pets(tmp_path / "pets", 3)
    return Place(tmp_path)


def test_extract_keeps_views_and_says_so(here: Place) -> None:
    words = ("extract", *WORDS, "--dataset", f"folder:{here.root / 'pets'}")
    planned = here.run(*words, "--views", "2", "--dry-run", "--json").stdout.splitlines()
    assert "resnet18 folder-pets all, crop 2 of seed 0: 9 x 512 " in "\n".join(planned)
    assert "    view = crop area=0.25-1 ratio=3/4-4/3 seed=0 number=2" in planned
    assert [facts["rows_there"] for facts in json.loads(planned[-1])] == [0, 0, 0]
    done = here.run(*words, "--views", "2", "--json").stdout.splitlines()
    assert [line.split(": ")[0] for line in done[:-1]] == [
        "resnet18 folder-pets all",
        "resnet18 folder-pets all, crop 1 of seed 0",
        "resnet18 folder-pets all, crop 2 of seed 0",
    ]
    facts = json.loads(done[-1])
    assert [one["key"].get("view", "") for one in facts] == ["", crop(0, 1), crop(0, 2)]
    assert [one["computed"] for one in facts] == [9, 9, 9]
    again = json.loads(here.run(*words, "--views", "2", "--seed", "0", "--json", "--frozen").stdout.splitlines()[-1])
    assert [one["computed"] for one in again] == [0, 0, 0]
    forced = json.loads(here.run(*words, "--views", "flip", "--limit", "4", "--force", "--json").stdout.splitlines()[-1])
    assert [(one["computed"], one["rows"]) for one in forced] == [(4, 4), (4, 4)]


def test_listings_say_views_in_words(here: Place) -> None:
    here.run("extract", *WORDS, "--dataset", f"folder:{here.root / 'pets'}", "--views", "1", "--seed", "4")
    here.run("extract", *WORDS, "--dataset", f"folder:{here.root / 'pets'}", "--views", "flip")
    lines = here.run("cache", "ls").stdout.splitlines()
    found = sorted(re.split(r"  +", line)[3] for line in lines[1:])
    assert found == ["32 px", "32 px, crop 1 of seed 4", "32 px, flip"]
    sets = by_view(here.root / "features")
    shown = here.run("cache", "show", sets["flip"].folder.name).stdout
    assert "\n  view: flip\n" in shown
    assert "  transform: preset, mirrored, short side resized to 36 px" in shown
    assert "view:" not in here.run("cache", "show", sets[""].folder.name).stdout.replace("key: view", "")
    assert here.run("cache", "verify").stdout.count(": whole") == 3
    assert here.run("cache", "gc").stdout.startswith("nothing to remove")


def test_a_changed_folder_says_that_its_views_are_older_and_how_they_are_made_new(here: Place) -> None:
    place, words = f"folder:{here.root / 'pets'}", ("extract", *WORDS, "--dataset")
    here.run(*words, place, "--views", "flip")
    here.run(*words, place, "--views", "2", "--seed", "3")
    assert "older than" not in here.run(*words, place).stderr
    (here.root / "pets/red/new.png").write_bytes(encoded(coloured("red", 50), "PNG"))
    said = here.run(*words, place)
    assert "10 pictures: 9 kept, 1 computed" in said.stdout
    (line,) = [line for line in said.stderr.splitlines() if "older than" in line]
    assert line.startswith(
        "resnet18 folder-pets: older than the pictures are the views crop 1 of seed 3, crop 2 of seed 3, flip; `headstart "
    )
    commands = re.findall("`([^`]*)`", line)
    assert [shlex.split(command)[-4:] for command in commands] == [
        [*shlex.split(commands[0])[-4:-2], "--views", "flip"],
        ["--views", "2", "--seed", "3"],
    ]
    first = here.run(*shlex.split(commands[0])[1:])
    assert "resnet18 folder-pets all, flip: 10 x 512 " in first.stdout
    assert "older than the pictures are the views crop 1 of seed 3, crop 2 of seed 3; " in first.stderr
    second = here.run(*shlex.split(commands[1])[1:])
    assert second.stdout.count("10 pictures: 9 kept, 1 computed") == 2
    assert "older than" not in second.stderr
    assert "older than" not in here.run(*words, place).stderr
    gone = here.run("cache", "gc", "--json").stdout.splitlines()[-1]
    assert len(json.loads(gone)) == 4
    assert len(by_view(here.root / "features")) == 4


def test_old_views_of_a_folder_without_splits_are_made_new_without_splits(tmp_path: Path) -> None:
    here = Place(tmp_path)
    pets(tmp_path / "pets/train", 2)
    pets(tmp_path / "pets/test", 2)
    (tmp_path / "pets/test/red/broken.png").write_bytes(b"no picture")
    words = ("extract", *WORDS, "--dataset", f"folder:{tmp_path / 'pets'}", "--no-splits", "--on-error", "skip")
    here.run(*words, "--views", "flip", "--limit", "5")
    (command,) = re.findall("older than .*`([^`]*)`", here.run(*words).stderr)
    assert "--no-splits" in shlex.split(command)
    assert "limit" not in command
    here.run(*shlex.split(command)[1:])
    assert {view: found.manifest.rows for view, found in by_view(tmp_path / "features").items()} == {"": 12, "flip": 12}


@pytest.mark.parametrize("value", ["0", "x", "65", "1.5", "-1", ""])
def test_the_command_refuses_other_views(here: Place, value: str) -> None:
    said = here.run("extract", "--views", value, code=2).stderr
    assert f"{value!r} is neither flip nor a whole number from 1 to 64." in said


@pytest.mark.parametrize("words", [(), ("--views", "flip")])
def test_the_command_refuses_a_seed_alone(here: Place, words: tuple[str, ...]) -> None:
    said = here.fails("extract", "--dataset", "digits", *words, "--seed", "1")
    assert said == (
        "headstart: a seed draws random crops, and none are asked for; say how many with --views, or leave the seed out"
    )


def test_the_commands_of_the_documentation_parse() -> None:
    text = (Path(__file__).resolve().parent.parent / "docs/transforms.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (headstart .*)$", text, re.MULTILINE)
    assert [command.partition("--views")[2] for command in commands] == [" flip", " 4 --seed 0"]
    for command in commands:
        parse(command)


# ---- Python


def test_python_keeps_views_and_gives_the_pictures_as_they_are(tmp_path: Path) -> None:
    pets(tmp_path / "pets", 2)
    own = {"features_dir": tmp_path / "features", **SMALL}
    plain = hs.extract(tmp_path / "pets", "resnet18", **own)
    found = hs.extract(tmp_path / "pets", "resnet18", views=2, view_seed=9, **own)
    assert found.folders == plain.folders
    assert np.array_equal(found.X, plain.X)
    assert sorted(by_view(tmp_path / "features")) == ["", "crop 1 of seed 9", "crop 2 of seed 9"]
    drawn = hs.open(by_view(tmp_path / "features")["crop 2 of seed 9"].folder)
    assert drawn.ids.tolist() == plain.ids.tolist()
    assert not np.array_equal(drawn.X, plain.X)
    with pytest.raises(ArgumentInvalid, match="say how many with views, or leave the seed out"):
        hs.extract(tmp_path / "pets", "resnet18", view_seed=9, **own)


# ---- views of a headstart to come


def test_a_view_that_is_not_known_is_refused_where_pictures_would_go_through_it() -> None:
    key = dataclasses.replace(digits_jobs("resnet18", split="test")[0].key, view="turn 90")
    with pytest.raises(WeightsMismatch, match=r"view is 'turn 90', expected none, flip or .*, in the head's features; use"):
        restore(key, "nowhere", None, "cpu", None)


@dataclasses.dataclass(frozen=True)
class Turned(Job):
    """A job of a headstart that turns pictures."""

    @property
    def key(self) -> FeatureKey:
        return dataclasses.replace(super().key, view="turn 90")


def test_a_view_that_is_not_known_is_listed_and_left_alone(here: Place) -> None:
    words = ("extract", *WORDS, "--dataset", f"folder:{here.root / 'pets'}", "--precision", "fp32")
    here.run(*words, "--limit", "4")
    place, config = FeatureStore(here.root / "features"), ExtractConfig("random:0", 32, "fp32", "cpu", limit=4)
    (own,) = plans.plan(ExtractionRequest(("resnet18",), f"folder:{here.root / 'pets'}", config=config), here.root, place)
    later = Turned(**{field.name: getattr(own, field.name) for field in dataclasses.fields(Job)})
    folder = extract(later, plans.load, place, RecordingObserver()).features.folder.name
    assert "32 px, turn 90" in here.run("cache", "ls").stdout
    shown = here.run("cache", "show", folder).stdout
    assert "\n  view: turn 90\n" in shown
    assert "\n  transform: preset, crop center, interpolation bilinear, view turn 90\n" in shown
    assert [one.folder.name for one in place.views(own.named, "all")] == [folder]
    assert "older than" not in here.run(*words).stderr  # nothing here could bring it up to date
