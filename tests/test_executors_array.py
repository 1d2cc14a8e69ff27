"""A job array: each command makes one task's share, in any order, killed and started again; the last one completes it."""

import dataclasses
import itertools
import json
import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cache_samples import flip
from cli_samples import Place
from extract_samples import Interrupted, Pixels, QuarterMeans, RecordingObserver, file_images, picture, write_picture
from run_samples import job, run, run_finding_all, shards, tiny

from headstart.core.cache.assembly import missing
from headstart.core.cache.errors import (
    ArgumentInvalid,
    FeaturesDamaged,
    FeaturesInvalid,
    FeaturesNotFound,
    FeaturesStale,
    ImageUnreadable,
)
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.executors import array
from headstart.core.extract.executors.array import Share, share
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.network.interface import Extractor

NAME = "tiny-train-quarters"


def task(
    number: int,
    count: int,
    job: Job,
    store: FeatureStore,
    observer: RecordingObserver | None = None,
    extractor: Extractor | None = None,
) -> Share:
    """Run one task of an array with a stand-in."""
    config = ExecutorConfig("array", task=(number, count))
    load = lambda _: extractor or QuarterMeans()  # noqa: E731  # beside what it stands for
    return share(config, job, load, store, observer or RecordingObserver())


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, bytes]:
    """The shards of the same job by one command."""
    own = FeatureStore(tmp_path / "alone")
    run(tiny(), own)
    return shards(own)


def left_beside(store: FeatureStore) -> list[str]:
    """What is in the only set's folder beside shards."""
    (folder,) = (path for path in store.root.iterdir() if path.is_dir())
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".h5")


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_tasks_in_any_order_make_what_one_command_makes(
    store: FeatureStore, alone: dict[str, bytes], order: Sequence[int]
) -> None:
    *before, last = order
    for number in before:
        done = task(number, 3, tiny(), store)
        assert done.features is None
        assert store.sets() == []
    done = task(last, 3, tiny(), store)
    assert done.features is not None
    assert shards(store) == alone
    assert left_beside(store) == ["manifest.json"]
    manifest = done.features.manifest
    assert (manifest.rows, manifest.provenance.batch_size, manifest.provenance.parameters) == (
        18, 3, "parameters of the stand-in",
    )  # fmt: skip
    assert manifest.elapsed_s is not None
    done.features.check()
    run_finding_all(tiny(), store)
    again = task(1, 3, tiny(), store)
    assert (again.made, again.features) == (0, done.features)


def test_a_share_is_every_nth_shard(store: FeatureStore) -> None:
    observer = RecordingObserver()
    done = task(2, 3, tiny(), store, observer)
    assert (done.made, done.rows) == (2, 6)  # shards 1 and 4: four rows and two
    assert list(shards(store)) == ["shard-00001.h5", "shard-00004.h5"]
    assert sum(observer.advanced) == 6
    assert done.left.tasks == [1, 3]
    assert (done.left.array, missing(store, done.folder.name).array) == ("1,3", "1,3-4")


def test_a_task_beyond_the_shards_has_nothing_to_do(store: FeatureStore) -> None:
    task(1, 9, tiny(), store)
    done = task(9, 9, tiny(), store)
    assert (done.made, done.features) == (0, None)


def test_a_task_with_nothing_to_do_loads_no_network(store: FeatureStore) -> None:
    task(1, 9, tiny(), store)

    def load(_: Job) -> Extractor:
        raise AssertionError("loaded")

    done = share(ExecutorConfig("array", task=(1, 9)), tiny(), load, store, RecordingObserver())
    assert done.made == 0


