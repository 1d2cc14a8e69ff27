"""The service as an ASGI application: its routes, and what each does.

`create` is for any ASGI server; `headstart serve` runs it by uvicorn (`server`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import importlib.metadata
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from headstart.core.cache.errors import OutOfMemory
from headstart.observer import SILENT, Observer
from headstart.serve import heads
from headstart.serve.engine.asked import Picture, Wishes
from headstart.serve.engine.batching import alone_thread
from headstart.serve.engine.keeping import Keeper, NotKept
from headstart.serve.engine.room import Room, Stopping
from headstart.serve.heads import Shared
from headstart.serve.neighbours import route as neighbours
from headstart.serve.neighbours.neighbourhood import ADDRESS, Neighbourhood
from headstart.serve.page import route as page
from headstart.serve.settings import Settings
from headstart.serve.web import openapi, options
from headstart.serve.web.answers import answered, problem_of
from headstart.serve.web.bodies import RETRY_S, Hand, Taken, read_body
from headstart.serve.web.guard import Guard
from headstart.serve.web.metrics import TYPE, Metrics
from headstart.serve.web.problems import FAULT, Problem
from headstart.workspace import Workspace

RAW = ("application/octet-stream",)
"""The types of a body that is one picture, beside all that begin with `image/`."""
JSON = "application/json"
LAST_S = 5.0
"""How long threads may take to end at least."""
SMALL = 2**16
"""Bytes of a JSON body that is read by the event loop itself; larger ones are read by a thread."""


@dataclasses.dataclass
class Service:
    """A running service: its engine room, its requests in hand, and what it says of itself. `stopping` once it takes no
    more."""

    settings: Settings
    room: Room
    metrics: Metrics
    hand: Hand
    offer: options.Offer
    described: dict[str, Any]
    thumbnails: neighbours.Thumbnails
    keeper: Keeper | None = None
    paths: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Path items of the OpenAPI document, for routes that other parts of the service add."""
    stopping: bool = False
    leaving: bool = False
    """From the signal on: connections are not kept open, and `readyz` says so."""
    app: ASGIApp = dataclasses.field(init=False)

    # ------------------------------------------------------------------------------------------------ the routes

    @property
    def routes(self) -> list[Route]:
        """What the service answers. A part of it that has routes of its own adds them here."""
        return [
            Route("/v1/predict", self.predict, methods=["POST"]),
            Route("/v1/heads", self.heads),
            Route("/healthz", self.alive),
            Route("/readyz", self.is_ready),
            Route("/metrics", self.measured),
            Route("/openapi.json", self.document),
            Route("/", page.answer),
            Route(ADDRESS, self.thumbnail),
        ]

    async def predict(self, request: Request) -> Response:
        """One picture, or those in a JSON body, labelled."""
        self._check_ready()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not (kind == JSON or kind in RAW or kind.startswith("image/")):
            raise Problem(415, _other_type(kind))
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "the body is compressed, which is not taken: leave out Content-Encoding")
        asked = options.of_query(request.query_params, self.offer)
        with self.hand.taking() as taken:
            return await self._predict(request, kind, asked, taken)

    async def _predict(self, request: Request, kind: str, asked: dict[str, Any], taken: Taken) -> Response:
        limits = self.settings.limits
        body = await read_body(request, taken, limits)
        if kind == JSON:
            more, pictures = await self._parsed(body)
            asked = {**asked, **more}
        else:
            pictures = [Picture(body, None)]
        wishes = options.wishes_of(asked, self.offer)
        await self._label(pictures, wishes)
        found = answered(pictures, [head for head in self.offer.heads if head.name in wishes.heads])
        if kind != JSON and (problem := problem_of(pictures[0])) is not None:
            raise problem
        if self.keeper is not None:
            await self.keeper.keep(pictures, found["pictures"])
        return _json(found)

    async def _parsed(self, body: bytes) -> tuple[dict[str, Any], list[Picture]]:
        read = functools.partial(options.of_json, body, self.settings.limits, self.offer)
        return read() if len(body) <= SMALL else await asyncio.get_running_loop().run_in_executor(self.room.decoders, read)

    async def _label(self, pictures: Sequence[Picture], wishes: Wishes) -> None:
        limit_s = self.settings.limits.answer_s
        try:
            async with asyncio.timeout(limit_s):
                await self.room.label(pictures, wishes)
        except TimeoutError:
            raise Problem(504, f"no answer was there after {limit_s:g} s") from None
        except (Stopping, OutOfMemory) as error:
            raise Problem(503, str(error), {"retry-after": str(RETRY_S)}) from None
        refused = sum(picture.error is not None for picture in pictures)
        self.metrics.pictures("labelled", len(pictures) - refused)
        self.metrics.pictures("refused", refused)

    async def heads(self, request: Request) -> Response:
        """The heads, and what can be asked of them."""
        return _json(self.described)

    async def thumbnail(self, request: Request) -> Response:
        """A training picture, small."""
        self._check_ready()
        return await self.thumbnails.answer(request)

    async def alive(self, request: Request) -> Response:
        """The process answers."""
        return _json({"status": "alive"})

    async def is_ready(self, request: Request) -> Response:
        """The service takes pictures, and will go on to."""
        self._check_ready(self.leaving)
        return _json({"status": "ready"})

    async def measured(self, request: Request) -> Response:
        """Prometheus' text."""
        return Response(self.metrics.text(), headers={"content-type": TYPE})

    async def document(self, request: Request) -> Response:
        """The OpenAPI document."""
        return _json(openapi.document(self.settings, self.offer, self.paths))

    def _check_ready(self, ending: bool = False) -> None:
        if self.stopping or ending:
            raise Problem(503, "the service is stopping", {"retry-after": str(RETRY_S)})
        if not self.room.ready:
            raise Problem(503, "the heads are being made ready", {"retry-after": str(RETRY_S)})

    # ------------------------------------------------------------------------------------------------ its life

    @contextlib.asynccontextmanager
    async def life(self, app: Starlette) -> AsyncIterator[None]:
        """Threads from the first request to the last."""
        self.room.start()
        try:
            yield
        finally:
            self.stopping = self.leaving = True
            await self.room.close(max(LAST_S, self.settings.grace_s))
            if self.keeper is not None:
                self.keeper.close()


