"""Images are read batch by batch, and what a run waited for them is told where it matters."""

import dataclasses
import itertools

import pytest
from extract_samples import array_images, noise

from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.reading import LEAST_S, READING_SLOWS, Pace, Reader


def test_what_is_waited_for_pictures_and_all_time_add_up_by_the_clock() -> None:
    ticks = itertools.count()  # a second passes between any two looks at the clock
    pace = Pace()
    reader = Reader(array_images(noise(18, 8)), Preprocessing(16), 1, pace, lambda: float(next(ticks)))
    batches = reader.batches((0, 18), 4)
    assert len(next(batches).rows) == 4
    assert (pace.reading_s, pace.total_s) == (1, 2)
    for _ in range(10):
        next(ticks)  # the batch is used
    assert [len(batch.rows) for batch in batches] == [4, 4, 4, 2]
    assert pace.images == 18
    assert (pace.reading_s, pace.total_s) == (5, 2 + 10 + 4 * 2)


def test_a_run_that_waited_for_pictures_says_so_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.extract.reading.cores", lambda: 16)
    slow = Pace(reading_s=6.0, total_s=10.0, images=1000)
    assert slow.remark(4) == "waited 60% of the time for pictures, 100.0 images/s with 4 threads; -j 16 reads with more"
    assert slow.remark(16) == (
        "waited 60% of the time for pictures, 100.0 images/s with 16 threads; a faster disk or smaller files would help"
    )
    assert dataclasses.replace(slow, reading_s=READING_SLOWS * 10 - 0.1).remark(4) is None
    assert Pace(LEAST_S - 0.1, LEAST_S - 0.1, 9).remark(4) is None
    assert Pace().remark(4) is None
