"""What an extraction would take: its arithmetic, where its rates come from, and what is said of it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cache_samples import make_provenance, make_shard
from cli_samples import Place
from extract_samples import digits_jobs, file_images, write_picture
from hypothesis import given
from hypothesis import strategies as st

from headstart.console.words.estimates import estimate as spoken
from headstart.console.words.estimates import estimate_json
from headstart.core.cache.change import Change
from headstart.core.cache.errors import ImageUnreadable
from headstart.core.cache.shard import encode_shard
from headstart.core.cache.shard_plan import plan
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import volume
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.job import Job
from headstart.estimating.estimate import Estimate, Rates, Size
from headstart.estimating.jobs import size
from headstart.estimating.rates import LEAST_ROWS, by_sets, decoded, images_per_s

GPU = Rates(2000.0, "measured", 250.0, "64 of its pictures", cores=16)
PROCESSES = ExecutorConfig("processes")
BILLION = Size(10**9, 100_000, 2048, 2, 40)

# --- arithmetic ------------------------------------------------------------------------------------------------------


def test_a_billion_pictures() -> None:
    found = Estimate("here", BILLION, 10**9, GPU)
    assert BILLION.shards == 10_000
    assert BILLION.nbytes == pytest.approx(10**9 * (2 * 2048 + 8 + 32 + 40), rel=0.01)
    assert BILLION.manifest_bytes == pytest.approx(3.9e6, rel=0.1)
    assert found.device_hours == pytest.approx(10**9 / 2000 / 3600)
    assert (found.decode_cores, found.whole_cores) == (8.0, 8)
    assert found.hours(8, 64) == pytest.approx(10**9 / (8 * 2000) / 3600)
    assert found.hours(8, 16) == pytest.approx(10**9 / (16 * 250) / 3600)  # reading holds it back


@given(st.integers(1, 5000), st.integers(1, 700))
def test_shards_are_those_of_the_plan(rows: int, shard_rows: int) -> None:
    assert Size(rows, shard_rows, 4, 2, 8).shards == len(plan(rows, {}, shard_rows))


def test_the_bytes_are_those_of_the_shards() -> None:
    shards = [make_shard(np.random.default_rng(0), part.start, part.stop, dim=128) for part in plan(500, {}, 200)]
    found = Size(500, 200, 128, 4, shards[0].rows.ids.dtype.itemsize)
    assert found.nbytes == pytest.approx(sum(len(encode_shard(shard)) for shard in shards), rel=0.01)


def test_a_device_that_is_the_cores_themselves_decodes_and_computes_in_turn() -> None:
    shared = Estimate("here", BILLION, 10**6, dataclasses.replace(GPU, shared=True))
    assert shared.hours(5, 2) == pytest.approx(10**6 * (1 / 2000 + 1 / 500) / 3600)
    as_measured = Estimate("here", BILLION, 10**6, dataclasses.replace(GPU, shared=True, reading=True))
    assert as_measured.hours(5, 2) == pytest.approx(10**6 / 2000 / 3600)


def test_what_cant_be_run_has_a_size_and_no_hours() -> None:
    found = Estimate("here", BILLION, 5, dataclasses.replace(GPU, images_per_s=None))
    assert (found.device_hours, found.decode_cores, found.whole_cores, found.hours(1, 1)) == (None,) * 4
    assert spoken(found, ExecutorConfig("ray")).endswith("device hours: not known, since the backbone can't be run here")
    assert json.loads(json.dumps(estimate_json(found, ExecutorConfig("ray"))))["device_hours"] is None


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executor", "expected"),
    [
        (ExecutorConfig("local"), "local: one device takes 138:53:20 with the 16 cores here"),
        (PROCESSES, "processes: the 16 cores here feed 2 devices; one takes 138:53:20"),
        (
            ExecutorConfig("array"),
            "array: each task needs a device and 8 cores; one takes 138:53:20, N take an N-th of that",
        ),
        (ExecutorConfig("ray"), "ray: each actor needs a device and 8 cores; one takes 138:53:20, N take an N-th of that"),
        (
            ExecutorConfig("ray", num=10),
            "ray: each actor needs a device and 8 cores; one takes 138:53:20, 10 take 13:53:20 each",
        ),
        (
            ExecutorConfig("array", task=(2, 100)),
            "array: each task needs a device and 8 cores; one takes 138:53:20, 100 take 1:23:20 each",
        ),
    ],
)
def test_what_is_said_of_each_executor(executor: ExecutorConfig, expected: str) -> None:
    said = spoken(Estimate("resnet50 list-a train", BILLION, 10**9, GPU), executor).splitlines()
    assert said[0] == ("resnet50 list-a train: 10,000 shards, 4.2 TB with labels, ids and digests, 4.1 MB of manifest")
    assert said[1] == "  device hours: 139 for 1,000,000,000 images at 2,000.0 a second (measured)"
    assert said[2] == "  decode cores: 8 feed one device; a core decodes 250.0 pictures a second (64 of its pictures)"
    assert said[3] == f"  {expected}"


def test_reading_that_holds_a_device_back_is_said() -> None:
    few = Estimate("here", BILLION, 10**6, dataclasses.replace(GPU, cores=1))
    assert "local: one device takes 1:06:40 with the 1 core here, held back by reading: it needs 8 cores" in spoken(
        few, ExecutorConfig("local")
    )


def test_a_cpu_is_said_to_be_shared() -> None:
    found = Estimate("here", BILLION, 10**6, dataclasses.replace(GPU, shared=True, cores=2))
    assert "0:41:40 on the 2 cores here, which decode and compute; more processes share them" in spoken(found, PROCESSES)
    assert "array: each task needs cores as here; one takes 0:41:40, N take" in spoken(found, ExecutorConfig("array"))


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (4100, "4.1 kB"), (2e6, "2.0 MB"), (3e9, "3.0 GB")]
)
def test_bytes_for_people(size: float, said: str) -> None:
    assert volume(size) == said


# --- rates -----------------------------------------------------------------------------------------------------------


def job_of_files(root: Path, count: int) -> Job:
    return dataclasses.replace(digits_jobs("resnet18", split="train")[0], images=file_images(root, count))


def test_pictures_are_decoded_one_after_the_other(tmp_path: Path) -> None:
    rate, said = decoded(job_of_files(tmp_path, 5))
    assert rate > 0
    assert said == "5 of its pictures on one thread"


def test_pictures_that_cant_be_decoded_do_not_count(tmp_path: Path) -> None:
    job = job_of_files(tmp_path, 3)
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(ImageUnreadable, match="none of 3 pictures that were tried can be decoded"):
        decoded(job)


def kept(
    store: FeatureStore, job: Job, name: str, rows: int = LEAST_ROWS, change: Change | None = None, **origin: Any
) -> None:
    """A set of the job's key as an extraction of `name` leaves it, which took a second for 100 rows."""
    key = dataclasses.replace(job.named, dataset=name)
    given = make_provenance(**{"device": job.device.description, **origin})
    with store.writing(key, "train", lambda: None) as writer:
        shard = make_shard(np.random.default_rng(0), 0, rows, key=key)
        writer.commit([writer.put(shard, 0, None, rows / 100)], 4, "float32", given, change)


