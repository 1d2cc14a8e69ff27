"""The options of `train-head`, and the request they make. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

import click

from headstart.console.options import POSITIVE, SEED, Finite, Option, Place, as_bytes, choice_of, group_by_option, shown
from headstart.core.heads.config import CLASS_WEIGHTS, HEADS, RECIPES, TrainConfig, changed, refusal
from headstart.requests import EVERY_HEAD, TrainingRequest


def override(flags: str, kind: Any, what: str) -> Option:
    """An option that replaces a recipe's value, which its help shows for each recipe."""
    field = flags.rpartition("--")[2].replace("-", "_")
    default = ", ".join(f"{name}: {getattr(recipe, field)}" for name, recipe in RECIPES.items())
    return click.option(*flags.split(), type=kind, help=f"{what} [default: {default}]")


corrections_option = click.option(
    "--corrections", type=Place("--corrections"), help="CSV file of corrected labels; the pictures stay as they are."
)


def training_options(function: Any) -> Any:
    """The options that say which heads are trained, and how; `request_of` reads them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def request_of(given: dict[str, Any]) -> TrainingRequest:
    """What the options ask for. An option that would change nothing is an error: whoever gave it believes that it does.
    Raises click.UsageError."""
    names = ("models", "dataset", "seeds", "sweep", "predictions", "curve", "views", "memory", "corrections")
    asked = {name: given.pop(name) for name in names}
    choice, recipe, seed = choice_of(given), given.pop("recipe"), given.pop("seed")
    changes = {name: value for name, value in given.items() if value is not None}
    config = changed(recipe, {"seed": seed, **changes})
    several = {name: asked[name] for name in ("seeds", "sweep", "curve", "views")}
    _refuse_without_effect(config, {*changes} - EVERY_HEAD, several)
    return TrainingRequest(choice=choice, config=config, **asked)


def _refuse_without_effect(config: TrainConfig, given: set[str], asked: dict[str, Any]) -> None:
    if click.get_current_context().get_parameter_source("seed") is click.core.ParameterSource.COMMANDLINE:
        given = given | {"seed"}
    if (reason := refusal(config, sorted(given), **asked)) is not None:
        raise click.UsageError(reason)


def _division_options(function: Any) -> Any:
    """The options that say how rows are divided into those to train and those to test on."""
    fraction = click.option(
        "--test-fraction",
        type=Finite(0, 1, min_open=True, max_open=True),
        help="Of a set without a test split, the part held out for testing. [default: none, but cross-validation of all]",
    )
    return fraction(group_by_option(function))


_OPTIONS = (
    override("--head", click.Choice(HEADS), "auto: chosen, with its settings, on the training rows."),
    shown("--recipe", type=click.Choice(list(RECIPES)), default=TrainingRequest.config.recipe),
    override("--epochs", POSITIVE, "Passes over the training rows."),
    override("--lr", Finite(min=0, min_open=True), "Learning rate."),
    override("-b --batch-size", POSITIVE, "Rows at once."),
    override("--hidden", POSITIVE, "Units of the MLP's hidden layer."),
    override("--dropout", Finite(0, 1, max_open=True), "Share of hidden units left out."),
    override("--weight-decay", Finite(min=0), "AdamW's."),
    override(
        "--val-fraction",
        Finite(0, 1, max_open=True),
        "Training rows set aside to choose the epoch by, without a val split.",
    ),
    _division_options,
    click.option(
        "--penalty", type=Finite(min=0, min_open=True), help="Of ridge, or 1 / C of logreg and svm. [default: chosen]"
    ),
    click.option("--neighbours", type=POSITIVE, help="The k of knn. [default: chosen]"),
    click.option("--class-weight", type=click.Choice(CLASS_WEIGHTS), help="balanced: every class counts alike."),
    override("--label-smoothing", Finite(0, 1, max_open=True), "Part of a label that goes to all classes."),
    click.option("--train-limit", type=POSITIVE, help="N training rows only, a sample of all."),
    shown("--seed", type=SEED, default=TrainConfig.seed),
    shown(
        "--seeds",
        type=click.IntRange(1, 10_000),
        default=TrainingRequest.seeds,
        help="Train N heads, with N seeds from --seed on.",
    ),
    click.option(
        "--predictions",
        type=Place("--predictions"),
        help="CSV file for id, label and probabilities of each test row.",
    ),
    click.option(
        "--curve",
        is_flag=True,
        help="Also train on a half, a quarter, ... of the images, to tell whether more would help.",
    ),
    click.option(
        "--memory",
        metavar="SIZE",
        callback=as_bytes,
        help="Read features in blocks where all of them would take more: 200MB, 1.5GiB.",
    ),
    corrections_option,
    click.option("--views", is_flag=True, help="Also train on the views of the training pictures that are kept."),
    click.option("--sweep", is_flag=True, help="Try 12 learning rates and weight decays; validation rows choose."),
)
