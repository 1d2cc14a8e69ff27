"""The engine room: decoded once for all backbones, failures told, and an end that is not waited for without end."""

import asyncio
import dataclasses
import threading
import time
from typing import Any

import pytest
from extract_samples import QuarterMeans
from serve_samples import head, png

from headstart.core.cache.errors import OutOfMemory
from headstart.core.extract.pictures import decode
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.heads.predict import Wanted
from headstart.serve.engine import room as rooms
from headstart.serve.engine.asked import Picture, Wishes
from headstart.serve.engine.room import Room, Stopping
from headstart.serve.heads import Shared


class Unwatched:
    def batch(self, pictures: int, seconds: float) -> None:
        pass


def made(*shared: Shared, pixels: int = 10_000) -> Room:
    return Room(shared or [Shared(QuarterMeans(batch_size=2), (head(),))], 2, pixels, 0.0, Unwatched())


async def label(room: Room, contents: list[bytes], *names: str) -> list[Picture]:
    pictures = [Picture(content, None) for content in contents]
    await asyncio.wait_for(room.label(pictures, Wishes(names or ("colours",), Wanted(1))), 30)
    return pictures


def test_a_picture_is_decoded_once_for_all_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plain = decode._upright

    def counting(image: Any, remark: Any) -> Any:
        opened.append(image.format)
        return plain(image, remark)

    monkeypatch.setattr(decode, "_upright", counting)
    larger = dataclasses.replace(QuarterMeans(batch_size=2), preprocessing=Preprocessing(32))
    room = made(Shared(QuarterMeans(batch_size=2), (head("one"), head("two"))), Shared(larger, (head("three"),)))
    room.start()

    async def ask() -> None:
        (all_three,) = await label(room, [png()], "one", "two", "three")
        assert set(all_three.answers) == {"one", "two", "three"}
        (one,) = await label(room, [png()], "three")
        assert set(one.answers) == {"three"}
        await room.close(30)

    asyncio.run(ask())
    assert opened == ["PNG", "PNG"]
    assert room.ended


def test_what_can_not_be_read_has_the_reason_and_the_others_their_answers() -> None:
    room = made(pixels=500)
    room.start()

    async def ask() -> None:
        found = await label(room, [b"none", png(), b""])
        assert [bool(picture.answers) for picture in found] == [False, True, False]
        assert [bool(picture.error) for picture in found] == [True, False, True]
        assert all(len(picture.sha256) == 64 for picture in found)
        await room.close(30)

    asyncio.run(ask())


def test_a_decoder_that_fails_in_its_own_way_ends_the_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = rooms.decode_for

    def broken(content: bytes, *more: Any) -> Any:
        if not content:
            raise SystemError("a decoder's own")
        return plain(content, *more)

    monkeypatch.setattr(rooms, "decode_for", broken)
    room = made()
    room.start()

    async def ask() -> None:
        with pytest.raises(SystemError, match="a decoder's own"):
            await label(room, [png(), b""])
        assert (await label(room, [png()]))[0].answers
        await room.close(30)

    asyncio.run(ask())


def test_a_backbone_that_can_not_be_warmed_says_why() -> None:
    room = made(Shared(QuarterMeans(batch_size=2, room=1), (head(),)))
    room.start()
    while room.failed is None:
        time.sleep(0.001)
    assert isinstance(room.failed, OutOfMemory)
    assert not room.ready
    asyncio.run(room.close(30))


def test_who_waits_at_the_end_is_told_and_a_thread_that_does_not_end_is_left() -> None:
    class Stuck(QuarterMeans):
        stuck = False
        let_go = threading.Event()

        def running(self, config: Any) -> "Stuck":
            return self

        def __call__(self, images: Any) -> Any:
            if self.stuck:
                self.let_go.wait(30)
            return super().__call__(images)

    extractor = Stuck(batch_size=1)
    room = made(Shared(extractor, (head(),)))
    room.start()
    while not room.ready:
        time.sleep(0.001)
    extractor.stuck = True

    async def ask() -> None:
        waiting = asyncio.ensure_future(label(room, [png()]))
        await asyncio.sleep(0.05)
        assert room.give_up() == 1
        with pytest.raises(Stopping, match="could not answer in time"):
            await waiting
        with pytest.raises(Stopping, match="is stopping"):
            await label(room, [png()])
        await room.close(0.05)
        assert not room.ended
        extractor.let_go.set()
        await room.close(30)
        assert room.ended

    asyncio.run(ask())
