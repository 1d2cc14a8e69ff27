"""Batches of what is waiting: none for a lone picture, cut for those that are many, and nothing lost whatever fails."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from extract_samples import AT_16, CPU, QuarterMeans
from hypothesis import given
from hypothesis import strategies as st
from serve_samples import head

from headstart.core.extract.network.devices import Device
from headstart.core.heads.predict import Wanted
from headstart.serve.engine.asked import Ask, Picture, Wishes
from headstart.serve.engine.batching import Batcher, alone_thread, ask_head, sizes_up_to
from headstart.serve.heads import Served, Shared


class Recorder(QuarterMeans):
    """A stand-in for several workers, that keeps how many pictures each call had, and waits until it may compute."""

    def __init__(self, workers: int = 2, batch_size: int = 8, device: Device = CPU) -> None:
        super().__init__(batch_size=batch_size, concurrent_batches=workers, device=device)
        self.calls: list[tuple[str, int]] = []
        self.opened = threading.Event()
        self.opened.set()
        self._way = "alone"
        self.threads: list[int] = []
        self._shared = threading.local()

    def running(self, config: Any) -> "Recorder":
        return self

    def submit(self, images: Any) -> Any:
        self.calls.append(("shared", len(images)))
        self.opened.wait(30)
        self._shared.now = True
        try:
            return super().submit(images)
        finally:
            self._shared.now = False

    def __call__(self, images: Any) -> Any:
        if not getattr(self._shared, "now", False):
            self.threads.append(threading.get_ident())
        if not self.calls or self.calls[-1][0] != "shared":
            self.calls.append(("alone", len(images)))
        return super().__call__(images)


class Watch:
    """What it was told of batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def batch(self, pictures: int, seconds: float) -> None:
        assert seconds >= 0
        self.batches.append(pictures)


def pixels(level: int) -> Any:
    return np.full((16, 16, 3), level, dtype=np.uint8)


def asked(count: int, *names: str, parts: int | None = None, wanted: Wanted | None = None) -> Ask:
    """A request of so many pictures. Called on an event loop."""
    wishes = Wishes(names or ("colours",), wanted or Wanted(1))
    return Ask([Picture(b"", None) for _ in range(count)], wishes, count if parts is None else parts)


async def through(batcher: Batcher, asks: Sequence[Ask], between: Callable[[], None] = lambda: None) -> None:
    """Put all pictures there and wait for the answers."""
    batcher.start()
    try:
        for ask in asks:
            batcher.expect(len(ask.pictures))
            for level, picture in enumerate(ask.pictures):
                batcher.put(picture, pixels(level))
        between()
        await asyncio.wait_for(asyncio.gather(*(ask.future for ask in asks)), 30)
    finally:
        batcher.close()


@given(st.integers(1, 300), st.integers(1, 1000))
def test_sizes_are_few_and_every_number_of_pictures_is_made_of_them(most: int, count: int) -> None:
    sizes = sizes_up_to(most)
    assert sizes[0] == 1
    assert sizes[-1] == most
    assert sorted(set(sizes)) == list(sizes)
    assert len(sizes) <= most.bit_length() + 1
    batcher = Batcher(Shared(Recorder(batch_size=most), (head(),)), 0.0, Watch())
    left, batches = count, 0
    while left:
        left -= batcher._fitting(left)
        batches += 1
    assert batches <= count // most + most.bit_length() + 1


def test_a_lone_picture_is_computed_at_once_by_all_threads() -> None:
    recorder, watch = Recorder(), Watch()

    async def alone() -> None:
        ask = asked(1)
        await through(Batcher(Shared(recorder, (head(),)), 60.0, watch), [ask])  # a minute's patience, for nobody
        assert ask.pictures[0].answers["colours"].labels

    asyncio.run(alone())
    assert (recorder.calls, watch.batches) == ([("alone", 1)], [1])


def test_lone_pictures_of_all_backbones_are_computed_by_one_thread() -> None:
    recorder, alone = Recorder(), alone_thread()

    async def one_by_one() -> None:
        for _ in range(3):
            batcher = Batcher(Shared(recorder, (head(),)), 0.0, Watch(), alone)
            batcher.warm()
            await through(batcher, [asked(1)])

    asyncio.run(one_by_one())
    alone.shutdown()
    assert len(recorder.threads) >= 6
    assert len(set(recorder.threads)) == 1


def test_many_pictures_are_cut_into_twice_as_many_batches_as_are_computed_at_once() -> None:
    recorder, watch = Recorder(), Watch()

    async def many() -> None:
        await through(Batcher(Shared(recorder, (head(),)), 0.0, watch), [asked(32)])

    recorder.opened.clear()
    opening = threading.Timer(0.2, recorder.opened.set)
    opening.start()
    asyncio.run(many())
    opening.join()
    assert sum(watch.batches) == 32
    assert max(watch.batches) <= 8
    assert set(watch.batches) <= {1, 2, 4, 8}
    shared = [count for way, count in recorder.calls if way == "shared"]
    assert shared  # the workers were used


def test_no_batch_is_larger_than_the_largest() -> None:
    watch = Watch()
    asyncio.run(through_many(watch, 100, batch_size=4))
    assert sum(watch.batches) == 100
    assert max(watch.batches) == 4