def test_a_task_that_waits_while_others_complete_the_set_does_nothing(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = array.complete_set, list[Job]()

    def complete_set(job: Job, *rest: Any) -> FeatureSet | None:
        asked.append(job)
        if len(asked) > 1:
            return real(job, *rest)
        run(job, store)  # between the first look and the lock
        return None

    def load(_: Job) -> Extractor:
        raise AssertionError("loaded")

    monkeypatch.setattr(array, "complete_set", complete_set)
    done = share(ExecutorConfig("array", task=(1, 2)), tiny(), load, store, RecordingObserver())
    assert (done.made, len(asked)) == (0, 2)
    assert done.features == store.sets()[0]
    assert left_beside(store) == ["manifest.json"]


def test_later_tasks_compute_as_the_first(store: FeatureStore) -> None:
    @dataclasses.dataclass
    class Batches(QuarterMeans):
        """Keeps how large its batches are."""

        given: set[int] = dataclasses.field(default_factory=set)

        def running(self, config: object) -> "Batches":
            self.given.add(config.batch_size)  # type: ignore[attr-defined]
            return self

    task(1, 2, tiny(), store)
    other = Batches()
    task(2, 2, tiny(batch_size=None), store, extractor=other)
    assert other.given == {3}


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_task_that_was_killed_is_started_again(store: FeatureStore, alone: dict[str, bytes], after: int) -> None:
    with pytest.raises(Interrupted):
        task(1, 2, tiny(), store, RecordingObserver(stop_after=after))
    assert task(2, 2, tiny(), store).features is None
    done = task(1, 2, tiny(), store)
    assert done.features is not None
    assert done.made == (3 if after < 4 else 2)
    assert shards(store) == alone


def test_a_local_run_completes_what_tasks_began_in_their_shards(store: FeatureStore, alone: dict[str, bytes]) -> None:
    task(1, 3, tiny(), store)
    outcome = run(tiny(shard_rows=7), store)  # their shards count, since they may be at work
    assert shards(store) == alone
    assert outcome.computed == 10
    assert left_beside(store) == ["manifest.json"]
    assert task(2, 3, tiny(), store).features == outcome.features


def test_tasks_go_on_with_what_a_killed_run_left(store: FeatureStore, alone: dict[str, bytes]) -> None:
    with pytest.raises(Interrupted):
        run(tiny(), store, observer=RecordingObserver(stop_after=9))
    there = len(shards(store))
    assert there
    made = [task(number, 2, tiny(), store) for number in (2, 1)]
    assert sum(done.made for done in made) == 5 - there
    assert made[-1].features is not None
    assert shards(store) == alone


def test_a_complete_shorter_set_is_extended(store: FeatureStore) -> None:
    before = run(tiny(limit=6), store).features
    kept = shards(store)
    assert task(1, 2, tiny(), store).features is None
    assert run_finding_all(tiny(limit=6), store).features.folder == before.folder  # it stays complete meanwhile
    done = task(2, 2, tiny(), store)
    assert done.features is not None
    assert done.features.folder == before.folder
    assert kept.items() <= shards(store).items()
    assert np.array_equal(done.features.load().features, QuarterMeans()(tiny().images.load(0, 18)[0]))  # type: ignore[union-attr]


def test_tasks_of_another_limit_are_refused(store: FeatureStore) -> None:
    task(1, 2, tiny(), store)
    with pytest.raises(FeaturesStale, match=r"its tasks make the first 18 rows, this one asks for 6; give --limit as the"):
        task(2, 2, tiny(limit=6), store)


def test_another_size_of_shards_is_said_and_not_used(store: FeatureStore) -> None:
    task(1, 2, tiny(), store)
    other, observer = tiny(), RecordingObserver()
    other = dataclasses.replace(other, config=dataclasses.replace(other.config, shard_rows=7))
    assert task(2, 2, other, store, observer).features is not None
    (said,) = observer.notes
    assert said.endswith(
        "the first task planned shards of up to 4 rows, and all tasks make those; --shard-rows, here 7, changes nothing"
    )


def test_a_task_with_other_weights_says_that_it_begins_a_set_of_its_own(store: FeatureStore) -> None:
    task(1, 2, tiny(), store)
    other, observer = tiny(), RecordingObserver()
    other = dataclasses.replace(other, weights=dataclasses.replace(other.weights, label="file", sha256="f" * 64))
    task(2, 2, other, store, observer)
    said = [text for text in observer.notes if "begins a set of its own" in text]
    assert len(said) == 1
    assert NAME in said[0]
    assert "weights_sha256 is" in said[0]


def test_pictures_that_came_or_went_between_tasks_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    task(1, 2, job(file_images(tmp_path / "a", 9)), store)
    changed = job(dataclasses.replace(file_images(tmp_path / "a", 9), targets=(0,) * 9))
    for other in (job(file_images(tmp_path / "a", 10)), changed):
        with pytest.raises(FeaturesStale, match="of other pictures than are there now"):
            task(2, 2, other, store)
    assert task(2, 2, job(file_images(tmp_path / "a", 9)), store).features is not None


def test_a_picture_that_changed_between_tasks_is_computed_by_the_next_extract(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "a", 9)
    task(1, 2, job(images), store)
    write_picture(tmp_path / "a/00.png", seed=77)  # in a shard that is made
    done = task(2, 2, job(images), store)
    assert done.features is not None
    outcome = run(job(images), store)
    assert outcome.computed == 1
    assert outcome.features.folder != done.features.folder
    write_picture(tmp_path / "a/01.png", seed=78)
    with pytest.raises(
        FeaturesStale, match="no longer what it was made from; the same command without --executor and --task"
    ):
        task(1, 2, job(images), store)


def test_pictures_are_not_read_again_after_all_tasks(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = file_images(tmp_path / "a", 9)
    for number in (1, 2, 3):
        task(number, 3, job(images), store)
    monkeypatch.setattr(FileImages, "fingerprints", lambda *_: pytest.fail("read again"))
    run_finding_all(job(images), store)


def test_other_weights_are_refused(store: FeatureStore) -> None:
    task(1, 2, tiny(), store)
    with pytest.raises(
        FeaturesStale, match=r"tasks have begun it with other parameters than nowhere gives now; .*cache rm"
    ):
        task(2, 2, tiny(), store, extractor=QuarterMeans(parameters="others"))


def test_another_device_is_said(store: FeatureStore) -> None:
    task(1, 2, tiny(), store)
    observer = RecordingObserver()
    other = tiny()
    other = dataclasses.replace(other, device=dataclasses.replace(other.device, description="that CPU"))
    task(2, 2, other, store, observer)
    (note,) = observer.notes
    assert "that CPU computes this share, this CPU the first one; the last digits" in note


def test_a_network_that_did_not_stay_frozen_leaves_nothing_of_the_task(store: FeatureStore) -> None:
    task(1, 2, tiny(), store)
    before = shards(store)
    with pytest.raises(FeaturesInvalid, match="the stand-in changed"):
        task(2, 2, tiny(), store, extractor=QuarterMeans(thawed=True))
    assert shards(store) == before


def broken(root: Path) -> FileImages:
    """Nine pictures, of which one is cut off."""
    images = file_images(root, 9)
    (root / "05.png").write_bytes((root / "05.png").read_bytes()[:60])
    return images


def test_a_broken_picture_fails_its_task_alone(store: FeatureStore, tmp_path: Path) -> None:
    images = broken(tmp_path / "a")
    assert task(1, 3, job(images), store).made == 1
    for _ in range(2):
        with pytest.raises(ImageUnreadable, match=r"05\.png"):
            task(2, 3, job(images), store)
    assert task(3, 3, job(images), store).features is None
    done = task(2, 3, job(images, on_error="skip"), store)
    assert done.features is not None
    assert [one.row for record in done.features.manifest.shards for one in record.skipped] == [5]
    with pytest.raises(ImageUnreadable, match=r"05\.png"):  # as without an array
        task(2, 3, job(images), store)


def test_a_set_of_broken_pictures_alone_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "a", 3)
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(FeaturesInvalid, match="none of its 3 images could be used"):
        task(1, 1, job(images, on_error="skip"), store)


def test_a_task_must_be_named_and_nothing_may_be_forced(store: FeatureStore) -> None:
    with pytest.raises(ArgumentInvalid, match="say which with --task I/N"):
        share(ExecutorConfig("array"), tiny(), lambda _: QuarterMeans(), store, RecordingObserver())
    with pytest.raises(ArgumentInvalid, match="--force: tasks of an array would compute each other's shards anew"):
        task(1, 2, tiny(force=True), store)
    assert not store.root.exists()


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"{}"), flip])
def test_a_damaged_plan_is_named_with_its_cure(store: FeatureStore, alone: dict[str, bytes], damage: object) -> None:
    folder = task(1, 2, tiny(), store).folder
    damage(folder / "tasks.json")  # type: ignore[operator]
    with pytest.raises(FeaturesDamaged, match=r"tasks\.json: not a plan of ours .*remove the file"):
        task(2, 2, tiny(), store)
    with pytest.raises(FeaturesDamaged, match=r"tasks\.json: not a plan of ours"):
        missing(store, folder.name)
    (folder / "tasks.json").unlink()
    done = task(2, 2, tiny(), store)
    assert done.features is not None
    assert shards(store) == alone


