"""`headstart cache`: what is in the features directory. What computes is imported inside the commands, so that help is
instant."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headstart.console import options, words
from headstart.console.group import Section
from headstart.console.options import POSITIVE, Settings, command
from headstart.console.printing import document, note, out
from headstart.core.cache.text import megabytes

if TYPE_CHECKING:
    from headstart.core.cache.store import FeatureStore


@click.group(cls=Section, epilog="Example: headstart cache ls")
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
    from headstart.core.cache import corrected_sets
    from headstart.core.cache.verify import survey

    entries, copies = survey(store_of(settings)), survey(corrected_sets.store_of(settings.features_dir))
    nothing = f"{settings.features_dir}: no feature sets; make one with `headstart extract`"
    out(words.sets.listing(entries, datetime.datetime.now(datetime.UTC)) if entries else nothing)
    if copies:
        out(words.sets.copies(copies))
    for name, said in tidying.older_heads(settings).items():
        note(f"{name}: {said}")
    document(settings, [words.sets.entry_json(entry) for entry in (*entries, *copies)])


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
    """Read everything and say what is wrong and where; all sets by default, and copies with corrected labels. The exit code
    is 1 unless all are whole: for a set that is not complete too, since nothing can be trained on it."""
    from headstart.core.cache import corrected_sets
    from headstart.core.cache.verify import folders, problems, state

    store, copies = store_of(settings), corrected_sets.store_of(settings.features_dir)
    named = [settings.features_dir / store.called(name) for name in dict.fromkeys(names)]
    chosen = named or [*folders(store), *folders(copies)]
    above = {copies.root: f"{corrected_sets.FOLDER}/"}
    found = {above.get(folder.parent, "") + folder.name: problems(folder) for folder in chosen}
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
    """Remove snapshots that a later one has replaced and that no trained head was made from; copies with corrected labels
    too."""
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
