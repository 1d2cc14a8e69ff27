"""The options that say who computes features: this process, several, a job array or a Ray cluster."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from headstart.console.options import POSITIVE, shown
from headstart.core.extract.config import LOCAL, ExecutorConfig


def executor_options(function: Any) -> Any:
    """`ExecutorConfig` has a field for each."""
    executor = shown(
        "--executor",
        default=LOCAL.name,
        help="Who computes: local, this process; processes, one for each GPU or --num; array, one --task of a job array; "
        "ray, the actors of a cluster. With --dry-run: what that takes, from rates measured here.",
    )
    num = click.option(
        "--num", type=POSITIVE, help="Processes or actors. [default: by GPUs or nodes; none for processes on a CPU]"
    )
    task = click.option("--task", metavar="I/N", help="The I-th of N tasks of a job array, counted from 1.")
    address = click.option("--address", help="The Ray cluster: HOST:PORT, auto, or local for one on this machine alone.")
    return executor(num(task(address(function))))


def executor_of(name: str, given: dict[str, Any]) -> ExecutorConfig:
    """What they say, the others taken out of the options given."""
    return ExecutorConfig(name, *(given.pop(name) for name in ("num", "task", "address")))


def is_asked() -> bool:
    """Whether the command line under way names an executor: a dry run then says what the work takes."""
    return click.get_current_context().get_parameter_source("executor") is ParameterSource.COMMANDLINE
