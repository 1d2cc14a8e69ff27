"""What a worker is told of a job is enough to plan it again, and a worker that would compute something else is refused."""

import dataclasses
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
from extract_samples import array_images, digits_jobs, noise, write_picture
from run_samples import job

from headstart.core.cache import errors
from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DeviceUnavailable, HeadstartError
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.distributed.brief import brief_of, images_digest, job_of
from headstart.core.extract.distributed.worker import Answer
from headstart.core.extract.job import Job
from headstart.core.extract.plan import plan

CONFIG = ExtractConfig(weights="random:0", image_size=32, device="cpu", shard_rows=4)


def pets(root: Path, store: FeatureStore | None = None, views: Any = None, **config: Any) -> list[Job]:
    """Jobs over eight pictures in two classes and two splits."""
    for number in range(8):
        split = "test" if number > 5 else "train"
        write_picture(root / split / ("cat" if number % 2 else "dog") / f"{number}.png", number)
    own = dataclasses.replace(CONFIG, **config)
    return plan(ExtractionRequest(("resnet18",), f"folder:{root}", config=own, views=views), root / "data", store)


def again(job: Job, **changes: Any) -> Job:
    """The job as a worker has it."""
    # how a child of ours is told, through a socket that no other process has; the bytes are this test's own
    brief = pickle.loads(pickle.dumps(brief_of(job)))
    return job_of(dataclasses.replace(brief, **changes))


def test_every_job_of_a_command_is_planned_again(tmp_path: Path) -> None:
    found = pets(tmp_path / "pets", views=2, limit=3, pool="max", precision="fp32", on_error="skip")
    assert len(found) == 6  # two splits as they are and in two views
    for one in found:
        other = again(one)
        assert (other.key, other.named, other.title) == (one.key, one.named, one.title)
        assert (other.rows, other.images.split, other.images.order) == (one.rows, one.images.split, one.images.order)
        assert other.images.fingerprints(0, other.rows) == one.images.fingerprints(0, one.rows)
        assert other.config.on_error == "skip"


def test_pictures_in_memory_are_planned_again_where_a_data_set_gives_them() -> None:
    for one in digits_jobs("resnet18", limit=20):
        assert again(one).images.fingerprints(0, 20) == one.images.fingerprints(0, 20)
    with pytest.raises(ArgumentInvalid, match="its images are in this process alone, so no other can compute it"):
        brief_of(job(array_images(noise(4, 8))))


def test_a_folder_of_the_same_name_elsewhere_has_its_own_name_in_a_worker_too(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    first, second = pets(tmp_path / "a/pets"), pets(tmp_path / "b/pets", store)
    assert again(first[0]).images.name == first[0].images.name
    renamed = dataclasses.replace(second[0], images=dataclasses.replace(second[0].images, name="folder-pets-of-b"))
    assert again(renamed).images.name == "folder-pets-of-b"


def test_a_worker_on_another_device_has_it_from_its_place(tmp_path: Path) -> None:
    one = pets(tmp_path / "pets", device="auto", precision="auto")[0]
    brief = brief_of(one)
    assert brief.request.config.device != "auto"  # nothing is left to be decided again
    assert brief.request.config.precision != "auto"
    assert job_of(brief, "cpu").device.name == "cpu"


def test_a_worker_that_sees_other_pictures_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    one = pets(root)[0]
    brief = brief_of(one)
    write_picture(root / "train/cat/new.png", 9)
    with pytest.raises(DataInvalid, match=r"sees other pictures there than the driver \(7 rows, expected 6\)"):
        job_of(brief)
    (root / "train/cat/new.png").unlink()
    (root / "train/cat/1.png").rename(root / "train/cat/0.png")
    with pytest.raises(DataInvalid, match=r"sees other pictures there than the driver \(6 rows, expected 6\)"):
        job_of(brief)


def test_a_worker_with_other_packages_or_weights_is_refused(tmp_path: Path) -> None:
    one = pets(tmp_path / "pets")[0]
    versions = {**brief_of(one).versions, "torch": "0.1"}
    with pytest.raises(DeviceUnavailable, match=r"^this worker has torch \S+, the driver torch 0\.1; install the same"):
        again(one, versions=versions)
    with pytest.raises(DataInvalid, match="this worker would compute other features than the driver; are weights the same"):
        again(one, key="0" * 64)


def test_the_digest_of_images_is_of_ids_labels_and_classes(tmp_path: Path) -> None:
    one = pets(tmp_path / "pets")[0].images
    changes = {"classes": ("cat", "dogs")}, {"targets": (0,) * 6}, {"paths": tuple(reversed(one.paths))}  # type: ignore[union-attr]
    others = [images_digest(dataclasses.replace(one, **change), 6) for change in changes]
    digests = [images_digest(one, 6), images_digest(one, 5), *others]
    assert len(set(digests)) == 5
    assert images_digest(pets(tmp_path / "pets")[0].images, 6) == digests[0]


@pytest.mark.parametrize(
    "kind",
    [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HeadstartError)],
)
def test_every_error_of_ours_comes_through_a_socket_as_it_is(kind: type[HeadstartError]) -> None:
    # an exception is pickled by its arguments, and one with others would fail only when it is read; bytes of our own
    answer: Answer = pickle.loads(pickle.dumps(Answer(error=kind("a.png: cut off"))))
    with pytest.raises(kind, match=r"^a\.png: cut off$"):
        answer.get()


def test_an_error_of_the_system_keeps_its_path() -> None:
    # the same, with the path that `str` shows; bytes of our own
    answer: Answer = pickle.loads(pickle.dumps(Answer(error=OSError(28, "no space left", "x/y"))))
    with pytest.raises(OSError, match=r"no space left: 'x/y'"):
        answer.get()
