"""The command line: each command is options, one call of `headstart`, and printing. The only file that prints.

`python cli.py COMMAND` and `headstart COMMAND` are the same. What computes is imported inside the commands, so that help
is instant. Results go to stdout, progress and warnings to stderr; a known error is one line there and exit code 1.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from headstart import requests
from headstart.console import executor_options, group, options, study_options, training_options, view_options, words
from headstart.console.options import POSITIVE, Settings, command, shown
from headstart.console.signals import Signals
from headstart.console.terminal import Terminal
from headstart.core.cache.text import megabytes, safe
from headstart.core.extract.config import SPLITS, ExtractConfig, ExtractionRequest
from headstart.core.heads.config import BenchConfig
from headstart.core.heads.feature_choice import FeatureChoice

if TYPE_CHECKING:
    from headstart.core.cache.store import FeatureStore
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
    """Commands that write to this process's terminal."""

    signals = SIGNALS

    def note(self, text: str) -> None:
        note(text)

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
    asked = (dataset, split, weights, no_splits, ExtractConfig(**config), views, view_seed, by)
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


# --------------------------------------------------------------------------------------------- models and cache


@cli.group(cls=Commands, otherwise="ls", epilog="Example: headstart models 'timm/*dinov2*'")
def models() -> None:
    """The backbones, or those that match a PATTERN: features, parameters, operations, weights and their licences."""


@command(models, "ls", "headstart models 'timm/convnext*'", hidden=options.NO_SETS)
@click.argument("pattern", required=False)
def list_models_command(settings: Settings, pattern: str | None) -> None:
    """Some backbones, or all whose names match a shell's pattern or have it in them."""
    from headstart.backbones.listing import listing

    out(words.backbones.listing(found := listing(pattern)))
    document(settings, dataclasses.asdict(found))


@command(models, "show", "headstart models show resnet50", hidden=options.NO_SETS)
@click.argument("name")
@click.option("--image-size", type=POSITIVE, help="Pixels, squared. [default: the backbone's own]")
def show_model_command(settings: Settings, name: str, image_size: int | None) -> None:
    """The layers of a backbone: output shape, parameters, operations for one image; its transform and its licences."""
    from headstart.backbones.showing import show

    out(words.backbones.layers(found := show(name, image_size)))
    document(settings, words.backbones.layers_json(found))


@cli.group(cls=Commands, epilog="Example: headstart cache ls")
def cache() -> None:
    """What is in the features directory, and where it came from."""


def store_of(settings: Settings) -> FeatureStore:
    """The feature sets that the options name."""
    from headstart.core.cache.store import FeatureStore

    return FeatureStore(settings.features_dir)


@command(cache, "ls", "headstart cache ls", hidden=("data_dir", "device"))
def list_command(settings: Settings) -> None:
    """The feature sets: rows, size, precision, weights, age, whether they are complete; and heads that are older."""
    from headstart import tidying
    from headstart.core.cache.verify import survey

    entries = survey(store_of(settings))
    nothing = f"{settings.features_dir}: no feature sets; make one with `headstart extract`"
    out(words.sets.listing(entries, datetime.datetime.now(datetime.UTC)) if entries else nothing)
    for name, said in tidying.older_heads(settings).items():
        note(f"{name}: {said}")
    document(settings, [words.sets.entry_json(entry) for entry in entries])


@command(cache, "show", "headstart cache show cifar10-train-resnet50-1a2b3c4d", hidden=options.NO_HEADS)
@click.argument("name")
def show_set_command(settings: Settings, name: str) -> None:
    """All that is known of one feature set."""
    found = store_of(settings).get(name)
    out(words.sets.description(found))
    document(settings, words.sets.set_json(found))


