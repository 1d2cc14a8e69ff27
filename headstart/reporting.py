"""A report's facts: from runs, features and pictures to one document, which every rendering shows.

Nothing is found by a name alone: features by their digest, pictures by the digest of the images, answers and timings by all
that they depend on.
"""

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.cache.errors import HeadstartError
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import canonical_json, write_durably
from headstart.core.cache.manifest import Manifest
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.images import Images
from headstart.core.extract.images.unchanged import same_images
from headstart.core.extract.pictures import thumbnails as gallery
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.heads import data, timings
from headstart.core.heads.data import Labelled
from headstart.core.heads.predict import Photo
from headstart.core.heads.report import answers
from headstart.core.heads.report import markdown as report_answers
from headstart.core.heads.report import tables as report
from headstart.core.heads.report.grouping import Group, Section, sections
from headstart.core.heads.report.page import document as page
from headstart.core.heads.report.tables import Part, Report
from headstart.core.heads.runs import Run, RunStore, versions
from headstart.core.heads.statistics import maps
from headstart.core.heads.study.answer_store import AnswerStore
from headstart.core.heads.timings import Timing
from headstart.core.heads.training.session import load_head
from headstart.core.heads.training.train import probabilities
from headstart.workspace import Note, Workspace

THUMBNAIL = 96
"""The side of a test image's picture in the report, in pixels."""

Label = Callable[[Sequence[Run]], list[Photo]]
"""Labels the outside photographs with the heads of these runs."""

Facts = dict[str, Any]


