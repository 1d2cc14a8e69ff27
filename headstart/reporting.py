"""The report of runs: gathered from runs, features and pictures, and written as a page, Markdown, CSV and JSON.

Nothing is found by a name alone: features by their digest, pictures by the digest of the images, analyses and timings by
all that they depend on.
"""

import dataclasses
import datetime
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from headstart.auditing.files.beside import with_twins_of
from headstart.commands import made_by, trained_by
from headstart.core.cache.corrected_sets import as_made, by_digest
from headstart.core.cache.errors import HeadstartError, RunNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import canonical_json, write_durably
from headstart.core.cache.text import listed, safe
from headstart.core.extract import datasets
from headstart.core.extract.featurise import expand
from headstart.core.extract.images import Images
from headstart.core.extract.images.contents import same_images
from headstart.core.extract.pictures import thumbnails as gallery
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.heads import timings
from headstart.core.heads.audit.kept import KeptAudit, kept
from headstart.core.heads.predict import Photo, Wanted
from headstart.core.heads.report.audited import corrected_by, is_current
from headstart.core.heads.report.csv_file import to_csv
from headstart.core.heads.report.evaluation import Predictions, evaluated
from headstart.core.heads.report.facts import Photograph, Report, Section, TitledImage, with_ids, with_pictures
from headstart.core.heads.report.facts import Preprocessing as PreprocessingFigure
from headstart.core.heads.report.grouping import Group, GroupedRuns, grouped
from headstart.core.heads.report.json_file import to_json
from headstart.core.heads.report.markdown.document import to_markdown
from headstart.core.heads.report.page.document import to_html
from headstart.core.heads.report.published import STUDY
from headstart.core.heads.report.row import Row, row_of
from headstart.core.heads.runs import Run, RunStore, versions
from headstart.core.heads.statistics.maps import FeatureMap, feature_map
from headstart.core.heads.study.analysis_store import AnalysisStore
from headstart.core.heads.timings import Timing
from headstart.inference.prediction import label_files
from headstart.inference.trained import of_run
from headstart.observer import Observer
from headstart.requests import InferenceOptions, ReportRequest
from headstart.tested import completed, tested
from headstart.tidying import outdated as older_of
from headstart.workspace import Workspace

THUMBNAIL = 96
"""The side of a test image's picture in the report, in pixels."""


@dataclasses.dataclass(frozen=True)
class _Sources:
    """Where a report's facts come from: the feature sets by digest, the heads with their timings, the analyses, the files
    of outside photographs, the names of heads that are older than their features, and the audits by data set."""

    workspace: Workspace
    request: ReportRequest
    observer: Observer
    sets: Mapping[str, FeatureSet]
    store: RunStore
    analyses: AnalysisStore
    photos: Sequence[Path]
    older: Collection[str]
    audits: Mapping[str, KeptAudit | None]

    def is_older(self, part: GroupedRuns) -> bool:
        """Whether all its heads are."""
        return all(run.name in self.older for group in part.groups for run in group.runs)


def report(workspace: Workspace, request: ReportRequest, observer: Observer) -> Report:
    """Compare every run there is. Raises what `compare` raises."""
    return compare(workspace, RunStore(workspace.runs_dir).runs(), request, observer)


def compare(workspace: Workspace, runs: Sequence[Run], request: ReportRequest, observer: Observer) -> Report:
    """Compare these runs, oldest first, and keep the comparison as report.html, .md, .csv and .json.

    Raises RunNotFound where there is no run, DataNotFound for photographs that are not there, what `label_files` raises,
    RunDamaged, FeaturesDamaged, OSError.
    """
    if not runs:
        raise RunNotFound(f"{workspace.runs_dir}: no trained head to report on; make one with `headstart train-head`")
    made, folder = _gathered(workspace, runs, request, observer), request.folder(workspace.runs_dir)
    for suffix, text in {"md": to_markdown(made), "csv": to_csv(made, runs), "html": to_html(made)}.items():
        write_durably(folder / f"report.{suffix}", text.encode("utf-8", "surrogateescape"))
    # not indented: 1,000 classes would take 38 MB
    write_durably(folder / "report.json", canonical_json(to_json(made)) + b"\n")
    return made