def _other_type(kind: str) -> str:
    hint = "; multipart forms are not taken, send the bytes alone" if kind.startswith("multipart/") else ""
    return f"Content-Type is {kind[:100] or 'not there'}, expected image/*, application/octet-stream or {JSON}{hint}"


def _json(found: Any, status: int = 200) -> Response:
    return Response(json.dumps(found).encode(), status, media_type=JSON)


def create(
    workspace: Workspace,
    names: Sequence[str] = (),
    settings: Settings | None = None,
    *,
    weights: Sequence[str] = (),
    observer: Observer = SILENT,
) -> Service:
    """A service of the heads that `names` mean, as `headstart serve` takes them; its `app` is for an ASGI server, whose
    lifespan events start and end its threads.

    Raises RunNotFound, RunDamaged, WeightsMismatch, WeightsNotFound, DeviceUnavailable, OutOfMemory, OSError.
    """
    own = settings or Settings()
    alone = alone_thread()  # it restores the backbones too, which computes with all threads
    try:
        return of(alone.submit(heads.load, workspace, names, own, weights, observer).result(), own, alone)
    except BaseException:
        alone.shutdown(wait=False)
        raise


def of(shared: Sequence[Shared], settings: Settings, alone: ThreadPoolExecutor | None = None) -> Service:
    """A service of backbones and heads that are there, `alone` the thread that restored them.

    Raises RunNotFound where a head can't give the coverage asked for, OSError where the folder for pictures can't be made.
    """
    metrics = Metrics()
    room = Room(shared, settings.workers, settings.limits.pixels, settings.delay_s, metrics, alone)
    coverage = heads.coverage_of(room.heads, settings.coverage)
    described = {
        "heads": [
            heads.described(head, batcher.precision, coverage) for batcher in room.batchers for head in batcher.heads
        ],
        "coverage": coverage,
        "keeps": settings.keep is not None,
        "limits": settings.limits.to_json(),
        "version": importlib.metadata.version("headstart"),
    }
    hand = Hand(settings.limits)
    offer = options.Offer(tuple(room.heads), coverage)
    keeper = None if settings.keep is None else Keeper(settings.keep)
    near = {head.digest: head.nearest for head in room.heads if isinstance(head.nearest, Neighbourhood)}
    thumbnails = neighbours.Thumbnails(near, hand)
    paths = {**neighbours.PATHS, **page.PATHS}
    service = Service(settings, room, metrics, hand, offer, described, thumbnails, keeper, paths)
    metrics.watch("headstart_requests_in_hand", "Requests that are read, wait or are computed.", lambda: hand.requests)
    metrics.watch("headstart_queue_pictures", "Decoded pictures that wait to be computed.", lambda: room.queue)
    metrics.watch("headstart_ready", "1 where the service takes pictures.", lambda: room.ready and not service.stopping)
    service.app = _guarded(service)
    return service


def _guarded(service: Service) -> ASGIApp:
    routes = service.routes
    inner = Starlette(routes=routes, exception_handlers=problem_handlers(), lifespan=service.life)
    inner.router.redirect_slashes = False
    paths = tuple(route.path for route in routes)
    return Guard(inner, service.settings, service.metrics, paths, lambda: service.leaving)


def problem_handlers() -> dict[Any, Callable[[Request, Any], Awaitable[Any]]]:
    """What makes a problem document of each error."""
    return {Problem: _as_it_is, HTTPException: _as_problem, NotKept: _not_kept, Exception: _as_fault}


async def _as_it_is(request: Request, error: Problem) -> Problem:
    return error


async def _as_problem(request: Request, error: HTTPException) -> Problem:
    """Starlette's own: no such path, or not by this method."""
    return Problem(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}", error.headers or {})


async def _as_fault(request: Request, error: Exception) -> Problem:
    """What nobody expected; Starlette raises it again, and the guard logs it."""
    return Problem(500, FAULT)


async def _not_kept(request: Request, error: NotKept) -> Problem:
    return Problem(500, "the picture was labelled, and could not be kept; the service's log says why")
