"""What a card says of a head before any figure: what it is, what it learned from, and how it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.core.extract import datasets
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.heads.report import more_pictures, tried
from headstart.core.heads.report.markdown.text import table
from headstart.core.heads.report.units import percent
from headstart.core.heads.settings import settings_label
from headstart.export.card.text import code, plain

if TYPE_CHECKING:
    from headstart.core.heads.protocol import Protocol
    from headstart.core.heads.runs import Extraction
    from headstart.core.heads.selection.record import Selection
    from headstart.inference.trained import TrainedHead

UNRECORDED = "Not known: no run record (`run.json`) lies beside the head."
MOST_NAMES = 50
"""Classes that are named where they have no line of their own."""
MOST_TRIED = 10
_LABELLED = {
    "folder": "of each picture the name of the sub-folder that it lies in",
    "list": "of each picture a column of a table",
    "parquet": "of each picture a column of a table",
    "hf": "of each picture a column of a data set of the Hugging Face Hub",
    "npz": "an array beside the pictures",
    "tar": "a file beside each picture in the archives",
}
"""Where the labels of a user's own data set came from, by its kind."""


def introduction(head: TrainedHead) -> str:
    """What it is, in a sentence and a table."""
    key, found = head.checkpoint.key, head.checkpoint.head
    lead = (
        f"An image classifier of {len(head.checkpoint.classes):,} classes: a head ({found.kind}) on features of a frozen "
        f"backbone, {code(key.backbone)}, whose weights were not changed. Made by headstart"
    )
    rows = [
        ("backbone", f"{code(key.backbone)}, weights {code(key.weights)}"),
        ("features", f"{found.dim:,} numbers a picture: {plain(key.pooling)}, computed in {plain(key.precision)}"),
        ("pictures", f"{plain(Preprocessing.of_key(key).words)}, as RGB"),
        ("normalisation", f"mean {_numbers(key.mean)}, standard deviation {_numbers(key.std)} of values from 0 to 1"),
        ("head", f"{found.kind}: {plain(settings_label(found.config))}"),
        ("classes", _names(head.checkpoint.classes)),
    ]
    if head.run is not None:
        words = ", ".join(f"{name} {version}" for name, version in head.run.versions.items())
        rows += [
            ("run", code(head.run.name)),
            ("made", f"{plain(head.run.created[:16].replace('T', ' '))} UTC on {plain(head.run.device)}"),
        ]
        rows += [("versions", plain(words))]
    return f"{lead}.\n\n{table(('', ''), rows)}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _names(classes: tuple[str, ...]) -> str:
    """The names in index order; of many the first, and how many more."""
    more = f" and {len(classes) - MOST_NAMES:,} more" if len(classes) > MOST_NAMES else ""
    return ", ".join(map(code, classes[:MOST_NAMES])) + more


def data(head: TrainedHead) -> str:
    """The data set, its rows, where the labels are from, and the digests of all that went in."""
    key, run = head.checkpoint.key, head.run
    labels = _LABELLED.get(datasets.kind_of(key.dataset) or "", "those of the data set")
    lines = [f"Data set: {code(key.dataset)}. Labels: {labels}; whether somebody checked them is not known."]
    digests = [
        ("weights of the backbone", key.weights_sha256),
        ("how features are computed", key.feature_key.digest),
    ]
    if run is None:
        lines += [f"Training rows: {head.checkpoint.head.rows:,}. {UNRECORDED}"]
    else:
        held = f" and {run.val_rows:,} to choose the epoch" if run.val_rows else ""
        chosen = f" The {run.val.rows:,} validation images chose the head." if run.val is not None else ""
        tested = f"tested on {run.evaluation.overall.total:,}"
        lines += [f"Images: trained on {run.train_rows:,}{held}, {tested}.{chosen} Those of each class are counted below."]
        parts = [("trained on", run.train), ("tested on", run.test), ("chosen on", run.val)]
        digests += [one for words, part in parts if part is not None for one in _digests(words, part)]
        digests += [("head.safetensors", run.head_sha256)]
    shown = table(("SHA-256 of", ""), [(words, code(digest)) for words, digest in digests if digest])
    return "\n\n".join([*lines, shown])


def _digests(words: str, part: Extraction) -> list[tuple[str, str]]:
    return [(f"features {words}", part.digest), (f"images {words}, in their order", part.used)]


def protocol(head: TrainedHead) -> str:
    """How the head was chosen, trained and tested."""
    run = head.run
    if run is None:
        return UNRECORDED
    lines = [_tested(run.evaluated_by, run.evaluation.overall.total)]
    lines += [_tried(run.selection)] if run.selection else ["Head and settings were given, nothing was chosen among heads."]
    kept = f" Of {len(run.losses)} epochs, epoch {run.best_epoch} was kept." if run.best_epoch else ""
    seed = f"Seed {run.config.seed}." if run.config.random else "The same for every seed."
    lines += [f"{seed}{kept}"]
    if run.curve is not None:
        lines += [f"Few-shot curve: {plain(more_pictures.sentence(run.curve))}"]
    return "\n\n".join(lines)


def _tested(by: Protocol, total: int) -> str:
    """On which rows the figures below were measured."""
    if not by.cross_validated:
        what = "the data set's own test split" if by.kind == "test split" else "a part of the data set that was held out"
        return f"Tested on {what}, {total:,} images, which chose nothing and were not trained on."
    times = "" if by.repeats == 1 else f", {by.repeats} times over"
    spread = "" if by.deviation is None else f"; the standard deviation of the accuracy is {100 * by.deviation:.1f} points"
    return (
        f"Tested by cross-validation of {by.folds} folds{times}{spread}: each of the {total:,} images was predicted once "
        f"by a head that did not see it. The head that is kept was trained on all of them."
    )


def _tried(found: Selection) -> str:
    """The best of what was tried, the chosen one among them."""
    shown = tried.lines(found, MOST_TRIED)
    body = [
        (
            "chosen" if it.chosen else "",
            it.head,
            plain(it.settings) if it.settings else "the recipe's",
            it.log_loss,
            percent(it.accuracy),
        )
        for it in shown
    ]
    more = len(found.tried) - len(shown)
    rest = f" The run record has {more:,} more." if more else ""
    lead = f"{len(found.tried):,} tried on {tried.on_rows(found)}; chosen is {tried.rule(found)}.{rest}"
    return f"{lead}\n\n{table(('', 'head', 'settings', 'log loss', 'accuracy'), body)}"