async def through_many(watch: Watch, count: int, batch_size: int) -> None:
    batcher = Batcher(Shared(Recorder(batch_size=batch_size), (head(),)), 0.0, watch)
    ask = asked(count)
    for picture in ask.pictures:
        batcher.expect(1)
        batcher.put(picture, pixels(0))
    batcher.start()
    await asyncio.wait_for(ask.future, 30)
    batcher.close()


def test_a_batch_waits_for_pictures_that_are_being_decoded_and_for_no_others() -> None:
    watch = Watch()

    async def patient() -> None:
        batcher = Batcher(Shared(Recorder(), (head(),)), 60.0, watch)
        ask = asked(8)
        batcher.expect(8)
        batcher.start()
        for picture in ask.pictures[:6]:
            batcher.put(picture, pixels(0))
        time.sleep(0.05)
        # eight in hand on two workers: batches of two are enough, and none has waited
        assert not watch.batches or max(watch.batches) <= 2
        batcher.unexpect()  # one can't be read
        ask.settle()
        batcher.put(ask.pictures[7], pixels(0))
        await asyncio.wait_for(ask.future, 30)
        batcher.close()

    asyncio.run(patient())
    assert sum(watch.batches) == 7


def test_patience_ends() -> None:
    """Thirty-one of thirty-two never come."""
    watch = Watch()

    async def impatient() -> None:
        batcher = Batcher(Shared(Recorder(), (head(),)), 0.05, watch)
        ask = asked(1)
        batcher.expect(32)
        batcher.start()
        batcher.put(ask.pictures[0], pixels(0))
        await asyncio.wait_for(ask.future, 30)
        batcher.close()

    asyncio.run(impatient())
    assert watch.batches == [1]


def test_a_device_has_larger_batches_and_is_asked_by_one_thread_at_a_time() -> None:
    cuda, watch = Recorder(workers=1, batch_size=64, device=Device("cuda:0", "fp32", "a GPU")), Watch()

    async def many() -> None:
        batcher = Batcher(Shared(cuda, (head(),)), 0.0, watch)
        assert batcher._lanes == 2
        await through(batcher, [asked(64)])

    asyncio.run(many())
    assert sum(watch.batches) == 64
    assert all(way == "shared" for way, _ in cuda.calls)


def test_what_fails_is_told_to_those_who_wait_and_to_nobody_else() -> None:
    class Failing(Recorder):
        def __call__(self, images: Any) -> Any:
            if images.max() == 255:
                raise ValueError("white")
            return super().__call__(images)

    async def some() -> None:
        batcher = Batcher(Shared(Failing(batch_size=1), (head(),)), 0.0, Watch())
        bad, good = asked(1), asked(1)
        batcher.start()
        batcher.expect(2)
        batcher.put(bad.pictures[0], pixels(255))
        batcher.put(good.pictures[0], pixels(1))
        with pytest.raises(ValueError, match="white"):
            await asyncio.wait_for(bad.future, 30)
        await asyncio.wait_for(good.future, 30)
        batcher.close()
        assert batcher._in_hand == 0

    asyncio.run(some())


def test_what_nobody_waits_for_is_not_computed() -> None:
    recorder, watch = Recorder(), Watch()

    async def gone() -> None:
        batcher = Batcher(Shared(recorder, (head(),)), 0.0, watch)
        ask, other = asked(3), asked(1)
        ask.dropped = True
        await through(batcher, [ask, other])

    asyncio.run(gone())
    assert sum(watch.batches) == 1


@given(
    st.lists(st.tuples(st.sampled_from(["one", "two", "both"]), st.integers(1, 4), st.booleans()), min_size=1, max_size=9)
)
def test_each_picture_gets_what_its_request_asked_for(requests: list[tuple[str, int, bool]]) -> None:
    """Pictures of many requests are computed together, and each is answered by its own heads, topk and coverage."""
    heads = (head("one"), head("two"))

    async def mixed() -> None:
        asks = [
            asked(1, *(("one", "two") if name == "both" else (name,)), wanted=Wanted(topk, 0.9 if sets else None))
            for name, topk, sets in requests
        ]
        features = np.arange(4 * len(asks), dtype=np.float32).reshape(-1, 4)
        for one in heads:
            ask_head(one, [ask.pictures[0] for ask in asks], features)
        for ask, (name, topk, sets) in zip(asks, requests, strict=True):
            found = ask.pictures[0].answers
            assert set(found) == ({"one", "two"} if name == "both" else {name})
            for answer in found.values():
                assert len(answer.labels) == topk
                assert (answer.possible is not None) == sets

    asyncio.run(mixed())


def test_the_first_batches_are_computed_before_anybody_asks() -> None:
    recorder = Recorder(batch_size=4)
    batcher = Batcher(Shared(recorder, (head(),)), 0.0, Watch())
    batcher.warm()
    assert [count for way, count in recorder.calls if way == "shared"] == [1, 1, 2, 2, 4, 4]


def test_a_batchers_transform_and_precision_are_its_backbones() -> None:
    batcher = Batcher(Shared(Recorder(), (head(),)), 0.0, Watch())
    assert (batcher.transform, batcher.precision, batcher.queue) == (AT_16, CPU.precision, 0)
    assert [one.name for one in batcher.heads] == ["colours"]
    assert isinstance(batcher.heads[0], Served)
