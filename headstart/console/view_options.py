"""The options that say which views of each picture are kept. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

import click

from headstart.console.options import SEED
from headstart.core.cache.views import FLIP
from headstart.core.extract.config import MOST_VIEWS


class ViewsType(click.IntRange):
    """Which views are kept: `flip`, or a number of random crops."""

    def __init__(self) -> None:
        super().__init__(1, MOST_VIEWS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click.BadParameter."""
        if value == FLIP:
            return value
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither {FLIP} nor a whole number from 1 to {MOST_VIEWS}.", param, ctx)


def view_options(function: Any) -> Any:
    """The options that say which views are kept beside the pictures as they are."""
    what = "Keep views of each picture too: flip, mirrored; N, that many random crops, half of them mirrored."
    views = click.option("--views", type=ViewsType(), metavar=f"{FLIP}|N", help=what)
    return views(click.option("--seed", "view_seed", type=SEED, help="What crops are drawn from. [default: 0]")(function))