def test_a_long_extraction_of_the_same_network_says_how_fast_it_is(tmp_path: Path) -> None:
    (job,), store = digits_jobs("resnet18", split="train"), FeatureStore(tmp_path)
    assert by_sets(job, store) is None
    kept(store, job, "short", LEAST_ROWS - 1)
    kept(store, job, "elsewhere", 5000, device="another device")
    kept(store, job, "copied", 5000, Change("", 5000, 4999, 1, gone=0, relabelled=0))
    assert by_sets(job, store) is None
    kept(store, job, "long")
    found = by_sets(job, store)
    assert found is not None
    assert found[0] == pytest.approx(100)
    assert found[1] == (
        f"long-train-resnet18-{job.key.digest8}: 1,000 images in 10.0 s on {job.device.description}, reading included"
    )
    assert not found[2]
    kept(store, job, job.images.name)
    kept(store, job, "longer", 5000)
    same = by_sets(job, store)
    assert same is not None
    assert same[1].startswith(f"digits-train-resnet18-{job.key.digest8}: 1,000 images")
    assert same[2]
    other = dataclasses.replace(job, device=dataclasses.replace(job.device, precision="fp32"))
    assert by_sets(other, store) is None


def test_a_few_batches_say_it_where_no_set_does() -> None:
    (job,) = digits_jobs("resnet18", split="train", batch_size=2)
    notes: list[str] = []
    rate = images_per_s(job, notes.append)
    assert rate is not None
    assert rate > 0
    assert notes == []


def test_a_set_has_ids_as_long_as_the_longest_that_was_looked_at(tmp_path: Path) -> None:
    job = job_of_files(tmp_path, 3)
    assert size(job, 3) == Size(3, job.config.shard_rows, 512, 4, len("00.png"))


# --- the command -----------------------------------------------------------------------------------------------------

SMALL = ("extract", "-m", "resnet18", "--weights", "random:0", "--image-size", "32", "-b", "2")


def test_a_dry_run_says_what_an_executor_would_need(tmp_path: Path) -> None:
    here = Place(tmp_path)
    for number in range(5):
        write_picture(tmp_path / "pets" / "ab"[number % 2] / f"{number}.png", number)
    words = (*SMALL, "--dataset", f"folder:{tmp_path}/pets")
    said = here.run(*words, "--dry-run", "--executor", "ray", "--json").stdout.splitlines()
    assert any(line.startswith("resnet18 folder-pets all: 1 shard, ") for line in said)
    assert any(line.startswith("  ray: each actor needs cores as here; one takes ") for line in said)
    plans, estimate = json.loads(said[-1])
    assert (plans["rows"], estimate["rows_to_compute"], estimate["shards"], estimate["executor"]) == (5, 5, 1, "ray")
    assert estimate["device_hours"] == pytest.approx(5 / estimate["images_per_s"] / 3600)
    assert estimate["decode_cores"] == pytest.approx(estimate["images_per_s"] / estimate["decoded_per_core_s"])
    assert not (tmp_path / "features").exists()
    assert "device hours" not in here.run(*words, "--dry-run").stdout
    here.run(*words)
    assert "device hours" not in here.run(*words, "--dry-run", "--executor", "ray").stdout  # all rows are there