def write(
    workspace: Workspace, runs: Sequence[Run], output: Path, label: Label | None, dataset: str | None, note: Note
) -> Facts:
    """Compare the runs, oldest first, and keep the comparison as report.html, .md, .csv and .json in `output`.

    `label` gives the outside photographs' labels; `dataset` says where the test images are, to show some. Returns the JSON
    document, with the Markdown under `markdown`. Raises RunDamaged, FeaturesDamaged, OSError.
    """
    sets = {found.manifest.digest: found for found in FeatureStore(workspace.features_dir).sets()}
    found = sections(runs, {digest: features.manifest for digest, features in sets.items()})
    made = [_section(workspace, section, sets, label, dataset, note) for section in found]
    document = Report(tuple(part for part, _ in made))
    facts = report.to_json(document)
    facts["sections"] = [base | more for base, (_, more) in zip(facts["sections"], made, strict=True)]
    facts |= {
        "hardware": "; ".join(dict.fromkeys(run.device for run in runs)),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    tables = {part.title: report_answers.to_markdown(more) for part, more in made}
    markdown = report.to_markdown(document, tables)
    files = {"md": markdown, "csv": report.to_csv(document, runs), "html": page.to_html(facts)}
    for suffix, text in files.items():
        write_durably(output / f"report.{suffix}", text.encode("utf-8", "surrogateescape"))
    write_durably(output / "report.json", canonical_json(facts) + b"\n")  # indented, 1,000 classes would take 38 MB
    return facts | {"markdown": markdown}


def _section(
    workspace: Workspace,
    section: Section,
    sets: Mapping[str, FeatureSet],
    label: Label | None,
    dataset: str | None,
    note: Note,
) -> tuple[Part, Facts]:
    store, kept = RunStore(workspace.runs_dir), AnswerStore(workspace.runs_dir)
    tested = [_tested(group, sets, store, kept, note) for group in section.groups]
    timed = [_timing(store, group) for group in section.groups]
    rows = [
        dataclasses.replace(
            report.row(group, timing, found.interval if found else None),
            folder=str(workspace.runs_dir / group.first.name),
        )
        for group, timing, found in zip(section.groups, timed, tested, strict=True)
    ]
    there = [found for found in tested if found is not None]
    photos = label([group.first for group in section.groups]) if label else []
    more = answers.facts(there)
    more |= {
        "dataset": section.dataset,
        "split": section.groups[-1].first.test.split,
        "classes": list(section.classes),
        "maps": _maps(there),
        "stages": {
            group.model: dict(timing.stages_s)
            for group, timing in zip(section.groups, timed, strict=True)
            if timing and timing.stages_s
        },
        "batch_norm": kept.batch_norm(section.images),
    }
    _add_pictures(workspace, section, more, sets, dataset, note)
    part = Part(section.title, tuple(rows), tuple(photos))
    more["photos"] = [{**vars(photo), "image": _photograph(photo)} for photo in photos]
    return part, more


def _timing(store: RunStore, group: Group) -> Timing | None:
    found = [timings.of_the_run(run, timings.read(store.root, run)) for run in group.runs]
    return max((timing for timing in found if timing), key=lambda timing: (timing.images, timing.created), default=None)


def _tested(
    group: Group, sets: Mapping[str, FeatureSet], store: RunStore, kept: AnswerStore, note: Note
) -> answers.Tested | None:
    """The group's heads on the rows that they were tested on, or None where their features are not there."""
    testing = _testing(group.first, sets)
    if testing is None:
        note(f"{group.first.name}: the features it was tested on are not in the features directory; it is in Table 1 only")
        return None
    heads = [load_head(run, store).head for run in group.runs]
    shares = [probabilities(head, testing.features, "cpu") for head in heads]
    labelled = np.stack([found.argmax(axis=1) for found in shares])
    return answers.Tested(group, shares[0], labelled, testing, kept.about(group.first))


def _testing(run: Run, sets: Mapping[str, FeatureSet]) -> Labelled | None:
    features = sets.get(run.test.digest)
    return data.testing(features) if features else None


def _maps(tested: Sequence[answers.Tested]) -> Facts:
    """A map of each model's features, whatever its heads; rows are numbered as in the split."""
    by_model = {found.group.model: found.testing for found in tested}
    return {model: maps.feature_map(found) for model, found in by_model.items()}


def _add_pictures(
    workspace: Workspace, section: Section, facts: Facts, sets: Mapping[str, FeatureSet], dataset: str | None, note: Note
) -> None:
    """Put the test images that are shown into the document, where they can be read and are still the same."""
    images = _images(workspace, section, sets, dataset, note)
    if images is None:
        return
    for one in _shown(facts):
        one["image"] = _thumbnail(images, one["row"])
    preprocessing = Preprocessing(image_size=section.groups[-1].first.key.image_size)
    try:
        before_after = gallery.figure_1(images, 0, preprocessing)
    except HeadstartError as error:
        note(f"no figure of the preprocessing in the report: {error}")
        return
    facts["figure_1"] = {
        "caption": f"Image 0 of {section.dataset} on its way to the backbone.",
        "images": [{"title": title, "image": gallery.data_uri(png)} for title, png in before_after],
    }


def _shown(facts: Facts) -> Iterator[Facts]:
    for settings in facts.get("models", {}).values():
        for one in settings.values():
            yield from one["mistakes"]
    yield from facts.get("disagreements", ())
    yield from maps.thumbnails(facts["maps"])


def _images(
    workspace: Workspace, section: Section, sets: Mapping[str, FeatureSet], dataset: str | None, note: Note
) -> Images | None:
    """The images that the section's heads were tested on: where `dataset` says, or where the features found them."""
    features = sets.get(section.groups[-1].first.test.digest)
    if features is None:
        return None
    manifest, reasons = features.manifest, []
    for place in dict.fromkeys([*([dataset] if dataset else []), *_places(section.dataset, manifest)]):
        try:
            (split,) = datasets.splits(place, manifest.split, workspace.data_dir)
            images = datasets.open_split(place, split, workspace.data_dir).in_order(manifest.provenance.order)
            if same_images(images, manifest):
                return images
            reasons.append(f"{images.source} holds other images than the features are of")
        except (HeadstartError, OSError) as error:
            reasons.append(str(error))
    note(f"no images of {section.title} in the report: {reasons[0]}; say where they are with --dataset")
    return None


def _places(name: str, manifest: Manifest) -> list[str]:
    """Where a data set may be, as `--dataset` would say it: a folder of pictures where it was when they were read."""
    if not name.startswith("folder-"):
        return [name]
    root = Path(manifest.provenance.data_from)
    folders = (root, root.parent) if manifest.split == "all" else (root.parent, root)  # a split is mostly a sub-folder
    return [f"folder:{folder}" for folder in folders]


def _thumbnail(images: Images, row: int) -> str | None:
    try:
        return gallery.data_uri(gallery.thumbnail(images, row, THUMBNAIL))
    except HeadstartError:  # a file that has gone since: the report shows its row without a picture
        return None


def _photograph(photo: Photo) -> str | None:
    try:
        return None if photo.error else gallery.data_uri(gallery.photograph(Path(photo.name)))
    except HeadstartError:
        return None
