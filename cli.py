"""The command line: each command is options, one call of `headstart`, and printing. The only file that prints.
Those beside the main road lie in `headstart/console/commands/`, and print through this file.

`python cli.py COMMAND` and `headstart COMMAND` are the same. What computes is imported inside the commands, so that help
is instant. Results go to stdout, progress and warnings to stderr; a known error is one line there and exit code 1.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from headstart import requests
from headstart.console import executor_options, group, options, study_options, training_options, view_options, words
from headstart.console.commands import audit, cache, export, models, review, serve
from headstart.console.options import POSITIVE, Settings, command, shown
from headstart.console.signals import Signals
from headstart.console.terminal import Terminal
from headstart.core.cache.text import safe
from headstart.core.extract.config import SPLITS, ExtractConfig, ExtractionRequest
from headstart.core.heads.config import BenchConfig
from headstart.core.heads.feature_choice import FeatureChoice

if TYPE_CHECKING:
    from headstart.core.extract.config import Views
    from headstart.core.heads.report.facts import Report

BENCH, STUDY = BenchConfig(), requests.StudyRequest()

# ---------------------------------------------------------------------------------------------------- printing


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


def emit_json(value: Any) -> None:
    """Strict JSON in one line; a byte that is no UTF-8, from a file name, is spelled as JSON's escape of it."""
    emit(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace").decode())


def document(settings: Settings, value: Any) -> None:
    """The last line of stdout with --json: one document."""
    if settings.json:
        emit_json(value)


SIGNALS = Signals(lambda said: os.write(2, said))


def terminal(settings: Settings) -> Terminal:
    """What shows the user how a command goes."""
    return Terminal(out, note, lambda: sys.stderr, SIGNALS, settings.verbose, emit_json if settings.json else None)


class Commands(group.Commands):
    """Commands that write to this process's terminal, those of other files too (`headstart.console.printing`)."""

    signals = SIGNALS

    def out(self, text: object) -> None:
        out(text)

    def note(self, text: str) -> None:
        note(text)

    def document(self, settings: Settings, value: Any) -> None:
        document(settings, value)

    def terminal(self, settings: Settings) -> Terminal:
        return terminal(settings)

    def results(self) -> TextIO:
        return sys.stdout


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="headstart")
def cli() -> None:
    """Run a frozen backbone over your images once, keep the features, train heads on them in seconds."""


# ------------------------------------------------------------------------------------------------ the two stages


@command(cli, "extract", "headstart extract --model resnet50 --dataset cifar10 --limit 24000")
@options.models_option
@options.dataset_option
@click.option("--split", type=click.Choice(SPLITS), help="[default: all that the data set has]")
@options.no_splits_option
@options.limit_option
@options.network_options
@options.pooling_options
@shown("--shard-rows", type=POSITIVE, default=ExtractConfig.shard_rows, help="Rows in each file.")
@options.on_error_option
@options.change_options
@view_options.view_options
@executor_options.executor_options
@training_options.corrections_option
@click.option("--dry-run", is_flag=True, help="Say what would be done and what is there.")
def extract_command(
    settings: Settings,
    models: tuple[str, ...],
    dataset: str,
    split: str | None,
    weights: tuple[str, ...],
    no_splits: bool,
    dry_run: bool,
    views: Views | None,
    view_seed: int | None,
    executor: str,
    corrections: Path | None,
    **config: Any,
) -> None:
    """Stage one: run a backbone over a data set once and keep the pooled features.

    What is already there is not computed again: an interrupted or shorter run is extended, and of pictures that changed
    only the new ones are computed. The rows of any other set are found by their pictures.
    """
    from headstart import extraction
    from headstart.estimating.jobs import estimates

    models = models or ExtractionRequest.models
    by = executor_options.executor_of(executor, config)
    asked = (dataset, split, weights, no_splits, ExtractConfig(**config), views, view_seed, by, corrections)
    request = ExtractionRequest(models, *asked)
    if dry_run:
        found = extraction.prospect(settings, request, terminal(settings))
        each = estimates(settings, found.surveys, terminal(settings)) if executor_options.is_asked() else []
        out("\n".join([words.extraction.prospect(found), *(words.estimates.estimate(one, by) for one in each)]))
        told = [words.estimates.estimate_json(one, by) for one in each]
        document(settings, [*words.extraction.prospect_json(found), *told])
    elif by.name == "array":
        shares = extraction.share(settings, request, terminal(settings))
        out("\n".join(map(words.extraction.share, shares)))
        document(settings, [words.extraction.share_json(one) for one in shares])
    else:
        made = extraction.extract(settings, request, terminal(settings))
        document(settings, [words.extraction.outcome_json(outcome) for outcome in made])


