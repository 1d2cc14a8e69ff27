"""What a study has still to do, and how long it takes here at the rates of short measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import Download
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import resolve
from headstart.core.extract.plan import lacking
from headstart.core.heads import data
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.core.heads.runs import RunStore
from headstart.core.heads.sessions.session import same
from headstart.core.heads.study import estimate
from headstart.core.heads.study.analysis_store import AnalysisStore
from headstart.core.heads.study.estimate import Plan
from headstart.estimating.rates import images_per_s
from headstart.extraction import Survey, survey_job
from headstart.inference import timing
from headstart.observer import ModelPlan, Observer
from headstart.requests import StudyRequest
from headstart.study.steps import analysis_key, models_of, plan_model
from headstart.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What a study would download, the plans of the models that wait for nothing, and the models that wait."""

    downloads: tuple[Download, ...]
    plans: tuple[Plan, ...]
    waiting: tuple[str, ...]

    @property
    def total_s(self) -> float:
        """Seconds of the plans."""
        return sum(one.total_s for one in self.plans)


def outlook(workspace: Workspace, request: StudyRequest, observer: Observer) -> Outlook:
    """What is to do, where nothing is downloaded for the answer. Raises what `plan` raises."""
    models = models_of(request)
    found = [lacking(request.extraction(model), workspace.data_dir) for model in models]
    waiting = [model for model, (data_set, files) in zip(models, found, strict=True) if data_set or files]
    downloads = [each for data_set, files in found for each in (*([data_set] if data_set else []), *files.values())]
    ready = [model for model in models if model not in waiting]
    return Outlook(tuple(dict.fromkeys(downloads)), tuple(plan(workspace, request, observer, ready)), tuple(waiting))


def plan(
    workspace: Workspace, request: StudyRequest, observer: Observer, models: Sequence[str] | None = None
) -> list[Plan]:
    """What is to do for each model, or for these of them, and its seconds; nothing is kept.

    The BatchNorm experiment and outside photographs are not in it. Raises what `steps.run` raises before it computes.
    """
    return [
        _plan(workspace, request, plan_model(workspace, request, model, observer), observer)
        for model in (models_of(request) if models is None else models)
    ]


def _plan(workspace: Workspace, request: StudyRequest, found: Sequence[Job], observer: Observer) -> Plan:
    surveys = [survey_job(workspace, job) for job in found]
    missing = {survey.job.title: survey.rows - survey.rows_there for survey in surveys}
    configs = request.trainings(surveys[0].rows, all(survey.job.images.split != "test" for survey in surveys))
    done = {
        config.recipe: (False, False) if any(missing.values()) else _done(workspace, request, found[0], config)
        for config in configs
    }
    images = found[-1].images
    timed = min(images.rows, request.bench_limit or images.rows) * sum(not timed for _, timed in done.values())
    made = Plan(
        model=found[0].backbone.name,
        missing=missing,
        timed=timed,
        images_per_s=images_per_s(found[0], observer.note) if timed or any(missing.values()) else None,
        heads_s=_heads_s(workspace, request, surveys, [config for config in configs if not done[config.recipe][0]]),
    )
    observer.study_planned(ModelPlan(made, tuple(done), request.seeds, images.split))
    return made


def _heads_s(
    workspace: Workspace, request: StudyRequest, surveys: Sequence[Survey], configs: Sequence[TrainConfig]
) -> dict[str, float]:
    """Seconds of each recipe's trainings, by the recipe's name."""
    job, classes = surveys[0].job, len(surveys[0].job.images.classes)
    step_s = estimate.measured(job.backbone.feature_dim, classes, resolve(workspace.device, "fp32").name)
    first, *others = (survey.rows for survey in surveys if survey.job.images.split != "val")
    train, test = estimate.divided([min(request.config.limit or first, first), *others])
    budget = request.budget
    return {
        config.recipe: estimate.seconds(estimate.trainings(config, budget, train, test, classes), step_s)
        for config in configs
    }


def _done(workspace: Workspace, request: StudyRequest, job: Job, config: TrainConfig) -> tuple[bool, bool]:
    """Whether a recipe's questions are answered, and whether its inference is timed; the features are all there."""
    pairs = data.pairs(FeatureStore(workspace.features_dir), [job.images.name], FeatureChoice(digest=job.key.digest))
    run = same(pairs[0], config, RunStore(workspace.runs_dir)) if len(pairs) == 1 else None
    if run is None:
        return False, False
    answered = AnalysisStore(workspace.runs_dir).get(analysis_key(run, request.budget)) is not None
    return answered, timing.is_timed(workspace, run, request.timing.config, request.timing.options.asked)
