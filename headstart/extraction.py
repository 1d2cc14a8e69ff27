"""Stage one: from a request to kept feature sets, or to what making them would take."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from headstart.commands import made_by
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import listed
from headstart.core.cache.views import asked_by
from headstart.core.extract import executors, reuse
from headstart.core.extract import plan as jobs
from headstart.core.extract import run as runs
from headstart.core.extract.config import LOCAL, Download, ExecutorConfig, ExtractConfig, ExtractionRequest
from headstart.core.extract.job import Job
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.reuse import Outlook
from headstart.core.extract.run import Outcome
from headstart.core.extract.weights.licences import caution, licence
from headstart.correcting.pairs import copies, decisions
from headstart.observer import Observer
from headstart.workspace import Workspace

if TYPE_CHECKING:
    from headstart.core.extract.executors.array import Share


_FEATURES_ALONE = (
    "is about features alone, and corrections change none; leave --corrections out, and give it to `headstart train-head`"
)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a job would do."""

    job: Job
    outlook: Outlook

    @property
    def rows(self) -> int:
        """Rows of the whole set."""
        return self.outlook.rows

    @property
    def rows_there(self) -> int:
        """Rows that need not be computed."""
        return self.outlook.rows_there

    @property
    def nbytes(self) -> int:
        """What the set's rows take on disk, in bytes."""
        return self.rows * self.job.row_bytes


@dataclasses.dataclass(frozen=True)
class Prospect:
    """What a command would do: what it would download, `surveys` of what can be told without, and the models that wait.

    `images` are the rows asked for of each split, where the data set is here.
    """

    downloads: tuple[Download, ...]
    surveys: tuple[Survey, ...]
    waiting: tuple[str, ...]
    images: tuple[tuple[str, int], ...] = ()


def extract(workspace: Workspace, request: ExtractionRequest, observer: Observer) -> list[Outcome]:
    """Make the feature sets complete, a set for each model, split and view; what is there already is not computed again.

    With `corrections` their corrected copies are made too. Raises what `extract.plan.plan`, `extract.run.extract`,
    `corrections.read` and `corrected_sets.make` raise.
    """
    return extracted(workspace, request, observer)[0]


def extracted(
    workspace: Workspace, request: ExtractionRequest, observer: Observer
) -> tuple[list[Outcome], list[FeatureSet]]:
    """What `extract` makes, and the sets with the labels that count: the corrected copies where decisions stand, else those
    that were made. Raises as `extract`."""
    if request.executor.name == "array":
        raise ArgumentInvalid(
            "--executor array: a call gives all features, and a task makes its share of them; `headstart extract "
            "--executor array --task 1/16` is one of 16 tasks"
        )
    decided = None if request.corrections is None else decisions(request.corrections, observer)
    found = checked(workspace, request, observer)
    made = run(workspace, found, observer, request.executor)
    sets = [one.features for one in made]
    if request.corrections is not None and decided is not None and decided.stands:
        sets = copies(sets, decided, request.corrections, observer)
    for text in _older_views(workspace, request, found, made):
        observer.note(text)
    return made, sets


def share(workspace: Workspace, request: ExtractionRequest, observer: Observer) -> list[Share]:
    """Make one task's share of each feature set asked for; the last task completes them. Raises what
    `extract.executors.array.share` raises."""
    from headstart.core.extract.executors import array

    if request.corrections is not None:
        raise ArgumentInvalid(f"--executor array: {_FEATURES_ALONE}")
    found, store = checked(workspace, request, observer), FeatureStore(workspace.features_dir)
    load = functools.partial(jobs.load, say=observer.note)

    def one(place: int, job: Job) -> Share:
        observer.extraction_starts(job)
        try:
            done = array.share(request.executor, job, load, store, observer, found[place + 1 :])
        finally:
            observer.end()
        if done.features is not None:
            _tell_of_pictures(job, done.features, observer)
        return done

    return [one(place, job) for place, job in enumerate(found)]


def _older_views(
    workspace: Workspace, request: ExtractionRequest, found: Sequence[Job], made: Sequence[Outcome]
) -> Iterator[str]:
    """For each way of computing what must be said of views that are kept, and that the command did not bring up to date."""
    store, plain = FeatureStore(workspace.features_dir), [job for job in found if not job.preprocessing.view]
    for key in dict.fromkeys(job.key for job in plain):
        jobs = [job for job in plain if job.key == key]
        kept = {one.manifest.key.view: one.manifest.key for job in jobs for one in reuse.older_views(job, store)}
        older = [own for view, own in kept.items() if asked_by([view])]  # a headstart to come may have others
        if not older:
            continue
        manifests = tuple(one.features.manifest for one in made if one.features.manifest.key == key)
        options = [*made_by(key, request.dataset, manifests), *(["--no-splits"] if request.no_splits else [])]
        options += ["--split", request.split] if request.split else []
        options += ["--on-error", request.config.on_error] if request.config.on_error != ExtractConfig.on_error else []
        asked = asked_by([own.view for own in older])
        commands = " and ".join(f"`{shlex.join(['headstart', 'extract', *options, *views])}`" for views in asked)
        yield (
            f"{key.backbone} {jobs[0].images.name}: older than the pictures are the views "
            f"{listed(sorted(own.view_words for own in older))}; {commands} {'bring' if len(asked) > 1 else 'brings'} them "
            f"up to date"
        )