@command(cli, "choose", "headstart choose --dataset folder:PATH --models resnet18,resnet50", hidden=("runs_dir",))
@options.compared_models_option
@options.dataset_option
@options.no_splits_option
@options.sample_option
@options.group_by_option
@options.network_options
@options.on_error_option
def choose_command(settings: Settings, models: tuple[str, ...], **given: Any) -> None:
    """Which backbone for these pictures: a sample of the training images through each, and heads judged on that alone.

    The auto head is cross-validated on each backbone's features of the same images. What is recommended is the best one,
    or, where the difference may be chance, one that is clearly faster. Test images are not read. The features of the
    sample are kept, and `extract` goes on from them.
    """
    from headstart.choosing import comparison

    config, named = options.config_of(given), options.names_of(models)
    request = requests.ChoosingRequest(named or requests.ChoosingRequest.models, config=config, **given)
    found = comparison.choose(settings, request, terminal(settings))
    out(words.choosing.chosen(found))
    document(settings, words.choosing.chosen_json(found))


@command(cli, "train-head", "headstart train-head --model resnet50 --recipe standard")
@options.models_option
@click.option("--dataset", help="Only features of this data set: as `extract` takes it, or as `cache ls` shows it.")
@options.feature_options
@training_options.training_options
def train_head_command(settings: Settings, **given: Any) -> None:
    """Stage two: train a small head on kept features, test it, and save it.

    Without --model a head is trained for every model found in the features directory.
    """
    request = training_options.request_of(given)
    from headstart import training

    document(settings, [words.training.run_json(run) for run in training.train(settings, request, terminal(settings))])


# ------------------------------------------------------------------------------------------------- trained heads


@command(cli, "bench-inference", "headstart bench-inference --model resnet50 --limit 1000")
@options.models_option
@options.head_option
@click.option("--dataset", help="The data set to label; a folder must be given. [default: the head's own]")
@click.option("--limit", type=POSITIVE, help="The first N test images only.")
@options.inference_options
@options.engine_option
@shown("--warmup", type=click.IntRange(min=0), default=BENCH.warmup, help="Batches before timing.")
@shown("--repeats", type=POSITIVE, default=BENCH.repeats, help="Passes; their median counts.")
def bench_command(
    settings: Settings,
    models: tuple[str, ...],
    paths: tuple[Path, ...],
    dataset: str | None,
    limit: int | None,
    warmup: int,
    repeats: int,
    **given: Any,
) -> None:
    """Time inference end to end, from raw images to labels, over the test images.

    Batches follow each other without pauses; single images are timed too, and each stage by itself.
    """
    from headstart.inference import timing

    config = BenchConfig(warmup=warmup, repeats=repeats, limit=limit)
    request = requests.TimingRequest(dataset, requests.InferenceOptions(**given), config)
    found = timing.time_heads(settings, requests.HeadChoice(models, paths), request, terminal(settings))
    document(settings, [dataclasses.asdict(one) for one in found])


@command(cli, "predict", "headstart predict holiday/*.jpg --topk 3")
@click.argument("pictures", nargs=-1, required=True, metavar="PATHS...")
@options.models_option
@options.head_option
@shown("--topk", type=POSITIVE, default=3, help="Labels for each picture.")
@shown("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--compare", is_flag=True, help="The newest head of every model, side by side.")
@options.coverage_option
@options.views_option
@options.inference_options
def predict_command(
    settings: Settings, pictures: tuple[str, ...], topk: int, coverage: float | None, views: bool, **given: Any
) -> None:
    """Label pictures with a trained head: files, folders or patterns.

    The transform, the class names and the weights are those the head recorded. A picture that can't be read is
    reported and the others are still labelled; the exit code is then 1.
    """
    from headstart.core.heads.predict import Wanted
    from headstart.inference import prediction

    form, choice = given.pop("form"), requests.HeadChoice(given.pop("models"), given.pop("paths"), given.pop("compare"))
    wanted, inference = Wanted(topk, coverage, views), requests.InferenceOptions(**given)
    found = prediction.predict(settings, pictures, choice, inference, wanted, terminal(settings))
    if form == "csv":
        emit(words.predictions.as_csv(found.photos, coverage, views))
    elif form == "table":
        out(words.predictions.table(found.photos, found.titles, coverage))
    if form == "json" or settings.json:
        emit_json(words.predictions.as_json(found.photos, coverage))
    for caveat in found.caveats:
        note(f"note: {caveat}")
    for photo in found.unreadable:
        note(f"headstart: {photo.name}: {photo.error}")
    if found.unreadable:
        sys.exit(1)


