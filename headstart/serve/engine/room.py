"""The engine room: a request's pictures are decoded by threads and computed by the backbones that their heads need."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from headstart.core.cache.errors import HeadstartError, ImageUnreadable
from headstart.core.cache.files import sha256
from headstart.core.extract.pictures.decode import decode_for
from headstart.core.extract.pictures.formats import readable
from headstart.serve.engine.asked import Ask, Picture, Wishes
from headstart.serve.engine.batching import Batcher, Watch
from headstart.serve.heads import Served, Shared


class Stopping(HeadstartError):
    """The service ends before this request could be answered."""


class Room:
    """Backbones with their heads, and threads that decode. `pixels` is the most that a picture may have.

    `ready` once everything has been computed once; `failed` is why it never will be.
    """

    def __init__(self, shared: Sequence[Shared], workers: int, pixels: int, delay_s: float, watch: Watch) -> None:
        self.batchers = [Batcher(one, delay_s, watch) for one in shared]
        self.ready = False
        self.failed: Exception | None = None
        self._pixels = pixels
        self._decoders = ThreadPoolExecutor(workers, "decode")
        self._asks: set[Ask] = set()
        self._stopped = False

    @property
    def heads(self) -> list[Served]:
        """All heads, those of one backbone together."""
        return [head for batcher in self.batchers for head in batcher.heads]

    @property
    def decoders(self) -> ThreadPoolExecutor:
        """The threads that decode."""
        return self._decoders

    @property
    def queue(self) -> int:
        """How many pictures wait to be computed, of the longest queue."""
        return max(batcher.queue for batcher in self.batchers)

    def start(self) -> None:
        """Start all threads. `ready` comes later."""
        readable()  # which formats there are belongs to the whole process: not for threads to find out
        for batcher in self.batchers:
            batcher.start()
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def _warm(self) -> None:
        try:
            for batcher in self.batchers:
                batcher.warm()
            self.ready = True
        except Exception as error:  # told by whoever runs the service
            self.failed = error

    async def label(self, pictures: Sequence[Picture], wishes: Wishes) -> None:
        """Give the pictures their answers, or the reason why they have none. Raises OutOfMemory, Stopping."""
        if self._stopped:
            raise Stopping("the service is stopping")
        batchers = [batcher for batcher in self.batchers if any(head.name in wishes.heads for head in batcher.heads)]
        ask = Ask(pictures, wishes, len(pictures) * len(batchers))
        self._asks.add(ask)
        try:
            for batcher in batchers:
                batcher.expect(len(pictures))
            for picture in pictures:
                self._decoders.submit(self._decode, picture, batchers)
            await ask.future
        finally:
            ask.dropped = True
            self._asks.discard(ask)

    def _decode(self, picture: Picture, batchers: Sequence[Batcher]) -> None:
        ask = picture.ask
        try:
            if not ask.dropped:
                picture.sha256 = sha256(picture.content)
                where = picture.name or "the picture"
                found = decode_for(picture.content, where, [batcher.transform for batcher in batchers], self._pixels)
                picture.width, picture.height, picture.format = found.width, found.height, found.format
                for batcher, pixels in zip(batchers, found.pixels, strict=True):
                    batcher.put(picture, pixels)
                return
        except ImageUnreadable as error:
            picture.error = error
        except Exception as error:  # who waits hears of it
            ask.settle(error=error)
        for batcher in batchers:
            batcher.unexpect()
        ask.settle(len(batchers))

    def give_up(self) -> int:
        """Whoever still waits gets Stopping. Returns how many. Called on the event loop."""
        self._stopped = True
        waiting = list(self._asks)
        for ask in waiting:
            ask.settle(0, Stopping("the service is stopping and could not answer in time"))
        return len(waiting)

    async def close(self) -> None:
        """End all threads once they have done what is in hand."""
        self._stopped = True
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._decoders.shutdown()
        for batcher in self.batchers:
            batcher.close()
