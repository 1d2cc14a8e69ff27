"""Bodies as they come: counted, bounded in time, and given back whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from headstart.serve.settings import Limits
from headstart.serve.web.bodies import Hand, read_body
from headstart.serve.web.problems import Problem

LIMITS = Limits(body=100, memory=150, requests=3, body_s=0.05)


class Asking:
    """A request whose body comes in parts; None is a client that has gone, a number seconds of silence."""

    def __init__(self, parts: list[bytes | float | None], **headers: str) -> None:
        self.headers = Headers({name.replace("_", "-"): value for name, value in headers.items()})
        self._parts = parts

    async def stream(self) -> AsyncIterator[bytes]:
        """The parts."""
        for part in self._parts:
            if part is None:
                raise ClientDisconnect
            if isinstance(part, float):
                await asyncio.sleep(part)
            else:
                yield part


def read(hand: Hand, asking: Asking) -> bytes:
    async def reading() -> bytes:
        with hand.taking() as taken:
            return await read_body(asking, taken, LIMITS)  # type: ignore[arg-type]

    return asyncio.run(reading())


@given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
def test_a_body_is_what_came_or_too_large_and_nothing_is_held_afterwards(parts: list[bytes], declared: bool) -> None:
    hand, whole = Hand(LIMITS), b"".join(parts)
    headers = {"content_length": str(len(whole))} if declared else {}
    if len(whole) <= 100:
        assert read(hand, Asking([*parts], **headers)) == whole
    else:
        with pytest.raises(Problem, match="the limit is 100") as caught:
            read(hand, Asking([*parts], **headers))
        assert caught.value.status == 413
    assert (hand.requests, hand.memory) == (0, 0)


def test_a_declared_length_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(Problem, match=r"101 bytes or more") as caught:
        read(Hand(LIMITS), Asking([None], content_length="101"))
    assert caught.value.status == 413
    with pytest.raises(Problem, match="99,999 bytes or more") as caught:
        read(Hand(LIMITS), Asking([None], content_length="9" * 5000))
    assert caught.value.status == 413


def test_silence_and_a_client_that_has_gone_give_back_what_was_held() -> None:
    hand = Hand(LIMITS)
    with pytest.raises(Problem, match=r"after 0.05 s 4 bytes of the body were there, and not all") as caught:
        read(hand, Asking([b"some", 30.0]))
    assert caught.value.status == 408
    with pytest.raises(ClientDisconnect, match=r"^$"):
        read(hand, Asking([b"some", None]))
    assert (hand.requests, hand.memory) == (0, 0)


def test_all_bodies_together_are_bounded() -> None:
    hand = Hand(LIMITS)
    with hand.taking() as first, hand.taking() as second:
        first.hold(100)
        second.hold(50)
        with pytest.raises(Problem, match="have 150 bytes, and 150 is the limit; try again") as caught:
            second.hold(51)
        assert caught.value.status == 429
        assert caught.value.headers == {"retry-after": "1"}
        assert hand.memory == 150
    assert hand.memory == 0


def test_requests_together_are_bounded() -> None:
    hand = Hand(LIMITS)
    with hand.taking(), hand.taking(), hand.taking(), pytest.raises(Problem, match="3 requests") as caught, hand.taking():
        pass
    assert caught.value.status == 429
    assert hand.requests == 0


def test_who_still_sends_at_the_end_is_told_that_it_is() -> None:
    hand = Hand(Limits(body_s=30.0))

    async def ending() -> list[Any]:
        async def one() -> bytes:
            with hand.taking() as taken:
                return await read_body(Asking([b"some", 30.0]), taken, LIMITS)  # type: ignore[arg-type]

        waiting = asyncio.ensure_future(one())
        await asyncio.sleep(0.01)
        assert hand.give_up() == 1
        return [await asyncio.gather(waiting, one(), return_exceptions=True)]

    (found,) = asyncio.run(ending())
    assert [error.status for error in found] == [503, 503]