def _gathered(workspace: Workspace, runs: Sequence[Run], request: ReportRequest, observer: Observer) -> Report:
    photos = expand([str(request.photos)]) if request.photos is not None else []
    older = older_of(workspace, runs)
    runs = [dataclasses.replace(run, notes=(*run.notes, older[run.name])) if run.name in older else run for run in runs]
    sets = by_digest(workspace.features_dir)
    store, analyses = RunStore(workspace.runs_dir), AnalysisStore(workspace.runs_dir)
    audits = {name: kept(workspace.runs_dir, name) for name in {run.key.dataset for run in runs}}
    sources = _Sources(workspace, request, observer, sets, store, analyses, photos, older.keys(), audits)
    found = grouped(runs, {digest: features.manifest for digest, features in sets.items()})
    current = [part for part in found if not sources.is_older(part)]
    replaced = [part for part in reversed(found) if sources.is_older(part)]
    images = [(part, _images(part, sources)) for part in (*current, *replaced)]
    if changed := sum(it is None for part, (it, _) in images if sources.is_older(part)):
        which, theirs = ("1 older snapshot", "its part") if changed == 1 else (f"{changed} older snapshots", "their parts")
        observer.note(
            f"the pictures of {which} are no longer there as they were: {theirs} of the report "
            f"{'has' if changed == 1 else 'have'} no pictures"
        )
    sections = [_section(part, its, sources) for part, its in images]
    there = {part.dataset for part in current}
    return Report(
        sections=tuple(
            dataclasses.replace(section, replaced=sources.is_older(part) and part.dataset in there)
            for section, (part, _) in zip(sections, images, strict=True)
        ),
        hardware="; ".join(dict.fromkeys(run.device for run in runs)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )


def _section(part: GroupedRuns, its_images: tuple[Images | None, str], sources: _Sources) -> Section:
    tested = [_tested(group, sources) for group in part.groups]
    timed = [_timing(sources.store, group) for group in part.groups]
    (images, place), audit = its_images, None if sources.is_older(part) else sources.audits[part.dataset]
    rows = tuple(_row(*one, place, sources) for one in zip(part.groups, timed, tested, strict=True))
    there = [found for found in tested if found is not None]
    photos = _labelled(part, sources) if sources.photos else []
    section = Section(
        title=part.title,
        dataset=part.dataset,
        split=part.groups[-1].first.test.split,
        classes=part.classes,
        rows=rows,
        photos=tuple(Photograph(photo, _photograph(photo)) for photo in photos),
        maps=_maps(there),
        stages={
            group.model: dict(timing.stages_s)
            for group, timing in zip(part.groups, timed, strict=True)
            if timing and timing.stages_s
        },
        batch_norm=sources.analyses.batch_norm(part.images),
        published=STUDY if any(row.published for row in rows) else None,
        audit=audit,
        audit_outdated=audit is not None and not is_current(audit, part),
        corrected_by=corrected_by(part),
    )
    section = with_ids(evaluated(section, there), _ids(there))
    return section if images is None else _with_pictures(section, images, part, sources)


def _ids(tested: Sequence[Predictions]) -> dict[int, str]:
    """The ids of the test images by row; a byte of a name that is no UTF-8 stays as it is."""
    return {
        row: name.decode("utf-8", "surrogateescape")
        for found in tested
        if found.testing.ids is not None
        for row, name in zip(found.testing.rows.tolist(), found.testing.ids.tolist(), strict=True)
    }


def _labelled(part: GroupedRuns, sources: _Sources) -> list[Photo]:
    """The outside photographs with the labels of the first head of each group."""
    heads = [of_run(sources.workspace, group.first) for group in part.groups]
    options = InferenceOptions(sources.request.weights)
    return label_files(sources.workspace, heads, sources.photos, options, Wanted(1), sources.observer)


def _row(group: Group, timing: Timing | None, tested: Predictions | None, place: str, sources: _Sources) -> Row:
    row = row_of(tested.group, timing, tested.interval) if tested else row_of(group, timing)
    there = (sources.sets[one].manifest for one in group.first.digests if one in sources.sets)
    options = made_by(group.first.key, place, tuple(there))
    folder = str(sources.store.root / group.first.name)
    again = trained_by(group.first.key, group.first.config)
    outdated = any(run.name in sources.older for run in group.runs)
    return dataclasses.replace(row, folder=folder, place=place, made_by=options, trained_by=again, outdated=outdated)


def _timing(store: RunStore, group: Group) -> Timing | None:
    found = [timings.of_the_run(run, timings.read(store.root, run)) for run in group.runs]
    return max((timing for timing in found if timing), key=lambda timing: (timing.images, timing.created), default=None)


def _tested(group: Group, sources: _Sources) -> Predictions | None:
    """The group's heads on the rows that they were tested on, or None where their features are not there."""
    features = sources.sets.get(group.first.test.digest)
    if features is None:
        sources.observer.note(
            f"{group.first.name}: the features it was tested on are not in the features directory; it is in Table 1 only"
        )
        return None
    try:
        found = tested(group.runs, features, sources.store)
    except RunNotFound as error:
        sources.observer.note(f"{error}; it is in Table 1 only")
        return None
    whole, audit = map(completed, group.runs, found.outcomes), sources.audits[group.first.key.dataset]
    told = zip(whole, found.outcomes, strict=True)
    runs = tuple(with_twins_of(audit, run, outcomes, found.testing.rows) for run, outcomes in told)
    labelled = np.stack([one.predicted for one in found.outcomes])
    group, about = dataclasses.replace(group, runs=runs), sources.analyses.about(group.first)
    return Predictions(group, found.outcomes[0].probabilities, labelled, found.testing, about)


def _maps(tested: Sequence[Predictions]) -> dict[str, FeatureMap | None]:
    """A map of each model's features, whatever its heads; rows are numbered as in the split."""
    by_model = {found.group.model: found.testing for found in tested}
    return {model: feature_map(it.features, it.labels, it.rows) for model, it in by_model.items()}


def _with_pictures(section: Section, images: Images, part: GroupedRuns, sources: _Sources) -> Section:
    """The section with the test images that it shows, where they can be read."""
    shown = with_pictures(section, lambda row: _thumbnail(images, row))
    try:
        before_after = gallery.figure_1(images, 0, Preprocessing.of_key(part.groups[-1].first.key))
    except (HeadstartError, ValueError) as error:
        sources.observer.note(f"no figure of the preprocessing in the report: {error}")
        return shown
    figure = PreprocessingFigure(
        f"Image 0 of {section.dataset} on its way to the backbone.",
        tuple(TitledImage(title, gallery.data_uri(png)) for title, png in before_after),
    )
    return dataclasses.replace(shown, preprocessing=figure)


def _images(part: GroupedRuns, sources: _Sources) -> tuple[Images | None, str]:
    """The images that the heads were tested on, where they are still the same, and their place as `--dataset` takes it:
    where the user says, or where the features found them."""
    kind = datasets.kind_of(part.dataset)
    unknown = f"{kind}:PATH" if kind else part.dataset
    features = sources.sets.get(part.groups[-1].first.test.digest)
    if features is None:
        return None, unknown
    manifest, reasons, data_dir = as_made(features.manifest, sources.sets), [], sources.workspace.data_dir
    asked = [sources.request.dataset] if sources.request.dataset else []
    for place in dict.fromkeys([*asked, *datasets.recorded_places(manifest)]):
        try:
            if (splits := datasets.splits(place, manifest.split, data_dir)) != (manifest.split,):
                reasons.append(f"{safe(place)} is divided into {listed(splits)} by now")
                continue
            images = datasets.open_split(place, manifest.split, data_dir).in_order(manifest.provenance.order)
            if same_images(images, manifest):
                return images, place
            reasons.append(f"{images.source} holds other images than the features are of")
        except (HeadstartError, OSError) as error:
            reasons.append(str(error))
    if not sources.is_older(part):  # what is older is said of all of them at once
        sources.observer.note(f"no images of {part.title} in the report: {reasons[0]}; say where they are with --dataset")
    return None, unknown


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