def test_the_last_task_finds_damage_and_that_task_mends_it(store: FeatureStore, alone: dict[str, bytes]) -> None:
    folder = task(1, 5, tiny(), store).folder
    for number in (2, 3, 4):
        task(number, 5, tiny(), store)
    flip(folder / "shard-00001.h5")
    with pytest.raises(
        FeaturesNotFound, match=r"of 5 shards 1 is missing \(1 of them damaged, and removed now\); task 2 of"
    ):
        task(5, 5, tiny(), store)
    assert missing(store, folder.name).array == "2"
    assert task(2, 5, tiny(), store).features is not None
    assert shards(store) == alone


@dataclasses.dataclass
class Stuck(QuarterMeans):
    """Says so in its second batch, and does not come out of it."""

    talk: Connection | None = None

    def __call__(self, images: Pixels) -> npt.NDArray[np.float32]:
        if self.seen and self.talk is not None:
            self.talk.send("stuck")
            time.sleep(600)
        return super().__call__(images)


def in_process(number: int, root: Path, images: FileImages, talk: Connection) -> None:
    """Run in another process: one of three tasks; the second one gets stuck."""
    done = task(number, 3, job(images), FeatureStore(root), extractor=Stuck(talk=talk if number == 2 else None))
    talk.send(done.features is not None)


