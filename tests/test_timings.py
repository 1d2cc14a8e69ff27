"""Timings are kept for each set of images and each way of running, and only the run's own count as the run's."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from heads_samples import make_run, make_timing
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import RunDamaged
from headstart.core.heads import timings
from headstart.core.heads.runs import RunStore
from headstart.core.heads.timings import Timing, Way

RUN = make_run()

OTHERS: dict[str, Callable[[Timing], Timing]] = {
    "images": lambda found: dataclasses.replace(found, images_digest="ff" * 32),
    "number of images": lambda found: dataclasses.replace(found, images=120),
    "batch size": lambda found: dataclasses.replace(found, way=dataclasses.replace(found.way, batch_size=1)),
    "engine": lambda found: dataclasses.replace(found, way=dataclasses.replace(found.way, engine="compiled")),
    "precision": lambda found: dataclasses.replace(found, way=dataclasses.replace(found.way, precision="bf16")),
    "device": lambda found: dataclasses.replace(found, way=dataclasses.replace(found.way, device="another computer")),
}


def keep(root: Path, *found: Timing) -> tuple[Timing, ...]:
    """What is read back after these were added in turn."""
    RunStore(root).write(RUN)
    for timing in found:
        timings.add(root, RUN, timing)
    return timings.read(root, RUN)


ways = st.builds(Way, st.sampled_from(["a", "b"]), st.sampled_from(["fp32", "bf16"]), st.just("eager"), st.integers(1, 3))
seconds = st.floats(0.001, 1e6)
all_kinds = st.builds(
    make_timing, way=ways, images=st.integers(1, 10), elapsed_s=seconds, accuracy=st.none() | st.floats(0, 1),
    asked=st.tuples(st.sampled_from(["auto", "eager"]), st.none() | st.integers(1, 99)),
    images_digest=st.sampled_from(["", "1a" * 32, "2b" * 32]),
)  # fmt: skip


@given(found=st.lists(all_kinds, max_size=6))
@settings(max_examples=40)
def test_timings_come_back_as_added_the_newest_of_each_kind(
    tmp_path_factory: pytest.TempPathFactory, found: list[Timing]
) -> None:
    kept = keep(tmp_path_factory.mktemp("runs"), *found)
    expected = [one for i, one in enumerate(found) if not any(later.replaces(one) for later in found[i + 1 :])]
    assert list(kept) == expected


@pytest.mark.parametrize("change", OTHERS)
def test_a_timing_of_something_else_stands_beside_the_first(change: str, tmp_path: Path) -> None:
    first = make_timing()
    other = OTHERS[change](first)
    assert keep(tmp_path, first, other) == (first, other)


def test_the_same_measured_again_replaces_the_first(tmp_path: Path) -> None:
    again = make_timing(elapsed_s=3.0, accuracy=0.5)
    assert keep(tmp_path, make_timing(), again) == (again,)


@pytest.mark.parametrize("digest", ["", "ff" * 32])
def test_a_timing_of_other_images_is_not_the_runs_own(digest: str) -> None:
    other = make_timing(dataset=RUN.key.dataset, images_digest=digest)
    assert timings.of_the_run(RUN, [other]) is None


def test_of_the_runs_own_timings_that_of_most_images_counts_then_the_newest() -> None:
    few, old, new = (
        make_timing(images=10, created="2023-09-05"),
        make_timing(created="2023-09-03"),
        make_timing(created="2023-09-04", way=Way("a computer", "fp32", "eager", 1)),
    )
    assert timings.of_the_run(RUN, [few, new, old]) == new
    assert timings.of_the_run(RUN, [few]) == few


def test_a_run_whose_images_are_not_known_has_no_timing() -> None:
    unknown = dataclasses.replace(RUN, test=dataclasses.replace(RUN.test, images=""))
    assert timings.of_the_run(unknown, [make_timing(images_digest="")]) is None


def test_without_a_record_there_are_none(tmp_path: Path) -> None:
    assert timings.read(tmp_path, RUN) == ()


DAMAGED = [
    "", "[", "[1, 2]", "5", "null", '"text"', '{"format": "headstart bench", "version": 2}',
    '{"format": "headstart bench", "version": 2, "timings": [{"images": 3}]}',
    '{"format": "headstart bench", "version": 2, "timings": [NaN]}',
    '{"format": "headstart bench", "version": true, "timings": []}',
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_is_named_with_a_way_out_that_works(content: str, tmp_path: Path) -> None:
    keep(tmp_path)
    path = tmp_path / RUN.name / "bench.json"
    path.write_text(content)
    with pytest.raises(RunDamaged, match=rf"^{path}: .*; remove it, and `headstart bench-inference` makes it anew"):
        timings.read(tmp_path, RUN)
    path.unlink()
    timings.add(tmp_path, RUN, make_timing())
    assert timings.read(tmp_path, RUN) == (make_timing(),)


def test_a_timing_without_seconds_is_damage(tmp_path: Path) -> None:
    keep(tmp_path, make_timing())
    path = tmp_path / RUN.name / "bench.json"
    path.write_text(
        json.dumps({**(found := json.loads(path.read_text())), "timings": [{**found["timings"][0], "images": "3"}]})
    )
    with pytest.raises(RunDamaged, match="holds a timing without its images or seconds"):
        timings.read(tmp_path, RUN)