# ---------------------------------------------------------------------------------------------- report and study


@command(cli, "report", "headstart report --photos holiday/")
@options.photos_option
@click.option("--dataset", help="Where the test images are, to show some. [default: the one the heads were trained on]")
@click.option("-o", "--output", type=options.Place("--output"), help="Folder for the files. [default: RUNS_DIR/report]")
@options.recorded_weights_option
def report_command(settings: Settings, **given: Any) -> None:
    """Every run in one comparison beside the published study: Markdown on stdout; .html, .md, .csv and .json files."""
    from headstart import reporting

    request = requests.ReportRequest(**given)
    print_report(settings, request, reporting.report(settings, request, terminal(settings)))


def print_report(settings: Settings, request: requests.ReportRequest, report: Report) -> None:
    """Print a report's Markdown, where its files are, and its document."""
    from headstart.core.heads.report.json_file import to_json
    from headstart.core.heads.report.markdown.document import to_markdown

    out(to_markdown(report).rstrip("\n"))
    note(f"written to {request.folder(settings.runs_dir)}/report.html, .md, .csv and .json")
    document(settings, to_json(report))


@command(cli, "study", "headstart study --photos holiday/")
@options.models_option
@options.dataset_option
@study_options.study_options
@options.network_options
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it would take here.")
@options.photos_option
def study_command(settings: Settings, models: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """The published study in one command, and its open questions answered: extract, train, time inference, report.

    Every step that is done already is kept, so an interrupted study goes on where it stopped, and a second one only draws.
    """
    request = requests.StudyRequest(models or STUDY.models, config=options.config_of(given), **given)
    (_plan_study if dry_run else _run_study)(settings, request)


def _plan_study(settings: Settings, request: requests.StudyRequest) -> None:
    from headstart.study.plan import outlook

    found = outlook(settings, request, terminal(settings))
    out(words.study.outlook(found))
    document(settings, words.study.outlook_json(found))


def _run_study(settings: Settings, request: requests.StudyRequest) -> None:
    from headstart import reporting
    from headstart.study import steps

    runs = steps.run(settings, request, terminal(settings))
    report = requests.ReportRequest(request.photos, request.dataset, weights=request.weights)
    print_report(settings, report, reporting.compare(settings, runs, report, terminal(settings)))


DEMO = ExtractionRequest(("resnet18",), "digits", weights=("random:0",), config=ExtractConfig(image_size=64))


@command(cli, "demo", "headstart demo")
def demo_command(settings: Settings) -> None:
    """The whole road on embedded data: offline, no download, under two minutes on two cores.

    1,797 scanned digits run through a ResNet18 with random weights, which is enough to see both stages work.
    """
    from headstart import extraction, training
    from headstart.inference import timing, trained

    started, shown_by = time.perf_counter(), terminal(settings)
    out("STAGE ONE, extract: each image runs through the frozen backbone once, and its features are kept.")
    outcomes = extraction.extract(settings, DEMO, shown_by)
    out("\nSTAGE TWO, train-head: a small head learns from the kept features. No image is read, no backbone runs.")
    choice = FeatureChoice(digest=outcomes[0].features.manifest.key.digest)
    (run,) = training.train(settings, requests.TrainingRequest(DEMO.models, "digits", choice), shown_by)
    out("\nEND TO END, bench-inference: raw images to labels through backbone and head, timed apart from training.")
    request = requests.TimingRequest(config=BenchConfig(limit=200))
    found = timing.time_head(settings, trained.of_run(settings, run), request, shown_by)
    out(f"\nDone in {time.perf_counter() - started:.0f} s. {words.training.AFTER_DEMO}")
    facts = {"accuracy": run.evaluation.overall.accuracy, "train_s": run.elapsed_s, "bench": dataclasses.asdict(found)}
    document(settings, facts)


cli.add_command(models.models)
cli.add_command(cache.cache)
export.register(cli)
serve.register(cli)
review.register(cli)
audit.register(cli)


def main() -> None:
    """The entry point of the console script."""
    cli(prog_name="headstart")


if __name__ == "__main__":
    main()