@command(cache, "verify", "headstart cache verify", hidden=options.NO_HEADS)
@click.argument("names", nargs=-1)
def verify_command(settings: Settings, names: tuple[str, ...]) -> None:
    """Read everything and say what is wrong and where; all sets by default. The exit code is 1 unless all are whole: for
    a set that is not complete too, since nothing can be trained on it."""
    from headstart.core.cache.verify import folders, problems, state

    store = store_of(settings)
    chosen = [settings.features_dir / store.called(name) for name in dict.fromkeys(names)] or folders(store)
    found = {folder.name: problems(folder) for folder in chosen}
    for name, faults in found.items():
        out(f"{name}: {state(settings.features_dir / name, faults)}")
        for fault in faults:
            note(f"headstart: {fault}")
    document(settings, found)
    if any(found.values()):
        sys.exit(1)


@command(cache, "rm", "headstart cache rm cifar10-train-resnet50-1a2b3c4d", hidden=options.NO_HEADS)
@click.argument("names", nargs=-1, required=True)
def remove_command(settings: Settings, names: tuple[str, ...]) -> None:
    """Remove feature sets. They can be computed again, at the price of their extraction."""
    store = store_of(settings)
    freed = {name: store.remove(name, lambda: note("another process is writing the set; waiting for it")) for name in names}
    for name, size in freed.items():
        out(f"{name}: removed, {megabytes(size)} freed")
    document(settings, freed)


@command(cache, "gc", "headstart cache gc --dry-run", hidden=("data_dir", "device"))
@click.option("--dry-run", is_flag=True, help="Say what would go.")
def gc_command(settings: Settings, dry_run: bool) -> None:
    """Remove snapshots that a later one has replaced and that no trained head was made from."""
    from headstart import tidying

    found = tidying.unneeded(settings) if dry_run else tidying.tidy(settings, lambda: note("waiting for another process"))
    out(words.sets.unneeded(found, dry_run))
    document(settings, {entry.folder.name: entry.nbytes for entry in found})


@command(cache, "export", "headstart cache export cifar10-train-resnet50-1a2b3c4d features.npy", hidden=options.NO_HEADS)
@click.argument("name")
@click.argument("path", type=options.Place("PATH", dir_okay=False))
@click.option("--dtype", type=click.Choice(["float32", "float16"]), help="Of the features. [default: as they are kept]")
def export_command(settings: Settings, name: str, path: Path, dtype: str | None) -> None:
    """One set in one piece for other tools: PATH ends in .h5, .npy (a pair of files) or .parquet (needs pyarrow).

    A .npy export leaves out the ids of the images, which .h5 and .parquet have. Features of bf16 and fp16 are kept as
    float16, those of untrained networks as float32; some tools can't show float16: give --dtype float32 for those.
    """
    from headstart.core.cache.export import export

    written = export(store_of(settings).get(name), path, dtype)
    for file in written:
        out(file)
    document(settings, [str(file) for file in written])


@command(cache, "missing", "headstart cache missing cifar10-train-resnet50-1a2b3c4d --array", hidden=options.NO_HEADS)
@click.argument("name")
@click.option("--array", is_flag=True, help="Only the numbers of the tasks, as Slurm takes them: 3,17-19.")
@click.option("--array-size", type=POSITIVE, help="How many tasks share the shards. [default: as many as shards]")
def missing_command(settings: Settings, name: str, array: bool, array_size: int | None) -> None:
    """What is left of a set that the tasks of a job array make. With --array an empty line says that nothing is left."""
    from headstart.core.cache.assembly import missing

    found = missing(store_of(settings), name, array_size)
    out(found.array if array else words.extraction.missing(found))
    document(settings, words.extraction.missing_json(found))


@command(cache, "assemble", "headstart cache assemble cifar10-train-resnet50-1a2b3c4d", hidden=options.NO_HEADS)
@click.argument("name")
def assemble_command(settings: Settings, name: str) -> None:
    """Check the shards that the tasks of a job array have made, and write the set's manifest; the last task does it too."""
    from headstart.core.cache.assembly import assemble

    found = assemble(store_of(settings), name, lambda: note("another process is writing the set; waiting for it"))
    out(f"{found.folder.name}: complete, {words.sets.shape(found)}, every shard checked")
    document(settings, words.sets.set_json(found))


def main() -> None:
    """The entry point of the console script."""
    cli(prog_name="headstart")


if __name__ == "__main__":
    main()
