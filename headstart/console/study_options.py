"""The options of `study` that no other command has. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

import click

from headstart.console.options import POSITIVE, SEED, shown
from headstart.requests import StudyRequest

STUDY = StudyRequest()


def study_options(function: Any) -> Any:
    """The options that say how much a study does; `StudyRequest` has a field for each."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = (
    shown("--limit", type=POSITIVE, default=STUDY.config.limit, help="The first N rows of each split, as the study."),
    click.option("--bench-limit", type=POSITIVE, help="Time inference on the first N test images only."),
    shown("--seeds", type=POSITIVE, default=STUDY.seeds, help="Heads of each recipe, one seed each."),
    shown("--curve-seeds", type=POSITIVE, default=STUDY.curve_seeds, help="Heads for each point of a curve."),
    shown("--curve-epochs", type=POSITIVE, default=STUDY.curve_epochs, help="The longest training tried."),
    shown(
        "--batch-norm-images",
        type=click.IntRange(min=0),
        default=STUDY.batch_norm_images,
        help="Training images of the BatchNorm experiment; 0 leaves it out.",
    ),
    shown("--seed", type=SEED, default=STUDY.seed),
)
