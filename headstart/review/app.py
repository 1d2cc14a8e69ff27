"""The review as an ASGI application: its routes, and what each does.

GET  /                          the page
GET  /v1/review                 the data set, the classes, what there is to look at
GET  /v1/review/items           a part of the order: from, count, kind
GET  /v1/review/changes         what was decided since a number, and how a retraining goes
POST /v1/review/decisions       one decision
POST /v1/review/retrain         train anew
GET  /v1/review/pictures/SHA256 a picture, small
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.metadata
import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from headstart.core.cache.corrections import KEEP, LABEL, Correction, now
from headstart.core.cache.errors import DataInvalid, HeadstartError
from headstart.review.asked import decision_of, number_of
from headstart.review.decisions import NothingToUndo, Overtaken, Standing
from headstart.review.making import Review
from headstart.review.page.document import page
from headstart.serve.app import problem_handlers
from headstart.serve.settings import Settings
from headstart.serve.web.bodies import Hand, read_body
from headstart.serve.web.guard import Guard
from headstart.serve.web.metrics import Metrics
from headstart.serve.web.problems import Problem

MOST_ITEMS = 500
"""Of one answer."""
ITEMS = 200
AT_ONCE = 4
"""Thumbnails that are made at once."""
KEPT_S = 3600
"""Seconds that a browser may show one again without asking."""
BODY = 2**14
"""Bytes of a decision."""


class Conflict(Problem):
    """Somebody else decided meanwhile; the document says what stands now."""

    def __init__(self, overtaken: Overtaken) -> None:
        super().__init__(409, str(overtaken))
        self.standing = overtaken.standing

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "standing": self.standing.to_json()}


class Idle:
    """Nothing that has to be waited for at the end: a decision is in the file before it is confirmed."""

    ready: bool = True
    failed: Exception | None = None

    def give_up(self) -> int:
        """Nobody waits."""
        return 0


@dataclasses.dataclass
class Service:
    """A running review. `stopping` once it takes no more requests, `leaving` from the signal on."""

    review: Review
    settings: Settings
    hand: Hand
    room: Idle = dataclasses.field(default_factory=Idle)
    stopping: bool = False
    leaving: bool = False
    app: ASGIApp = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.work = self.review.work

    @property
    def routes(self) -> list[Route]:
        """What the service answers."""
        return [
            Route("/", self.page),
            Route("/healthz", self.alive),
            Route("/v1/review", self.whole),
            Route("/v1/review/items", self.items),
            Route("/v1/review/changes", self.changes),
            Route("/v1/review/decisions", self.decide, methods=["POST"]),
            Route("/v1/review/retrain", self.retrain, methods=["POST"]),
            Route("/v1/review/pictures/{picture}", self.picture),
        ]

    async def page(self, request: Request) -> Response:
        """The page, which shows nothing before it has asked the service."""
        found = page()
        return HTMLResponse(found.html, headers={"content-security-policy": found.policy})

    async def alive(self, request: Request) -> Response:
        """The process answers."""
        return _json({"status": "alive"})

    async def whole(self, request: Request) -> Response:
        """What there is to look at, and how far it is."""
        work, rows = self.work, self.review.found.rows
        number, _ = await asyncio.to_thread(work.decisions.since, 0)
        queue, found = work.queue, work.decisions.found
        return _json(
            {
                "epoch": work.decisions.epoch,
                "dataset": rows.sets[0].manifest.dataset,
                "models": rows.models,
                "pictures": len(work.contents),
                "rows": len(rows),
                "classes": list(dict.fromkeys([*queue.classes, *sorted(self._new_classes())])),
                "no_pictures": self.review.why_no_pictures is not None,
                "generation": queue.generation,
                "kinds": queue.counts(),
                "number": number,
                "decided": len(found.stands.keys() & work.contents.items.keys()),
                "retraining": work.progress.to_json(),
                "command": self.review.command,
                "corrections": str(work.decisions.path),
                "version": importlib.metadata.version("headstart"),
            }
        )

    def _new_classes(self) -> set[str]:
        stands = self.work.decisions.found.stands
        return {one.label for one in stands.values() if one.action == LABEL} - set(self.work.queue.classes)

    async def items(self, request: Request) -> Response:
        """A part of the order, each picture with its proposal and what stands."""
        first = number_of(request.query_params, "from", 0)
        count = min(number_of(request.query_params, "count", ITEMS), MOST_ITEMS)
        queue, kind = self.work.queue, request.query_params.get("kind") or None
        every = queue.of_kind(kind)
        part = every[first : first + count]
        contents, proposals = self.work.contents, queue.proposals
        standing = self.work.decisions.of([contents.marks[item] for item in part])
        shown = [self._item(item, proposals, one) for item, one in zip(part, standing, strict=True)]
        return _json({"generation": queue.generation, "from": first, "total": len(every), "items": shown})

    def _item(self, item: int, proposals: Any, standing: Standing) -> dict[str, Any]:
        contents, proposal = self.work.contents, proposals[item]
        twin = proposal.twin
        return {
            "id": contents.name(item),
            "split": contents.split(item),
            "given": contents.given(item),
            "copies": len(contents.members(item)),
            "kind": proposal.kind,
            "action": proposal.action,
            "label": proposal.label,
            "share": proposal.share,
            "twin": None if twin is None else self._twin(twin),
            "standing": standing.to_json(),
        }

    def _twin(self, item: int) -> dict[str, Any]:
        contents = self.work.contents
        facts = {"id": contents.name(item), "split": contents.split(item), "given": contents.given(item)}
        return {"picture": contents.marks[item], **facts}

    async def changes(self, request: Request) -> Response:
        """What stands on the pictures that were decided on since, cheap enough to be asked for every second."""
        since = number_of(request.query_params, "since", 0)
        work = self.work
        number, changed = await asyncio.to_thread(work.decisions.since, since)
        items = work.contents.items
        return _json(
            {
                "epoch": work.decisions.epoch,
                "number": number,
                "changes": [one.to_json() for one in changed if one.picture in items],
                "decided": len(work.decisions.found.stands.keys() & items.keys()),
                "generation": work.queue.generation,
                "retraining": work.progress.to_json(),
            }
        )

    async def decide(self, request: Request) -> Response:
        """Keep one decision. Confirmed once it is in the file."""
        given = decision_of(await self._body(request), self.work.contents.rows.classes)
        item = self.work.contents.items.get(given.picture)
        if item is None:
            raise Problem(404, f"{given.picture[:80]}: no picture of this data set has this SHA-256")
        labels = self.work.contents.given(item)
        if given.action == KEEP and len(labels) != 1:
            what = "has no label" if not labels else "has several labels, one for each copy"
            raise Problem(422, f"the picture {what}, which can't be kept: give it one")
        decision = Correction(
            given.picture, given.action, given.label, " / ".join(labels), self.work.contents.name(item), now()
        )
        try:
            number, standing = await asyncio.to_thread(self.work.decisions.decide, decision, given.version)
        except Overtaken as error:
            raise Conflict(error) from None
        except NothingToUndo as error:
            raise Problem(422, str(error)) from None
        except (DataInvalid, OSError) as error:
            raise Problem(500, f"the decision is not kept: {error}") from None
        return _json({"number": number, "standing": standing.to_json()})

    async def retrain(self, request: Request) -> Response:
        """Start to train anew, unless that is under way."""
        await self._body(request)
        started = self.work.retrain()
        return _json({"started": started, "retraining": self.work.progress.to_json()}, 202)

    async def picture(self, request: Request) -> Response:
        """One of the pictures, small; any of its copies that is still there."""
        item = self.work.contents.items.get(request.path_params["picture"])
        if item is None:
            raise Problem(404, "no picture of this data set has this SHA-256")
        if self.review.gallery is None:
            raise Problem(404, "the pictures are not where they were when their features were made")
        with self.hand.taking():
            async with self._turns:
                content = await asyncio.to_thread(self._thumbnail, item)
        if content is None:
            raise Problem(404, "the picture is no longer there, or another one by now")
        kind = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(content, media_type=kind, headers={"cache-control": f"private, max-age={KEPT_S}"})

    def _thumbnail(self, item: int) -> bytes | None:
        rows, gallery = self.work.contents.rows, self.review.gallery
        assert gallery is not None
        for row in self.work.contents.members(item):
            try:
                source = rows.sets[int(rows.parts[row])]
                return gallery.picture(source, int(rows.numbers[row]), bytes(rows.ids[row]), self.work.contents.marks[item])
            except (HeadstartError, OSError):  # whose words have paths of this machine
                continue
        return None

    async def _body(self, request: Request) -> Any:
        """A JSON body: a form of another site's page can't send that (https://fetch.spec.whatwg.org, CORS-safelisted)."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(415, f"Content-Type is {kind[:100] or 'not there'}, expected application/json")
        with self.hand.taking() as taken:
            body = await read_body(request, taken, self.settings.limits)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise Problem(400, "the body is no JSON") from None


def _json(found: Any, status: int = 200) -> Response:
    return Response(json.dumps(found).encode(), status, media_type="application/json")


def of(review: Review, settings: Settings) -> Service:
    """A review as a service; its `app` is for an ASGI server."""
    own = dataclasses.replace(settings, limits=dataclasses.replace(settings.limits, body=BODY))
    service = Service(review, own, Hand(own.limits))
    routes = service.routes
    inner = Starlette(routes=routes, exception_handlers=problem_handlers())
    inner.router.redirect_slashes = False
    paths = tuple(route.path for route in routes)
    service.app = Guard(inner, own, Metrics(), paths, lambda: service.leaving)
    return service
