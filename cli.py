"""The command line: options, help, printing, exit codes. The only file that prints; it joins the rooms.

`python cli.py COMMAND` and `headstart COMMAND` are the same. What computes is imported inside the commands, so that help
is instant. Results go to stdout, progress and warnings to stderr; a known error is one line there and exit code 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import logging
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from headstart.core.cache.errors import HeadstartError
from headstart.core.extract.config import ENGINES, ON_ERROR, PRECISIONS, SPLITS, STUDY_MODELS, ExtractConfig
from headstart.core.heads.config import HEADS, RECIPES, BenchConfig, TrainConfig, refusal

from headstart.workspace import Workspace

if TYPE_CHECKING:
    from headstart.core.cache.key import FeatureKey
    from headstart.core.cache.verify import Entry
    from headstart.core.extract.datasets.images import Images
    from headstart.core.extract.job import Job
    from headstart.core.extract.network.extractor import FeatureExtractor
    from headstart.core.extract.run import Outcome
    from headstart.core.heads.checkpoint import Checkpoint
    from headstart.core.heads.predict import Photo
    from headstart.core.heads.runs import Run
    from headstart.core.heads.study.analyses import Budget
    from headstart.core.heads.study.analysis_store import AnalysisKey
    from headstart.core.heads.study.estimate import Plan
    from headstart.core.heads.timings import Timing
    from headstart.core.heads.training.data import Pair
    from headstart.core.heads.training.online import OnlineHead
    from headstart.core.heads.training.optimise import OnEpoch

EXTRACT = ExtractConfig()
BENCH = BenchConfig()
PLAIN_EVERY_S = 15.0


@dataclasses.dataclass(frozen=True)
class Settings(Workspace):
    """The options that every command has."""

    json: bool
    verbose: bool


# ---------------------------------------------------------------------------------------------------- printing


def safe(text: object) -> str:
    """Text for a terminal, with control characters spelled out."""
    from headstart.core.cache.text import safe as spelled

    return spelled(text)


def out(text: object = "") -> None:
    """A line of results, on stdout."""
    click.echo("\n".join(safe(line) for line in str(text).split("\n")))


def note(text: object) -> None:
    """A line about the run, on stderr."""
    click.echo(safe(text), err=True)


def emit(text: str) -> None:
    """Results for other programs, on stdout: UTF-8 with every name as it is. A terminal's spelling of control characters
    would be no JSON, and a file name in CSV would no longer lead to its file."""
    click.echo(text.encode("utf-8", "surrogateescape"))


def document(settings: Settings, value: Any) -> None:
    """The last line of stdout with --json: one document, strict JSON."""
    if settings.json:
        emit(as_json(value))


def as_json(value: Any) -> str:
    """Strict JSON in one line; a byte that is no UTF-8, from a file name, is spelled as JSON's escape of it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace").decode()


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class Interrupted(KeyboardInterrupt):
    """A signal asked us to end; its number is the argument."""


