"""What is said of timed inference: the lines hold the numbers."""

import dataclasses
import io
from typing import Any

import pytest
from heads_samples import make_run, make_timing

from headstart.console.signals import Signals
from headstart.console.terminal import Terminal
from headstart.console.words.timing import timing
from headstart.core.heads.audit.leaks import WithoutTwins
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.timings import Way
from headstart.inference.trained import TrainedHead

TIMING = make_timing(
    images=1234,
    split_rows=1234,
    way=Way("a computer", "fp32", "eager", 64),
    repeats=3,
    elapsed_s=12.25,
    images_per_s=99.96,
    stages_s={"read": 0.001, "transfer": 0.0005, "preprocess": 0.0005, "backbone": 0.007, "head": 0.001},
    latency_s={"p50": 0.0101, "p90": 0.0202, "p99": 0.0303},
    latency_images=50,
    accuracy=0.8125,
    peak_memory_bytes=123_456_789,
)


def test_a_benchs_lines_hold_speed_latency_stages_and_memory() -> None:
    lines = timing("resnet50 study", TIMING, ["untrained"]).split("\n")
    assert lines[0] == "resnet50 study on a computer, fp32, eager"
    assert lines[1] == "  1,234 pets test images in 12.25 s, 100.0 images/s (in batches of 64, median of 3)"
    assert lines[2] == "  one image: p50 10.1 ms, p90 20.2 ms, p99 30.3 ms (50 images)"
    assert "read 1.000 ms (10%), transfer 0.500 ms (5%)" in lines[3]
    assert "backbone 7.000 ms (70%), head 1.000 ms (10%)" in lines[3]
    assert lines[4] == "  accuracy 81.25%, peak memory 123.5 MB"
    assert lines[5:] == ["  note: untrained"]


def test_a_bench_of_some_of_the_images_says_of_how_many() -> None:
    found = timing("a head", dataclasses.replace(TIMING, split_rows=10_000), [])
    assert "  1,234 of 10,000 pets test images in 12.25 s" in found


def test_an_accuracy_that_is_not_known_is_left_out() -> None:
    found = timing("a head", dataclasses.replace(TIMING, accuracy=None), [])
    assert "accuracy" not in found
    assert found.endswith("\n  peak memory 123.5 MB")


def test_stages_that_take_longer_alone_than_together_are_explained() -> None:
    assert "stages overlap" not in timing("a head", TIMING, [])
    busy = timing("a head", dataclasses.replace(TIMING, stages_s={"backbone": 0.114}), [])
    assert "(together 114.0 ms, but 9.9 ms an image with all at once: stages overlap" in busy


def test_the_leaks_of_the_heads_own_test_stand_below_its_accuracy() -> None:
    lines = timing("a head", TIMING, ["untrained"], "4 of 24 test pictures have a twin").split("\n")
    assert lines[5] == "  of its own test: 4 of 24 test pictures have a twin"
    assert "own test" not in timing("a head", dataclasses.replace(TIMING, accuracy=None), [], "4 of 24")


@pytest.mark.parametrize(("images", "told"), [("1a" * 32, True), ("ff" * 32, False), ("", False)])
def test_leaks_are_told_where_the_images_are_those_of_the_test(images: str, told: bool) -> None:
    total, lines = make_run().evaluation.overall.total, list[str]()
    run = make_run(without_twins=WithoutTwins(Score(20, total - 10)))
    shown = Terminal(lines.append, lines.append, io.StringIO, Signals(lambda said: len(said)))
    checkpoint: Any = None  # a head with a record is titled by it
    shown.timed(TrainedHead(checkpoint, run, "a head"), dataclasses.replace(TIMING, images_digest=images))
    said = f"  of its own test: 10 of {total} test pictures have a twin in training (identical); without them "
    assert (said in "\n".join(lines)) is told