def test_tasks_at_once_and_one_killed(store: FeatureStore, tmp_path: Path) -> None:
    images, own = file_images(tmp_path / "a", 26), FeatureStore(tmp_path / "alone")
    run(job(images), own)
    spawn = multiprocessing.get_context("spawn")
    here, there = zip(*(spawn.Pipe() for _ in range(3)), strict=True)
    tasks = [
        spawn.Process(target=in_process, args=(number, store.root, images, end)) for number, end in enumerate(there, 1)
    ]
    for one in tasks:
        one.start()
    for one in tasks[::2]:
        one.join(120)
    assert all(one.poll(60) for one in here)
    told = [one.recv() for one in here]
    assert told == [False, "stuck", False]
    tasks[1].kill()
    for one in tasks:
        one.join(60)
    assert [one.exitcode for one in tasks] == [0, -signal.SIGKILL, 0]
    assert store.sets() == []
    (folder,) = (path for path in store.root.iterdir() if path.is_dir())
    assert missing(store, folder.name, 3).tasks == [2]
    done = task(2, 3, job(images), store)
    assert done.features is not None
    assert shards(store) == shards(own)
    assert left_beside(store) == ["manifest.json"]


# Commands


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 13 pictures in two classes, one of which has one picture."""
    root = tmp_path_factory.mktemp("array") / "pets"
    for number in range(13):
        path = root / ("dog" if number else "cat") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(40, 40, seed=number).save(path)
    return root


def words(pets: Path) -> list[str]:
    return [
        "extract", "--dataset", f"folder:{pets}", "-m", "resnet18", "--weights", "random:0", "--image-size", "32",
        "--shard-rows", "3",
    ]  # fmt: skip


def test_the_commands_of_an_array(pets: Path, tmp_path: Path) -> None:
    place = Place(tmp_path)
    way = [*words(pets), "--executor", "array", "--task"]
    assert "say which with --task I/N" in place.fails(*words(pets), "--executor", "array")
    said = place.run(*way, "2/3").stdout
    (folder,) = (path for path in (tmp_path / "features").iterdir() if path.is_dir())
    name = folder.name
    assert said.startswith(f"{name}: 2 shards, 4 rows in ")
    assert said.endswith(f" s; 3 of 5 shards left, for tasks 1,3 of 3; {folder}\n")
    assert place.run("cache", "missing", name).stdout == f"{name}: 3 of 5 shards missing; tasks 1,3-4 of 5\n"
    assert place.run("cache", "missing", name, "--array").stdout == "1,3-4\n"
    assert place.run("cache", "missing", str(folder), "--array", "--array-size", "3").stdout == "1,3\n"
    document = json.loads(place.run("cache", "missing", name, "--array", "--json").stdout.splitlines()[-1])
    assert document == {"missing": [0, 2, 3], "shards": 5, "tasks": [1, 3, 4], "of": 5}
    assert "not complete" in place.run("cache", "ls").stdout
    assert place.fails("cache", "assemble", name).startswith(f"headstart: {folder}: of 5 shards 3 are missing; tasks 1,3-4")
    assert place.fails("cache", "missing", "nothing-like-it").startswith("headstart: ")
    place.run(*way, "1/3")
    left = place.run(*way, "3/3", "--json").stdout.splitlines()[-1]
    (done,) = json.loads(left)
    assert (done["complete"], done["missing"], done["made"]) == (True, [], 1)
    assert place.run("cache", "missing", name).stdout == f"{name}: all of its 5 shards are there\n"
    assert place.run("cache", "missing", name, "--array").stdout == "\n"
    assert "13" in place.run("cache", "assemble", name).stdout
    place.run("cache", "rm", name)


def test_a_set_that_tasks_have_begun_can_be_removed(pets: Path, tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run(*words(pets), "--executor", "array", "--task", "1/3")
    (folder,) = (path for path in (tmp_path / "features").iterdir() if path.is_dir())
    place.run("cache", "rm", folder.name)
    assert not folder.exists()