def prospect(workspace: Workspace, request: ExtractionRequest, observer: Observer) -> Prospect:
    """What `extract` would do; nothing is computed, written or downloaded. Raises what `extract.plan.plan` raises."""
    if request.corrections is not None:
        raise ArgumentInvalid(f"--dry-run: {_FEATURES_ALONE}")
    executors.check(request.executor)
    models = jobs.expand_models(request.models)
    jobs.check_weights_asked(models, request.weights)
    data_set, files = jobs.lacking(request, workspace.data_dir)
    waiting = models if data_set else [model for model in models if model in files]
    ready = dataclasses.replace(request, models=tuple(model for model in models if model not in waiting))
    found = [survey_job(workspace, job) for job in plan(workspace, ready, observer)] if ready.models else []
    limit, there = request.config.limit, [] if data_set else jobs.opened(request, workspace.data_dir)
    images = tuple((one.split, min(one.rows, limit or one.rows)) for one in there)
    return Prospect((*([data_set] if data_set else []), *files.values()), tuple(found), tuple(waiting), images)


def survey_job(workspace: Workspace, job: Job) -> Survey:
    """What one job would do."""
    return Survey(job, reuse.survey(job, FeatureStore(workspace.features_dir)))


def checked(workspace: Workspace, request: ExtractionRequest, observer: Observer) -> list[Job]:
    """The jobs asked for. Raises WeightsMismatch too for `MODEL=WEIGHTS` of a model that is not asked for, ArgumentInvalid
    for an executor that there is not, or one that has not all of the options given."""
    executors.check(request.executor)
    jobs.check_weights_asked(jobs.expand_models(request.models), request.weights)
    return plan(workspace, request, observer)


def plan(workspace: Workspace, request: ExtractionRequest, observer: Observer) -> list[Job]:
    """The jobs asked for, on the workspace's device whatever the request says, and told once what must be said of them."""
    asked = dataclasses.replace(request, config=dataclasses.replace(request.config, device=workspace.device))
    found = jobs.plan(asked, workspace.data_dir, FeatureStore(workspace.features_dir))
    for key in dict.fromkeys(job.key.plain for job in found):
        warn_if_untrained(key, observer)
    remarks = [remark for job in found for remark in (*job.images.remarks, *job.images.notes, *job.device.notes)]
    remarks += [terms for job in found if (terms := _terms(job)) is not None]
    if asked.config.transform == "auto":
        remarks += squashed_before(found, FeatureStore(workspace.features_dir))
    for remark in dict.fromkeys(remarks):
        observer.remark(remark)
    return found


def squashed_before(found: Sequence[Job], store: FeatureStore) -> Iterator[str]:
    """What must be said where nobody chose a transform, and the features that are there are of squashed pictures, as once
    all were: these jobs don't go on with them."""
    for job in found:
        if job.key.transform == "squash" or job.preprocessing.view or store.folders(job.named, job.images.split):
            continue
        key = dataclasses.replace(job.named, resize=None, crop="squash", interpolation=Preprocessing.interpolation)
        if there := store.folders(key, job.images.split):
            yield (
                f"{job.title}: another set than {there[0].name}, whose pictures were squashed; by default they now go "
                f"through the weights' own transform: {job.preprocessing.words}; --transform squash goes on with that set"
            )


def _terms(job: Job) -> str | None:
    """What must be said of the licence of a job's weights; None for nothing, and for weights that nobody published."""
    found = caution(licence(job.backbone, job.weights.label)) if job.weights.label in job.backbone.checkpoints else None
    return None if found is None else f"{job.backbone.name} {job.weights.label}: {found}"


def warn_if_untrained(key: FeatureKey, observer: Observer) -> None:
    """Warn of a backbone whose weights are random numbers."""
    if key.untrained:
        observer.warn(f"{key.backbone} has UNTRAINED weights ({key.weights}): good for trying things out only")


def run(workspace: Workspace, found: Sequence[Job], observer: Observer, executor: ExecutorConfig = LOCAL) -> list[Outcome]:
    """Run a command's jobs in their order; the way of computing is chosen for all of them together."""
    return [run_job(workspace, job, found[place + 1 :], observer, executor) for place, job in enumerate(found)]


def run_job(
    workspace: Workspace, job: Job, later: Sequence[Job], observer: Observer, executor: ExecutorConfig = LOCAL
) -> Outcome:
    """Run one job, which `later` ones follow."""
    store = FeatureStore(workspace.features_dir)
    observer.extraction_starts(job)
    try:
        outcome = runs.extract(job, lambda job: jobs.load(job, observer.note), store, observer, later, executor)
    finally:
        observer.end()
    observer.extracted(job, outcome)
    if outcome.change is not None and outcome.change.before:
        observer.note(
            f"{job.title}: the snapshot before is kept as it was; `headstart cache gc` removes what no head needs"
        )
    _tell_of_pictures(job, outcome.features, observer)
    return outcome


def _tell_of_pictures(job: Job, features: FeatureSet, observer: Observer) -> None:
    """What must be said of a data set's pictures when all were read."""
    for remark in job.images.noticed():
        observer.remark(remark)
    if skipped := features.manifest.skipped:
        what = "image" if skipped == 1 else "images"
        show = shlex.join(["headstart", "cache", "show", features.folder.name])
        observer.note(f"{job.title}: {skipped} unreadable {what} left out; `{show}` lists them")
