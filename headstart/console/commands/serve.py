"""`headstart serve`: trained heads over HTTP. What serves is imported inside the command, so that help is instant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import click

from headstart.console import options, words
from headstart.console.options import POSITIVE, Finite, Settings, as_bytes, command, shown
from headstart.console.printing import document, note, out, terminal
from headstart.core.cache.errors import ArgumentInvalid
from headstart.serve import settings as serving

DEFAULTS, LIMITS = serving.Settings(), serving.Limits()
SECONDS = Finite(0, min_open=True)
NEEDED = ("prometheus_client", "starlette", "uvicorn")
INSTALL = "the service needs Starlette and uvicorn: pip install 'headstart[serve]'"


def limit_options(function: Any) -> Any:
    """What a request may be, and how many."""
    found = (
        click.option(
            "--max-bytes",
            "body",
            callback=as_bytes,
            default=f"{LIMITS.body // serving.MIB}MiB",
            show_default=True,
            help="Of one request's body.",
        ),
        shown("--max-pictures", "pictures", type=POSITIVE, default=LIMITS.pictures, help="Of one request."),
        shown(
            "--max-pixels", "pixels", type=POSITIVE, default=LIMITS.pixels, help="Of one picture, by what its file says."
        ),
        shown("--max-requests", "requests", type=POSITIVE, default=LIMITS.requests, help="In hand; more get 429."),
        shown("--timeout", "answer_s", type=SECONDS, default=LIMITS.answer_s, help="Seconds for an answer; then 504."),
        shown("--body-timeout", "body_s", type=SECONDS, default=LIMITS.body_s, help="Seconds for a body; then 408."),
    )
    for option in reversed(found):
        function = option(function)
    return function


def address_options(function: Any) -> Any:
    """Where it listens, and who may ask."""
    found = (
        shown("--host", default=DEFAULTS.host, help="The address to listen at; 0.0.0.0 is all of this machine's."),
        shown("--port", type=click.IntRange(0, 2**16 - 1), default=DEFAULTS.port, help="0: any that is free."),
        click.option(
            "--allow-host", "hosts", multiple=True, help="A name that it is called by, behind a proxy; repeatable."
        ),
        click.option(
            "--token-env", metavar="NAME", help="The environment variable with the token that requests must bring."
        ),
    )
    for option in reversed(found):
        function = option(function)
    return function


def register(group: click.Group) -> None:
    """Add the command to a group."""

    @command(group, "serve", "headstart serve --port 8000")
    @click.argument("runs", nargs=-1, metavar="[RUN]...")
    @address_options
    @options.coverage_option
    @click.option("--keep", type=options.Place("--keep", file_okay=False), help="Keep each picture and its answer there.")
    @click.option(
        "--neighbours/--no-neighbours",
        "near",
        default=DEFAULTS.near,
        show_default=True,
        help="Show the training pictures most like a picture, where their features are in --features-dir.",
    )
    @limit_options
    @shown(
        "--delay", "delay_s", type=Finite(0), default=DEFAULTS.delay_s, help="Seconds a batch waits for decoding pictures."
    )
    @shown("--grace", "grace_s", type=Finite(0), default=DEFAULTS.grace_s, help="Seconds for requests in hand, at the end.")
    @options.inference_options
    def serve_command(settings: Settings, runs: tuple[str, ...], **given: Any) -> None:
        """Answer HTTP requests for the labels of pictures: POST /v1/predict, and a page at /.

        RUN is a run's name, its folder or a head.safetensors; the newest run by default. Heads on one backbone share its
        pass. Other machines reach it only where --host says so. No picture is kept unless --keep says where.
        """
        weights, token_env = given.pop("weights"), given.pop("token_env")
        limits = serving.Limits(
            **{name: given.pop(name) for name in ("body", "pictures", "pixels", "requests", "answer_s", "body_s")}
        )
        own = serving.Settings(**given, token=serving.token_of(token_env), limits=limits)
        _serve(settings, runs, own, weights)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Imports that need the extra `serve`. Raises ArgumentInvalid where it is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in NEEDED:
            raise
        raise ArgumentInvalid(f"{INSTALL} ({error.name} is not there)") from error


def _serve(settings: Settings, runs: tuple[str, ...], own: serving.Settings, weights: tuple[str, ...]) -> None:
    """Answer until a signal comes."""
    with importing():
        from headstart.serve import app, server

    with server.listening(own) as bound:
        service = app.create(settings, runs, own, weights=weights, observer=terminal(settings))

        def started() -> None:
            said = words.serving.started(server.url_of(bound, own), service.described, own)
            out(said)
            if own.is_open and own.token is None:
                note(words.serving.OPEN)
            document(settings, words.serving.started_json(server.url_of(bound, own), service.described))

        server.serve(service, bound, terminal(settings), started)
        if not service.room.ended:  # Python would wait for its threads without end
            note("a picture took longer than that, and was left")
            os._exit(0)
