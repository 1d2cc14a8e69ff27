"""Connections that take their time, or are too many."""

import asyncio
import json
import socket
from typing import Any

import uvicorn
from serve_samples import answer, png, post, service

from headstart.serve.app import Service
from headstart.serve.server import Server
from headstart.serve.settings import Limits
from headstart.serve.web.protocol import protocol

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def exchanged(made: Service, work: Any) -> Any:
    """What `work` says, in a thread, of a service that listens on the port it is given."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(made.app, http=protocol(made.settings.limits), ws="none", lifespan="on", log_config=None)
        server = Server(config)
        running = asyncio.ensure_future(server.serve(sockets=[bound]))
        while not (server.started and made.room.ready):
            await asyncio.sleep(0.001)
        found = await asyncio.to_thread(work, bound.getsockname()[1])
        server.should_exit = True
        await running
        return found


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def test_headers_that_drip_are_408_and_silence_is_too() -> None:
    def work(port: int) -> list[tuple[int, bytes]]:
        with connect(port) as silent, connect(port) as dripping, connect(port) as second:
            dripping.sendall(GET[:20])
            second.sendall(GET)
            first = answer(second)
            second.sendall(GET[:10])  # the connection is kept, and its next request has no more time
            return [first, answer(silent), answer(dripping), answer(second)]

    found = asyncio.run(exchanged(service(limits=Limits(header_s=0.2)), work))
    assert [status for status, _ in found] == [200, 408, 408, 408]
    assert "after 0.2 s there was no whole request" in json.loads(found[1][1])["detail"]


def test_a_request_in_time_is_left_alone_while_it_is_answered() -> None:
    def work(port: int) -> list[int]:
        with connect(port) as made:
            content = post(png())
            made.sendall(content[:-10])
            with connect(port) as other:  # longer than headers may take
                assert answer(other)[0] == 408
            made.sendall(content[-10:])
            first = answer(made)[0]
            made.sendall(post(png(1)))
            return [first, answer(made)[0]]

    assert asyncio.run(exchanged(service(limits=Limits(header_s=0.2)), work)) == [200, 200]


def test_one_connection_too_many_is_told_so_and_the_others_are_served() -> None:
    def work(port: int) -> list[int]:
        with connect(port) as first, connect(port) as second:
            for one in (first, second):
                one.sendall(GET)
                assert answer(one)[0] == 200
            with connect(port) as third:
                refused = answer(third)[0]
            first.sendall(GET)
            kept = answer(first)[0]
        while True:  # those that were closed make room
            with connect(port) as later:
                later.sendall(GET)
                if (status := answer(later)[0]) == 200:
                    return [refused, kept, status]

    assert asyncio.run(exchanged(service(limits=Limits(connections=2)), work)) == [503, 200, 200]
