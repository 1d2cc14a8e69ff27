"""`headstart review`: what the audit suspects, decided on by a person. What serves is imported inside the command, so that
help is instant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from headstart.console import options, words
from headstart.console.commands.audit import DATASET
from headstart.console.commands.serve import address_options, importing
from headstart.console.options import SEED, Place, Settings, command, shown
from headstart.console.printing import document, note, out, terminal
from headstart.review.request import ReviewRequest
from headstart.serve import settings as serving

GRACE_S = 5.0
"""For requests in hand, at the end; a decision takes milliseconds."""


def register(group: click.Group) -> None:
    """Add the command to a group."""

    @command(group, "review", "headstart review --dataset folder:pets")
    @options.models_option
    @DATASET
    @options.feature_options
    @click.option(
        "--corrections",
        type=Place("--corrections", dir_okay=False),
        help="Decisions are added to it. [default: RUNS_DIR/audit/DATASET/corrections.csv]",
    )
    @address_options
    @shown("--seed", type=SEED, default=ReviewRequest.seed)
    def review_command(settings: Settings, corrections: Path | None, seed: int, **given: Any) -> None:
        """Look at what `audit` suspects, on a page, and decide by keyboard: labels, copies, pictures without a label.

        Decisions are added to a file; the pictures are never changed. Retraining shows what they do to the accuracy.
        """
        choice = options.choice_of(given)
        request = ReviewRequest(given.pop("models"), given.pop("dataset"), choice, corrections, seed)
        own = serving.Settings(**given_settings(given), grace_s=GRACE_S)
        _review(settings, request, own)


def given_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Where it listens and who may ask, as `serving.Settings` takes it. Raises ArgumentInvalid."""
    token_env = given.pop("token_env")
    return {**given, "token": serving.token_of(token_env)}


def _review(settings: Settings, request: ReviewRequest, own: serving.Settings) -> None:
    """Answer until a signal comes."""
    with importing():
        from headstart.review import app, making
        from headstart.serve import server

    with server.listening(own) as bound:
        review = making.prepare(settings, request, terminal(settings))
        service = app.of(review, own)

        def started() -> None:
            url = server.url_of(bound, own)
            out(words.auditing.reviews.started(url, review, own))
            if own.is_open and own.token is None:
                note(words.auditing.reviews.OPEN)
            document(settings, words.auditing.reviews.started_json(url, review))

        server.serve(service, bound, terminal(settings), started)
        if review.work.running:  # nothing of it is kept; Python would wait for what computes
            note("a retraining was left")
            os._exit(0)