class Signals:
    """SIGINT, SIGTERM and SIGHUP end the process in order: where work must not be cut, after the batch in hand.

    Where `deferred` is set the first signal is only noted, for `check` to act on between batches. A second one leaves at
    once. A program started in the background has SIGINT ignored, so our own handlers are set whatever was there.
    """

    NUMBERS = (
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGINT, signal.SIGTERM)
    )

    def __init__(self) -> None:
        self.deferred = False
        self._noted: int | None = None
        self._before: dict[int, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        self._noted = None
        self._before = {number: signal.signal(number, self._on) for number in self.NUMBERS}
        reader, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=_leave_at_the_second, args=(reader, self.NUMBERS), daemon=True).start()

    def __exit__(self, kind: object, *_: object) -> None:
        self.deferred = False
        if not self._before or kind is Interrupted:  # interrupted, we are leaving: a second signal still does so at once
            self._before = {}
            return
        signal.set_wakeup_fd(-1)
        os.close(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _on(self, number: int, frame: object) -> None:
        if self._noted is not None:
            return
        self._noted = number
        if not self.deferred:
            raise Interrupted(number)
        os.write(2, b"\nheadstart: ending after the batch in hand; a second signal leaves at once\n")

    def check(self) -> None:
        """Raise Interrupted if a signal was noted."""
        if self._noted is not None:
            raise Interrupted(self._noted)


ECHO_S = 0.1
"""`timeout` and batch systems signal a process and then its whole group: what comes this soon is the same request."""


def _leave_at_the_second(reader: int, numbers: Sequence[int]) -> None:
    """Exit when a second signal comes. Python runs handlers between bytecodes only, which a forward pass or a compilation
    puts off by seconds; this thread hears of a signal from the C handler itself."""
    first: float | None = None
    while heard := os.read(reader, 1):
        if heard[0] not in numbers:
            continue
        now = time.monotonic()
        if first is not None and now - first > ECHO_S:
            os._exit(128 + heard[0])
        first = first or now
    os.close(reader)


SIGNALS = Signals()


class Progress:
    """Progress on stderr: a rich bar on a terminal, else a plain line now and then. An `extract.run.Observer`."""

    def __init__(self) -> None:
        self._bar: Any = None

    def note(self, text: str) -> None:
        note(text)

    def begin(self, title: str, rows: int, done: int) -> None:
        SIGNALS.deferred = True
        self._title, self._rows, self._first, self._done = title, rows, done, done
        self._started = self._said = time.monotonic()
        if sys.stderr.isatty():
            self._bar = _rich_bar()
            self._task = self._bar.add_task(title, total=rows, completed=done, speed="")
            self._bar.start()
        else:
            note(f"{title}: {rows - done:,} of {rows:,} images to do")

    def advance(self, rows: int) -> None:
        SIGNALS.check()
        self._done += rows
        now = time.monotonic()
        speed = (self._done - self._first) / max(now - self._started, 1e-9)
        if self._bar:
            self._bar.update(self._task, completed=self._done, speed=f"{speed:.1f} images/s")
        elif now - self._said > PLAIN_EVERY_S:
            self._said = now
            left = (
                clock((self._rows - self._done) / speed) if speed > 0 else "unknown"
            )  # memory ran out: rows are done anew
            note(f"{self._title}: {self._done:,}/{self._rows:,} images, {speed:.1f} images/s, {left} left")

    def end(self) -> None:
        SIGNALS.deferred = False
        if self._bar:
            self._bar.stop()
            self._bar = None


def _rich_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[speed]}")
    times = (TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Bar(*columns, *times, console=Console(stderr=True))


@contextlib.contextmanager
def progress(title: str, rows: int) -> Iterator[Progress]:
    """A progress bar for work outside the extraction run."""
    bar = Progress()
    bar.begin(title, rows, 0)
    try:
        yield bar
    finally:
        bar.end()


# ----------------------------------------------------------------------------------------------------- options


RESUMED = ("extract", "study", "demo")
"""The commands that go on where an interrupted one stopped."""


class Commands(click.Group):
    """Turns known errors into one line on stderr and exit code 1, and prints no traceback for what a user can cause."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and let it end as the class says."""
        if ctx.parent is None:
            quiet_pillow()
        try:
            with SIGNALS if ctx.parent is None else contextlib.nullcontext():
                return super().invoke(ctx)
        except HeadstartError as error:
            note(f"headstart: {' '.join(str(error).split())}")
        except BrokenPipeError:  # whoever read our output has gone; Python would complain again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            note(f"headstart: {where}{error.strerror or error}")
        except Interrupted as error:
            goes_on = ctx.invoked_subcommand in RESUMED
            note("headstart: interrupted" + ("; what is finished is kept, the same command goes on from there" * goes_on))
            ctx.exit(128 + int(error.args[0]))
        return ctx.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are used, not of the alphabet."""
        return list(self.commands)


def quiet_pillow() -> None:
    """What is wrong with a picture we say ourselves: Pillow's warnings and log lines would stand between our own.

    Set once for the whole process, by the program that it belongs to, before any thread is started.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if not logging.getLogger("PIL").handlers:  # where nobody listens, Python prints what is logged
        logging.getLogger("PIL").addHandler(logging.NullHandler())


def command(group: click.Group, name: str, example: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command with the common options, whose help ends with an example, and whose first argument is `Settings`."""

    def decorate(function: Callable[..., None]) -> click.Command:
        def run(**given: Any) -> None:
            names = [field.name for field in dataclasses.fields(Settings)]
            function(Settings(**{name: given.pop(name) for name in names}), **given)

        run.__doc__ = function.__doc__
        run.__click_params__ = [*_common_params(), *getattr(function, "__click_params__", [])]  # type: ignore[attr-defined]
        return group.command(name, epilog=f"Example: {example}")(run)

    return decorate


def _common_params() -> list[click.Parameter]:
    """The common options as click keeps them on a function: last first, so that help shows them below a command's own."""

    def bare() -> None: ...

    for option in reversed(COMMON):
        option(bare)
    return list(bare.__click_params__)  # type: ignore[attr-defined]  # click's own attribute


def _folder(flag: str, variable: str, default: str, what: str) -> Callable[[Any], Any]:
    return click.option(
        flag,
        type=click.Path(path_type=Path, file_okay=False),
        default=default,
        envvar=variable,
        show_default=True,
        show_envvar=True,
        help=what,
    )


COMMON = (
    _folder("--features-dir", "HEADSTART_FEATURES", "features", "Where feature sets are kept."),
    _folder("--runs-dir", "HEADSTART_RUNS", "runs", "Where trained heads and reports are kept."),
    _folder("--data-dir", "HEADSTART_DATA", "data", "Where data sets are, or are downloaded to."),
    click.option("--device", default=EXTRACT.device, show_default=True, help="auto, cpu, cuda[:N], xpu[:N] or mps."),
    click.option("--json", is_flag=True, help="One JSON document as the last line of stdout."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
)

POSITIVE = click.IntRange(min=1)
SEED = click.IntRange(0, 2**63 - 1)
"""A generator takes one bit more, which leaves room for those that follow."""


class Finite(click.FloatRange):
    """A number in a range; not a number and infinity, which no comparison keeps out, are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click.BadParameter."""
        found: float = super().convert(value, param, ctx)
        return found if math.isfinite(found) else self.fail(f"{value} is not a finite number.", param, ctx)


models_option = click.option("-m", "--model", "models", multiple=True, metavar="MODEL", help="Backbone; repeatable.")


def _weights(default: str) -> Callable[[Any], Any]:
    what = "IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, random[:SEED], or a .safetensors or .pth FILE[#NAME]; repeatable."
    return click.option("--weights", multiple=True, metavar="[MODEL=]WEIGHTS", help=f"{what} [default: {default}]")


weights_option = _weights(EXTRACT.weights)
recorded_weights_option = _weights("where the head found them")
batch_option = click.option("-b", "--batch-size", type=POSITIVE, help="Images at once. [default: by device]")
workers_option = click.option(
    "-j", "--workers", type=POSITIVE, default=EXTRACT.workers, show_default=True, help="Threads that decode image files."
)
image_size_option = click.option(
    "--image-size", type=click.IntRange(min=32), default=EXTRACT.image_size, show_default=True, help="Pixels, squared."
)
engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=EXTRACT.engine,
    show_default=True,
    help="auto: compiled by torch.compile where a long run gains by it.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=EXTRACT.precision,
    show_default=True,
    help="auto: bf16 if fast here.",
)
dataset_option = click.option(
    "--dataset",
    default="cifar10",
    show_default=True,
    help="cifar10, digits, folder:PATH, classes:PATH or torchvision:NAME.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="headstart")
def cli() -> None:
    """Run a frozen backbone over your images once, keep the features, train heads on them in seconds."""


# ----------------------------------------------------------------------------------------------------- extract


@command(cli, "extract", "headstart extract --model resnet50 --dataset cifar10 --limit 24000")
@models_option
@dataset_option
@click.option("--split", type=click.Choice(SPLITS), help="[default: all that the data set has]")
@click.option(
    "--no-splits", is_flag=True, help="Of folder:PATH each sub-folder is a class, those called train or test too."
)
@click.option(
    "--limit", type=POSITIVE, help="The first N rows of each split; rows of files are ordered so that these are a sample."
)
@weights_option
@image_size_option
@click.option("--shard-rows", type=POSITIVE, default=EXTRACT.shard_rows, show_default=True, help="Rows in each file.")
@precision_option
@engine_option
@batch_option
@workers_option
@click.option(
    "--on-error", type=click.Choice(ON_ERROR), default=EXTRACT.on_error, show_default=True, help="Unreadable images."
)
@click.option("--force", is_flag=True, help="Compute anew what is there.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and what is there.")
def extract_command(
    settings: Settings,
    models: tuple[str, ...],
    dataset: str,
    split: str | None,
    no_splits: bool,
    weights: tuple[str, ...],
    dry_run: bool,
    **config: Any,
) -> None:
    """Stage one: run a backbone over a data set once and keep the pooled features.

    What is already there is not computed again; an interrupted or shorter run is extended.
    """
    from headstart.core.extract import datasets

    models = models or ("resnet50",)
    check_weights(models, weights)
    dataset = datasets.undivided(dataset) if no_splits else dataset
    found = plan_jobs(settings, models, dataset, weights, split=split, **config)
    if dry_run:
        document(settings, [_dry_run(settings, job) for job in found])
        return
    document(settings, [_outcome_facts(outcome) for outcome in extract_all(settings, found)])


def check_weights(models: Sequence[str], weights: Sequence[str]) -> None:
    """Refuse `--weights MODEL=…` for a model that the command does not use."""
    from headstart.core.extract.plan import check_weights_asked, expand_models

    check_weights_asked(expand_models(models), weights)


def warn_untrained(key: FeatureKey) -> None:
    """Loudly."""
    note(f"WARNING: {key.backbone} has UNTRAINED weights ({key.weights}): good for trying things out only")


def plan_jobs(settings: Settings, models: Sequence[str], dataset: str, weights: Sequence[str], **given: Any) -> list[Job]:
    """The jobs asked for, with what must be said of them once."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract import plan as jobs

    split = given.pop("split", None)
    config = ExtractConfig(**given, device=settings.device)
    found = jobs.plan(models, dataset, split, weights, config, settings.data_dir, FeatureStore(settings.features_dir))
    for key in dict.fromkeys(job.key for job in found if job.key.untrained):
        warn_untrained(key)
    remarks = (remark for job in found for remark in (*job.images.remarks, *job.images.notes, *job.device.notes))
    for remark in dict.fromkeys(remarks):
        note(f"note: {remark}")
    return found


def extract_all(settings: Settings, found: Sequence[Job]) -> list[Outcome]:
    """Run the jobs of a command, whose way of computing is chosen for all of them together."""
    return [extract_one(settings, job, found[place + 1 :]) for place, job in enumerate(found)]


def extract_one(settings: Settings, job: Job, later: Sequence[Job] = ()) -> Outcome:
    """Run one job, which `later` ones follow, and say what came of it."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract import text
    from headstart.core.extract.plan import load
    from headstart.core.extract.run import extract

    if settings.verbose:
        note(f"{job.device.name} ({job.device.description}), {job.device.precision}, weights from {job.weights.origin}")
    bar = Progress()
    try:
        outcome = extract(job, lambda job: load(job, bar.note), FeatureStore(settings.features_dir), bar, later)
    finally:
        bar.end()
    out(text.outcome(job, outcome))
    for remark in job.images.noticed():
        note(f"note: {remark}")
    if skipped := outcome.features.manifest.skipped:
        note(f"{job.title}: {skipped} unreadable images left out; `headstart cache show` lists them")
    return outcome


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    manifest = outcome.features.manifest
    return {
        "folder": str(outcome.features.folder),
        "key": manifest.key.to_json(),
        "split": manifest.split,
        "rows": manifest.rows,
        "feature_dim": manifest.feature_dim,
        "dtype": manifest.dtype,
        "digest": manifest.digest,
        "computed": outcome.computed,
        "elapsed_s": outcome.elapsed_s,
        "notes": list(manifest.provenance.notes),
    }


def _dry_run(settings: Settings, job: Job) -> dict[str, Any]:
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract import text
    from headstart.core.extract.run import survey

    store = FeatureStore(settings.features_dir)
    parts, folder = survey(job, store), store.folder(job.key, job.images.split)
    out(text.survey(job, parts, folder))
    rows = parts[-1][0].stop
    there = sum(part.rows for part, present in parts if present)
    size = rows * job.row_bytes
    return {"folder": str(folder), "key": job.key.to_json(), "rows": rows, "bytes": size, "rows_there": there}


# -------------------------------------------------------------------------------------------------- train-head


def _recipe_default(field: str) -> str:
    return ", ".join(f"{name}: {getattr(recipe, field)}" for name, recipe in RECIPES.items())


def _override(flags: str, kind: Any, what: str) -> Callable[[Any], Any]:
    field = flags.rpartition("--")[2].replace("-", "_")
    return click.option(*flags.split(), type=kind, help=f"{what} [default: {_recipe_default(field)}]")


@command(cli, "train-head", "headstart train-head --model resnet50 --recipe standard")
@models_option
@click.option("--dataset", help="Only features of this data set: as `extract` takes it, or as `cache ls` shows it.")
@click.option("--key", help="Only features whose key begins with these digits.")
@click.option("--head", type=click.Choice(HEADS), default=TrainConfig.head, show_default=True)
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="standard", show_default=True)
@_override("--epochs", POSITIVE, "Passes over the training rows.")
@_override("--lr", Finite(min=0, min_open=True), "Learning rate.")
@_override("-b --batch-size", POSITIVE, "Rows at once.")
@_override("--hidden", POSITIVE, "Units of the MLP's hidden layer.")
@_override("--dropout", Finite(0, 1, max_open=True), "Share of hidden units left out.")
@_override("--weight-decay", Finite(min=0), "AdamW's.")
@_override("--val-fraction", Finite(0, 1, max_open=True), "Training rows set aside to choose by.")
@click.option("--train-limit", type=POSITIVE, help="N training rows only, a sample of all.")
@click.option("--seed", type=SEED, default=TrainConfig.seed, show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Train N heads, with N seeds from --seed on.",
)
@click.option("--sweep", is_flag=True, help="Try 12 learning rates and weight decays; validation rows choose.")
def train_head_command(
    settings: Settings,
    models: tuple[str, ...],
    dataset: str | None,
    key: str | None,
    recipe: str,
    seed: int,
    seeds: int,
    sweep: bool,
    **given: Any,
) -> None:
    """Stage two: train a small head on kept features, test it, and save it.

    Without --model a head is trained for every model found in the features directory.
    """
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract.naming import known_as
    from headstart.core.extract.plan import expand_models
    from headstart.core.heads import text
    from headstart.core.heads.training import data

    changes = {name: value for name, value in given.items() if value is not None}
    config = dataclasses.replace(RECIPES[recipe], **changes)
    refuse_without_effect(config, {*changes} - {"head", "train_limit"}, seeds, sweep)
    store = FeatureStore(settings.features_dir)
    there = data.pairs(store, known_as(dataset, store) if dataset else None, key)
    chosen = data.choose(there, expand_models(models), settings.features_dir)
    runs: list[Run] = []
    for pair in chosen:
        configs = [dataclasses.replace(config, seed=seed + i) for i in range(seeds)]
        trained = [sweep_heads(settings, pair, one) for one in configs] if sweep else train_heads(settings, pair, configs)
        if seeds > 1:
            out(text.spread(trained))
        runs += trained
    document(settings, [{**dataclasses.asdict(run), "accuracy": run.evaluation.overall.accuracy} for run in runs])


def refuse_without_effect(config: TrainConfig, given: set[str], seeds: int, sweep: bool) -> None:
    """An option that would change nothing is an error: whoever gave it believes that it does."""
    from click.core import ParameterSource

    if click.get_current_context().get_parameter_source("seed") is ParameterSource.COMMANDLINE:
        given = given | {"seed"}
    if (reason := refusal(config, sorted(given), seeds=seeds, sweep=sweep)) is not None:
        raise click.UsageError(reason)


def train_heads(settings: Settings, pair: Pair, configs: Sequence[TrainConfig]) -> list[Run]:
    """Train heads that differ in their seeds or rates, saying each epoch, and print how they did."""
    from headstart.core.extract.network.devices import resolve
    from headstart.core.heads import text
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.training.session import fit

    config, device = configs[0], resolve(settings.device, "fp32")
    several = f"seed {config.seed}" if len(configs) == 1 else f"{len(configs)} heads from seed {config.seed} on"
    say = _announce(pair, config, several)
    runs = fit(pair, configs, device.name, device.description, RunStore(settings.runs_dir), say)
    for run in runs:
        out(text.trained(run))
        out(f"  saved in {settings.runs_dir / run.name}")
    return runs


def _announce(pair: Pair, config: TrainConfig, what: str) -> OnEpoch:
    """Say what is trained; what then says each epoch."""
    from headstart.core.heads import text
    from headstart.core.heads.training import data

    rows = pair.train.manifest.rows
    rows -= data.held_out(rows) if pair.test is None else 0
    rows = min(config.train_limit or rows, rows)
    out(f"{pair.key.backbone} on {pair.key.dataset}: {config.head}, {config.recipe} recipe, {rows:,} rows, {what}")
    return lambda number, losses, accuracies: out(text.epoch(number, config.epochs, losses, accuracies))


def sweep_heads(settings: Settings, pair: Pair, config: TrainConfig) -> Run:
    """Try learning rates and weight decays, and print what was tried and how the chosen head did."""
    from headstart.core.extract.network.devices import resolve
    from headstart.core.heads import text
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.training.session import sweep

    device, say = resolve(settings.device, "fp32"), _announce(pair, config, f"a sweep, seed {config.seed}")
    run, tried = sweep(pair, config, device.name, device.description, RunStore(settings.runs_dir), say)
    out(text.swept(tried))
    out(text.trained(run))
    out(f"  saved in {settings.runs_dir / run.name}")
    return run


# ----------------------------------------------------------------------------------------------- trained heads


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A trained head and, where there is one, its record. `name` tells it from the others."""

    head: Checkpoint
    run: Run | None
    name: str

    @property
    def title(self) -> str:
        """What stands above its column."""
        from headstart.core.heads.settings import settings_label

        key = self.head.key
        return f"{key.backbone} {settings_label(self.head.head.config)}"


def choose_heads(settings: Settings, models: Sequence[str], paths: Sequence[Path]) -> list[Chosen]:
    """The heads at `paths`, else the newest run of each model named, else the newest of all; said on stderr."""
    from headstart.core.cache.errors import RunNotFound, WeightsMismatch
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.training.session import load_head

    if paths:
        chosen = _told_apart(list({path.resolve(): path for path in paths}.values()))
        for found in chosen:
            if models and found.head.key.backbone not in models:
                raise WeightsMismatch(
                    f"backbone is {found.head.key.backbone} in the head given, --model asks for {', '.join(models)}; "
                    f"leave one of the two options out"
                )
    else:
        store = RunStore(settings.runs_dir)
        runs = store.newest(models) if models else store.runs()[-1:]
        if not runs:
            raise RunNotFound(f"{settings.runs_dir}: no trained head; make one with `headstart train-head`")
        chosen = [Chosen(load_head(run, store), run, run.name) for run in runs]
    for found in chosen:
        note(f"head: {found.name}")
    return chosen


def _told_apart(paths: Sequence[Path]) -> list[Chosen]:
    """The heads at the paths, each with a name of its own: that of its run, or its path where there is no record or two
    runs have one name."""
    from headstart.core.heads.training.session import load_path

    loaded = [load_path(path) for path in paths]
    names = [run.name if run else str(path) for path, (_, run) in zip(paths, loaded, strict=True)]
    return [
        Chosen(head, run, name if names.count(name) == 1 else str(path))
        for path, (head, run), name in zip(paths, loaded, names, strict=True)
    ]


def titles(chosen: Sequence[Chosen]) -> dict[str, str]:
    """What stands above each head's column, by its name: the name itself where two heads have one title."""
    found = [head.title for head in chosen]
    return {head.name: head.title if found.count(head.title) == 1 else head.name for head in chosen}


def restore(settings: Settings, head: Checkpoint, weights: Sequence[str], batch_size: int | None) -> FeatureExtractor:
    """The backbone that a head needs, with the weights it recorded."""
    from headstart.core.extract.plan import restore as build
    from headstart.core.extract.plan import weights_asked

    key = head.key
    if key.untrained:
        warn_untrained(key)
    extractor = build(key, head.weights_from, weights_asked(key.backbone, weights), settings.device, batch_size)
    for remark in extractor.device.notes:
        note(f"note: {remark}")
    return extractor


head_option = click.option(
    "--head",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A run's folder or its head.safetensors; repeatable. [default: the newest run]",
)


@command(cli, "bench-inference", "headstart bench-inference --model resnet50 --limit 1000")
@models_option
@head_option
@click.option("--dataset", help="The data set to label. [default: the one the head was trained on]")
@click.option("--limit", type=POSITIVE, help="The first N test images only.")
@recorded_weights_option
@engine_option
@batch_option
@workers_option
@click.option(
    "--warmup", type=click.IntRange(min=0), default=BENCH.warmup, show_default=True, help="Batches before timing."
)
@click.option("--repeats", type=POSITIVE, default=BENCH.repeats, show_default=True, help="Passes; their median counts.")
def bench_command(
    settings: Settings,
    models: tuple[str, ...],
    paths: tuple[Path, ...],
    dataset: str | None,
    weights: tuple[str, ...],
    engine: str,
    batch_size: int | None,
    workers: int,
    **config: Any,
) -> None:
    """Time inference end to end, from raw images to labels, over the test images.

    Batches follow each other without pauses; single images are timed too, and each stage by itself.
    """
    chosen = choose_heads(settings, models, paths)
    check_weights([found.head.key.backbone for found in chosen], weights)
    way = (engine, batch_size)
    results = [bench_one(settings, found, dataset, weights, way, workers, BenchConfig(**config)) for found in chosen]
    emit(as_json([dataclasses.asdict(timing) for timing in results]))


def bench_one(
    settings: Settings,
    chosen: Chosen,
    dataset: str | None,
    weights: Sequence[str],
    way: tuple[str, int | None],
    workers: int,
    config: BenchConfig,
) -> Timing:
    """Time one head, print the figures, and keep them beside the run. `way` is the engine and the batch size asked for."""
    from headstart.core.cache.errors import DataNotFound
    from headstart.core.extract import datasets
    from headstart.core.extract import plan as jobs
    from headstart.core.extract.network.tuning import Way, settle
    from headstart.core.heads import bench, text, timings
    from headstart.core.heads.statistics.accuracy import evaluate
    from headstart.core.heads.timings import Timing

    head, key = chosen.head, chosen.head.key
    if dataset is None and key.dataset.startswith("folder-"):
        raise DataNotFound(
            f"{chosen.title} was trained on a folder of pictures; say where it is with --dataset folder:PATH"
        )
    name = dataset or key.dataset
    split = datasets.splits(name, None, settings.data_dir)[-1]
    images = datasets.open_split(name, split, settings.data_dir)
    rows = min(images.rows, config.limit or images.rows)
    extractor = restore(settings, head, weights, None)
    extractor = settle(extractor, extractor.device, key.image_size, rows * config.repeats, way, note, rows)
    head.head.to(extractor.device.name)
    sides = [jobs.stages(images, made, workers) for made in (extractor, extractor.running(Way(extractor.engine, 1)))]
    batches, singles = (bench.ImageSide(**side) for side in sides)
    with progress(f"{chosen.title}: inference", rows * config.repeats) as bar:
        figures = bench.measure(batches, singles, head.head, config, bar.advance)
    labels = images.labels(0, rows)
    # of a set without splits most images were trained on: their accuracy would be no test
    known = split == "test" and images.classes == head.classes and bool((labels >= 0).all())
    accuracy = evaluate(figures.predicted, labels, head.classes).overall.accuracy if known else None
    timing = Timing(
        head=chosen.name,
        dataset=images.name,
        split=split,
        images_digest=_images_digest(settings, chosen, images),
        images=figures.images,
        split_rows=images.rows,
        way=timings.Way(extractor.device.description, extractor.device.precision, extractor.engine, figures.batch_size),
        asked=way,
        repeats=figures.repeats,
        elapsed_s=figures.elapsed_s,
        images_per_s=figures.images_per_s,
        stages_s=figures.stages_s,
        latency_s=figures.latency_s,
        latency_images=figures.latency_images,
        accuracy=accuracy,
        peak_memory_bytes=extractor.peak_memory(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
    )
    out(text.bench(chosen.title, timing, chosen.run.notes if chosen.run else ()))
    if chosen.run is not None and (settings.runs_dir / chosen.run.name).is_dir():
        timings.add(settings.runs_dir, chosen.run, timing)
    return timing


def _images_digest(settings: Settings, chosen: Chosen, images: Images) -> str:
    """The images' digest where they are those that the run was tested on, by content; else nothing."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract.datasets.unchanged import same_images

    if chosen.run is None:
        return ""
    for features in FeatureStore(settings.features_dir).sets():
        manifest = features.manifest
        if manifest.digest == chosen.run.test.digest and same_images(images, manifest):
            return manifest.images_digest
    return ""


# ----------------------------------------------------------------------------------------------------- predict


@command(cli, "predict", "headstart predict holiday/*.jpg --topk 3")
@click.argument("pictures", nargs=-1, required=True, metavar="PATHS...")
@models_option
@head_option
@click.option("--topk", type=POSITIVE, default=3, show_default=True, help="Labels for each picture.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--compare", is_flag=True, help="The newest head of every model, side by side.")
@recorded_weights_option
@batch_option
@workers_option
def predict_command(
    settings: Settings,
    pictures: tuple[str, ...],
    models: tuple[str, ...],
    paths: tuple[Path, ...],
    topk: int,
    form: str,
    compare: bool,
    weights: tuple[str, ...],
    batch_size: int | None,
    workers: int,
) -> None:
    """Label pictures with a trained head: files, folders or patterns.

    The transform, the class names and the weights are those the head recorded. A picture that can't be read is
    reported and the others are still labelled; the exit code is then 1.
    """
    from headstart.core.extract.featurise import expand
    from headstart.core.heads import text
    from headstart.core.heads.predict import caveat
    from headstart.core.heads.runs import RunStore

    files = expand(pictures, note)
    if compare and not paths and not models:
        models = tuple(run.model for run in RunStore(settings.runs_dir).newest())
    chosen = choose_heads(settings, models, paths)
    check_weights([found.head.key.backbone for found in chosen], weights)
    photos = label_photos(settings, chosen, files, weights, batch_size, workers, topk)
    facts = [dataclasses.asdict(photo) for photo in photos]
    if form == "csv":
        emit(text.predictions_csv(photos))
    elif form == "table":
        out(text.predictions(photos, titles(chosen)))
    if form == "json" or settings.json:
        emit(as_json(facts))
    for doubt in dict.fromkeys(doubt for found in chosen if (doubt := caveat(found.head.head))):
        note(f"note: {doubt}")
    for photo in photos:
        if photo.error:
            note(f"headstart: {photo.name}: {photo.error}")
    if any(photo.error for photo in photos):
        sys.exit(1)


def label_photos(
    settings: Settings,
    chosen: Sequence[Chosen],
    files: Sequence[Path],
    weights: Sequence[str],
    batch_size: int | None,
    workers: int,
    topk: int,
) -> list[Photo]:
    """Every picture through every head; heads on the same features share the backbone's pass."""
    from headstart.core.extract.featurise import featurise
    from headstart.core.heads.predict import Photo, label

    sharing: dict[FeatureKey, list[Chosen]] = {}
    for found in chosen:  # whatever their data sets: a feature does not depend on them
        sharing.setdefault(dataclasses.replace(found.head.key, dataset="", classes=()), []).append(found)
    labels: list[dict[str, Any]] = [{} for _ in files]
    errors: dict[int, str] = {}
    for heads in sharing.values():
        extractor, size = restore(settings, heads[0].head, weights, batch_size), heads[0].head.key.image_size
        for outside in featurise(files, extractor, extractor.device, size, workers, batch_size, note):
            errors |= {image.row: image.reason for image in outside.skipped}
            for found in heads:
                for row, best in zip(outside.rows, label(found.head, outside.features, "cpu", topk), strict=True):
                    labels[row][found.name] = best
    return [Photo(str(file), labels[row], errors.get(row)) for row, file in enumerate(files)]


# ---------------------------------------------------------------------------------------------- report and study


photos_option = click.option(
    "--photos", type=click.Path(exists=True, path_type=Path), help="A folder of outside pictures to label with every head."
)


@command(cli, "report", "headstart report --photos holiday/")
@photos_option
@click.option("--dataset", help="Where the test images are, to show some. [default: the one the heads were trained on]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the files. [default: RUNS_DIR/report]")
@recorded_weights_option
def report_command(
    settings: Settings, photos: Path | None, dataset: str | None, output: Path | None, weights: tuple[str, ...]
) -> None:
    """Every run in one comparison beside the published study: Markdown on stdout; .html, .md, .csv and .json files."""
    from headstart.core.heads.runs import RunStore

    write_report(settings, RunStore(settings.runs_dir).runs(), photos, dataset, output, weights)


def write_report(
    settings: Settings,
    runs: Sequence[Run],
    photos: Path | None,
    dataset: str | None,
    output: Path | None,
    weights: Sequence[str],
) -> None:
    """Print the comparison of these runs and keep it in four files, all made from one document."""
    from headstart.core.cache.errors import RunNotFound
    from headstart.core.extract.featurise import expand
    from headstart.core.heads.report.json_file import to_json
    from headstart.core.heads.report.markdown.document import to_markdown
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.training.session import load_head

    from headstart import reporting

    if not runs:
        raise RunNotFound(f"{settings.runs_dir}: no trained head to report on; make one with `headstart train-head`")
    folder, store = output or settings.runs_dir / "report", RunStore(settings.runs_dir)
    files = expand([str(photos)]) if photos is not None else []

    def label(some: Sequence[Run]) -> list[Photo]:
        chosen = [Chosen(load_head(run, store), run, run.name) for run in some]
        return label_photos(settings, chosen, files, weights, None, EXTRACT.workers, 1)

    report = reporting.write(settings, runs, folder, label if files else None, dataset, note)
    out(to_markdown(report).rstrip("\n"))
    note(f"written to {folder}/report.html, .md, .csv and .json")
    document(settings, to_json(report))


@command(cli, "study", "headstart study --photos holiday/")
@models_option
@dataset_option
@weights_option
@click.option(
    "--limit", type=POSITIVE, default=24_000, show_default=True, help="The first N rows of each split, as the study."
)
@click.option("--bench-limit", type=POSITIVE, help="Time inference on the first N test images only.")
@click.option("--seeds", type=POSITIVE, default=30, show_default=True, help="Heads of each recipe, one seed each.")
@click.option("--curve-seeds", type=POSITIVE, default=3, show_default=True, help="Heads for each point of a curve.")
@click.option("--curve-epochs", type=POSITIVE, default=100, show_default=True, help="The longest training tried.")
@click.option(
    "--batch-norm-images",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Training images of the BatchNorm experiment; 0 leaves it out.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it would take here.")
@image_size_option
@precision_option
@batch_option
@workers_option
@photos_option
@click.option("--seed", type=SEED, default=TrainConfig.seed, show_default=True)
def study_command(
    settings: Settings,
    models: tuple[str, ...],
    dataset: str,
    weights: tuple[str, ...],
    bench_limit: int | None,
    seeds: int,
    curve_seeds: int,
    curve_epochs: int,
    batch_norm_images: int,
    dry_run: bool,
    photos: Path | None,
    seed: int,
    **config: Any,
) -> None:
    """The published study in one command, and its open questions answered: extract, train, time inference, report.

    Every step that is done already is kept, so an interrupted study goes on where it stopped, and a second one only draws.
    """
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract import plan as jobs
    from headstart.core.heads.study.analyses import Budget
    from headstart.core.heads.training import data

    lengths = tuple(n for n in Budget().epochs if n < curve_epochs)
    budget = Budget(seeds, curve_seeds, (*lengths, curve_epochs))
    names = jobs.expand_models(models or STUDY_MODELS)
    jobs.check_weights_asked(names, weights)
    if dry_run:
        plans = [
            _study_plan(
                settings, plan_study(settings, model, dataset, weights, config), seed, config["limit"], budget, bench_limit
            )
            for model in names
        ]
        total = sum(plan.total_s for plan in plans)
        out(f"about {clock(total)} in all, without the BatchNorm experiment and outside pictures")
        document(settings, {"models": [plan.to_json() for plan in plans], "total_s": total})
        return
    runs: list[Run] = []
    for model in names:
        planned = plan_study(settings, model, dataset, weights, config)
        made = extract_all(settings, planned)
        digest = made[0].features.manifest.key.digest
        (pair,) = data.choose(data.pairs(FeatureStore(settings.features_dir), None, digest), [model], settings.features_dir)
        for wanted in _wanted(seed, config["limit"], pair.train.manifest.stop):
            run = _study_run(settings, pair, wanted, dataset, weights, BenchConfig(limit=bench_limit), config)
            ask(settings, pair, run, budget)
            runs.append(run)
    if batch_norm_images:
        batch_norm_cost(settings, names, dataset, weights, batch_norm_images, config)
    write_report(settings, runs, photos, dataset, None, weights)


def _wanted(seed: int, limit: int, rows: int) -> list[TrainConfig]:
    """Each recipe for a set of so many rows; the limit is only said where it leaves some out."""
    return [
        dataclasses.replace(recipe, seed=seed, train_limit=limit if limit < rows else None) for recipe in RECIPES.values()
    ]


def plan_study(
    settings: Settings, model: str, dataset: str, weights: Sequence[str], config: Mapping[str, Any]
) -> list[Job]:
    """One model's jobs, refused before anything is computed where no head could be trained and tested on them."""
    from headstart.core.cache.errors import DataInvalid

    found = plan_jobs(settings, [model], dataset, weights, **config)
    images = found[0].images
    if len(images.classes) < 2:
        there = f"one class, {images.classes[0]}" if images.classes else "no classes"
        raise DataInvalid(f"{images.source}: has {there}; a study needs two or more, each a sub-folder of pictures")
    return found


def batch_norm_cost(
    settings: Settings, models: Sequence[str], dataset: str, weights: Sequence[str], images: int, config: dict[str, Any]
) -> None:
    """Measure what BatchNorm left in training mode cost the study, imitated for the first model that can show it.

    It runs the backbone in every epoch, so what was measured once is kept.
    """
    from headstart.core.cache.errors import HeadstartError
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract import batchnorm
    from headstart.core.extract.network.devices import resolve
    from headstart.core.heads.study.analysis_store import AnalysisStore, BatchNormKey
    from headstart.core.heads.study.results import BatchNormResults, Drift

    store, device = AnalysisStore(settings.runs_dir), resolve(settings.device, "auto")
    plan = batchnorm.Imitation(train_images=images, test_images=min(images, batchnorm.Imitation().test_images))
    for model in models:
        try:
            kept = {job.images.split: job for job in plan_jobs(settings, [model], dataset, weights, **config)}
            precision = {**config, "precision": device.precision}
            train, *others = plan_jobs(settings, [model], dataset, weights, **precision)
            if not others:
                note(f"{model}: no BatchNorm experiment: {dataset} has no test split")
                return
            features = FeatureStore(settings.features_dir).open(kept["test"].key, "test")
            question = BatchNormKey(
                key=train.key.digest,
                train_rows=batchnorm.rows_digest(train, plan.train_images),
                test_rows=batchnorm.rows_digest(others[0], plan.test_images),
                images=features.manifest.images_digest if features else "",
                plan=repr(plan),
                device=device.description,
            )
            if store.get(question) is not None:
                return
            with progress(f"{model}: BatchNorm in training mode", batchnorm.passes(train, others[0], plan)) as bar:
                found = batchnorm.measure(train, others[0], plan, online_head, bar.advance)
        except HeadstartError as error:
            note(f"{model}: no BatchNorm experiment: {error}")
            continue
        note_text = f"{found.epochs} epochs, {found.image_size} px, {found.precision}, on {found.device}"
        drift = tuple(Drift(**vars(one)) for one in found.drift)
        store.put(question, BatchNormResults(**{**vars(found), "drift": drift}, note=note_text))
        return


def online_head(dim: int, classes: int, seed: int) -> OnlineHead:
    """The study's head, for features that come batch by batch."""
    from headstart.core.heads.training.online import OnlineHead

    return OnlineHead(dim, classes, RECIPES["study"], seed)


def _study_plan(
    settings: Settings, found: Sequence[Job], seed: int, limit: int, budget: Budget, bench_limit: int | None
) -> Plan:
    """Print one model's part of a study: what is to do, and the time it takes at the rate of short measurements."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract.network.devices import resolve
    from headstart.core.extract.run import survey
    from headstart.core.heads.study import estimate

    store, first, last = FeatureStore(settings.features_dir), found[0], found[-1]
    parts = {job.title: survey(job, store) for job in found}
    missing = {title: sum(part.rows for part, there in plan if not there) for title, plan in parts.items()}
    rows_there = [plan[-1][0].stop for plan in parts.values()]
    bench = BenchConfig(limit=bench_limit)
    recipes = {config.recipe: config for config in _wanted(seed, limit, rows_there[0])}
    done = {
        name: (False, False) if any(missing.values()) else _done(settings, first, recipe, budget, bench, found)
        for name, recipe in recipes.items()
    }
    step_s = estimate.measured(first.backbone.feature_dim, len(first.key.classes), resolve(settings.device, "fp32").name)
    rows = estimate.divided([min(limit, rows_there[0]), *rows_there[1:]])
    work = {
        name: estimate.trainings(recipe, budget, *rows, len(first.key.classes))
        for name, recipe in recipes.items()
        if not done[name][0]
    }
    timed = min(last.images.rows, bench_limit or last.images.rows) * sum(not timed for _, timed in done.values())
    rate = _images_per_s(first) if timed or any(missing.values()) else None
    heads_s = {name: estimate.seconds(trainings, step_s) for name, trainings in work.items()}
    plan = estimate.Plan(first.backbone.name, missing, timed, rate, heads_s)
    _say_plan(plan, list(recipes), budget.seeds, last.images.split)
    return plan


def _images_per_s(job: Job) -> float | None:
    """The rate of two batches; None where they can't be run."""
    from headstart.core.extract.network.tuning import Trials, Way
    from headstart.core.extract.plan import load

    extractor = load(job)
    way = Way(extractor.engine, extractor.batch_size)
    return Trials(extractor, job.preprocessing.image_size, note).measure(way) or None


def _say_plan(plan: Plan, recipes: Sequence[str], seeds: int, split: str) -> None:
    for title, rows in plan.missing.items():
        known = rows and plan.images_per_s
        spent = f", about {clock(plan.spent(rows))} at {plan.images_per_s:.1f} images/s" if known else ""
        out(f"{title}: {rows:,} images to extract{spent}")
    for recipe in recipes:
        spent = f"{seeds} seeds and curves to train, about {clock(plan.heads_s[recipe])}" if recipe in plan.heads_s else ""
        out(f"{plan.model}: {recipe} recipe, {spent or 'questions already answered'}")
    spent = f", about {clock(plan.spent(plan.timed))}" if plan.images_per_s else ""
    images = f"{plan.timed:,} {split} images to time inference on, all recipes together{spent}"
    out(f"{plan.model}: {images if plan.timed else 'inference already timed'}")


def _done(
    settings: Settings, job: Job, config: TrainConfig, budget: Budget, bench: BenchConfig, found: Sequence[Job]
) -> tuple[bool, bool]:
    """Whether a recipe's questions are answered, and whether its inference is timed; the features are all there."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.study.analysis_store import AnalysisStore
    from headstart.core.heads.training import data
    from headstart.core.heads.training.session import same

    pairs = data.pairs(FeatureStore(settings.features_dir), None, job.key.digest)
    run = same(pairs[0], config, RunStore(settings.runs_dir)) if len(pairs) == 1 else None
    if run is None:
        return False, False
    answered = AnalysisStore(settings.runs_dir).get(_question(run, budget)) is not None
    return answered, _is_timed(settings, run, bench, None)


def _question(run: Run, budget: Budget) -> AnalysisKey:
    """What a study asks of a run's settings."""
    from headstart.core.heads.study.analysis_store import AnalysisKey

    return AnalysisKey(run.config, run.train.digest, run.test.digest, budget)


def ask(settings: Settings, pair: Pair, run: Run, budget: Budget) -> None:
    """Answer the study's questions for one run, unless its answers are there."""
    from headstart.core.extract.network.devices import resolve
    from headstart.core.heads.study import analyses
    from headstart.core.heads.study.analysis_store import AnalysisStore
    from headstart.core.heads.training import data

    store, question = AnalysisStore(settings.runs_dir), _question(run, budget)
    if store.get(question) is not None:
        out(f"{run.title}: questions already answered")
        return
    training, testing = data.load(pair, run.config.train_limit)
    task = analyses.Task(training, testing, pair.key.classes, resolve(settings.device, "fp32").name)
    started = time.perf_counter()
    store.put(question, analyses.analyse(task, run.config, budget, lambda what: note(f"{run.title}: {what}")))
    out(f"{run.title}: questions answered in {clock(time.perf_counter() - started)}")


def _study_run(
    settings: Settings,
    pair: Pair,
    config: TrainConfig,
    dataset: str,
    weights: Sequence[str],
    bench: BenchConfig,
    given: dict[str, Any],
) -> Run:
    """A trained and timed head: the one that is there, or a new one."""
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.training.session import load_head, same

    store = RunStore(settings.runs_dir)
    run = same(pair, config, store)
    if run is None:
        (run,) = train_heads(settings, pair, [config])
    else:
        out(f"{run.title}: already trained, {run.name}")
    if not _is_timed(settings, run, bench, given["batch_size"]):
        chosen, way = Chosen(load_head(run, store), run, run.name), ("auto", given["batch_size"])
        bench_one(settings, chosen, dataset, weights, way, given["workers"], bench)
    return run


def _is_timed(settings: Settings, run: Run, bench: BenchConfig, batch_size: int | None) -> bool:
    """Whether inference on the run's own test images was timed on this device, on as many of them as are asked for, with
    the engine left open and this batch size asked for."""
    from headstart.core.extract.network.devices import resolve
    from headstart.core.heads import timings

    device = resolve(settings.device, run.key.precision).description
    return any(
        found.images_digest == run.test.images
        and (found.asked, found.way.device) == (("auto", batch_size), device)
        and found.images >= min(bench.limit or found.split_rows, found.split_rows)
        for found in timings.read(settings.runs_dir, run)
    )


DEMO = ExtractConfig(weights="random:0", image_size=64)
DEMO_MODEL = "resnet18"


@command(cli, "demo", "headstart demo")
def demo_command(settings: Settings) -> None:
    """The whole road on embedded data: offline, no download, under two minutes on two cores.

    1,797 scanned digits run through a ResNet18 with random weights, which is enough to see both stages work.
    """
    from headstart.core.cache.store import FeatureStore
    from headstart.core.heads.training import data

    started = time.perf_counter()
    out("STAGE ONE, extract: each image runs through the frozen backbone once, and its features are kept.")
    found = plan_jobs(settings, [DEMO_MODEL], "digits", [DEMO.weights], image_size=DEMO.image_size)
    made = extract_all(settings, found)
    out()
    out("STAGE TWO, train-head: a small head learns from the kept features. No image is read, no backbone runs.")
    digest = made[0].features.manifest.key.digest
    (pair,) = data.choose(
        data.pairs(FeatureStore(settings.features_dir), None, digest), [DEMO_MODEL], settings.features_dir
    )
    (run,) = train_heads(settings, pair, [RECIPES["standard"]])
    out()
    out("END TO END, bench-inference: raw images to labels through backbone and head, timed apart from training.")
    from headstart.core.heads.runs import RunStore
    from headstart.core.heads.training.session import load_head

    chosen = Chosen(load_head(run, RunStore(settings.runs_dir)), run, run.name)
    timing = bench_one(settings, chosen, None, (), ("auto", None), EXTRACT.workers, BenchConfig(limit=200))
    out()
    out(f"Done in {time.perf_counter() - started:.0f} s. Train again with other settings, it takes seconds:")
    out("    headstart train-head --model resnet18 --dataset digits --head linear")
    out("Then the real thing, with pretrained weights, on CIFAR-10 or on a folder of your own pictures:")
    out("    headstart extract --model resnet50 --dataset cifar10 --limit 24000")
    out("    headstart extract --model resnet50 --dataset folder:PATH")
    document(
        settings,
        {"accuracy": run.evaluation.overall.accuracy, "train_s": run.elapsed_s, "bench": dataclasses.asdict(timing)},
    )


# --------------------------------------------------------------------------------------------- models and cache


@cli.group(cls=Commands, invoke_without_command=True, epilog="Example: headstart models show resnet50")
@click.pass_context
def models(ctx: click.Context) -> None:
    """The backbones: feature dimension, parameters, operations, weights and their published accuracy."""
    if ctx.invoked_subcommand is None:
        _list_models()


def _list_models() -> None:
    from headstart.core.extract import text
    from headstart.core.extract.backbones import BACKBONES
    from headstart.core.extract.backbones.summary import published_accuracies, summarise

    found = [
        (backbone, summarise(backbone, EXTRACT.image_size), published_accuracies(backbone))
        for backbone in BACKBONES.values()
    ]
    out(text.backbones(found, EXTRACT.image_size))


@command(models, "show", "headstart models show resnet50")
@click.argument("name")
@image_size_option
def show_model_command(settings: Settings, name: str, image_size: int) -> None:
    """The layers of a backbone: output shape, parameters, operations for one image."""
    from headstart.core.extract import text
    from headstart.core.extract.backbones import get_backbone
    from headstart.core.extract.backbones.summary import summarise

    backbone = get_backbone(name)
    found = summarise(backbone, image_size)
    out(text.layers(backbone, found, image_size))
    document(settings, {"model": name, "feature_dim": backbone.feature_dim, **dataclasses.asdict(found)})


@cli.group(cls=Commands, epilog="Example: headstart cache ls")
def cache() -> None:
    """What is in the features directory, and where it came from."""


@command(cache, "ls", "headstart cache ls")
def list_command(settings: Settings) -> None:
    """The feature sets: rows, size, precision, weights, age, and whether they are complete."""
    from headstart.core.cache import text
    from headstart.core.cache.store import FeatureStore
    from headstart.core.cache.verify import survey

    entries = survey(FeatureStore(settings.features_dir))
    nothing = f"{settings.features_dir}: no feature sets; make one with `headstart extract`"
    out(text.listing(entries, datetime.datetime.now(datetime.UTC)) if entries else nothing)
    document(settings, [_entry_facts(entry) for entry in entries])


def _entry_facts(entry: Entry) -> dict[str, Any]:
    facts = {"folder": str(entry.folder), "state": entry.state, "bytes": entry.nbytes}
    return facts if entry.features is None else facts | dataclasses.asdict(entry.features.manifest)


@command(cache, "show", "headstart cache show cifar10-train-resnet50-1a2b3c4d")
@click.argument("name")
def show_set_command(settings: Settings, name: str) -> None:
    """All that is known of one feature set."""
    from headstart.core.cache import text
    from headstart.core.cache.store import FeatureStore

    found = FeatureStore(settings.features_dir).get(name)
    out(text.description(found))
    document(settings, {"folder": str(found.folder), **dataclasses.asdict(found.manifest)})


@command(cache, "verify", "headstart cache verify")
@click.argument("names", nargs=-1)
def verify_command(settings: Settings, names: tuple[str, ...]) -> None:
    """Read everything and say what is wrong and where; all sets by default. The exit code is 1 if anything is."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.cache.verify import folders, problems

    store = FeatureStore(settings.features_dir)
    chosen = [settings.features_dir / name for name in names] or folders(store)
    found = {folder.name: problems(folder) for folder in chosen}
    for name, faults in found.items():
        out(f"{name}: {'damaged' if faults else 'whole'}")
        for fault in faults:
            note(f"headstart: {fault}")
    document(settings, found)
    if any(found.values()):
        sys.exit(1)


@command(cache, "rm", "headstart cache rm cifar10-train-resnet50-1a2b3c4d")
@click.argument("names", nargs=-1, required=True)
def remove_command(settings: Settings, names: tuple[str, ...]) -> None:
    """Remove feature sets. They can be computed again, at the price of their extraction."""
    from headstart.core.cache.store import FeatureStore
    from headstart.core.cache.text import megabytes

    store = FeatureStore(settings.features_dir)
    freed = {name: store.remove(name, lambda: note("another process is writing the set; waiting for it")) for name in names}
    for name, size in freed.items():
        out(f"{name}: removed, {megabytes(size)} freed")
    document(settings, freed)


@command(cache, "export", "headstart cache export cifar10-train-resnet50-1a2b3c4d features.npy")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dtype", type=click.Choice(["float32", "float16"]), help="Of the features. [default: as they are kept]")
def export_command(settings: Settings, name: str, path: Path, dtype: str | None) -> None:
    """One set in one piece for other tools: PATH ends in .h5, .npy (a pair of files) or .parquet (needs pyarrow).

    Features of bf16 and fp16 are kept as float16, which some tools can't show: give --dtype float32 for those.
    """
    from headstart.core.cache.export import export
    from headstart.core.cache.store import FeatureStore

    written = export(FeatureStore(settings.features_dir).get(name), path, dtype)
    for file in written:
        out(file)
    document(settings, [str(file) for file in written])


def main() -> None:
    """The entry point of the console script."""
    cli(prog_name="headstart")


if __name__ == "__main__":
    main()
