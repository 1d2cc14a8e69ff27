"""The published study, step by step: extract, train, time inference, answer its questions, report.

A step that was done with the same settings on the same rows is not done again.
"""

from __future__ import annotations

import time

from headstart import extraction, training
from headstart.core.cache.errors import DataInvalid
from headstart.core.extract import plan as jobs
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import resolve
from headstart.core.heads import data
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Pair
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions.session import same
from headstart.core.heads.study import analyses
from headstart.core.heads.study.analyses import Budget
from headstart.core.heads.study.analysis_store import AnalysisKey, AnalysisStore
from headstart.inference import timing, trained
from headstart.observer import Answers, Observer
from headstart.requests import StudyRequest
from headstart.study.batch_norm.step import measure_cost
from headstart.workspace import Workspace


def run(workspace: Workspace, request: StudyRequest, observer: Observer) -> list[Run]:
    """Do what is still to do of the study; returns the run of each model and recipe, in their order.

    Raises what stage one, stage two and `timing.time_head` raise.
    """
    models, runs = models_of(request), list[Run]()
    for model in models:
        outcomes = extraction.run(workspace, plan_model(workspace, request, model, observer), observer)
        pair = training.pair_of(workspace, [outcome.features.manifest for outcome in outcomes])
        for config in request.trainings(pair.train.manifest.stop, pair.test is None):
            found = _trained(workspace, pair, config, observer)
            if not timing.is_timed(workspace, found, request.timing.config, request.timing.options.asked):
                timing.time_head(workspace, trained.of_run(workspace, found), request.timing, observer)
            _answer(workspace, pair, found, request.budget, observer)
            runs.append(found)
    if request.batch_norm_images:
        measure_cost(workspace, models, request, observer)
    return runs


def models_of(request: StudyRequest) -> list[str]:
    """The models of a study. Raises WeightsMismatch for unknown ones, and for weights of a model that is not among them."""
    models = jobs.expand_models(request.models)
    jobs.check_weights_asked(models, request.weights)
    return models


def plan_model(workspace: Workspace, request: StudyRequest, model: str, observer: Observer) -> list[Job]:
    """One model's jobs. Raises DataInvalid, before anything is computed, where no head could be trained on them."""
    found = extraction.plan(workspace, request.extraction(model), observer)
    images = found[0].images
    if len(images.classes) < 2:
        there = f"one class, {images.classes[0]}" if images.classes else "no classes"
        raise DataInvalid(f"{images.source}: has {there}; a study needs two or more, each a sub-folder of pictures")
    return found


def analysis_key(run: Run, budget: Budget) -> AnalysisKey:
    """What a study's analyses of a run's settings depend on."""
    return AnalysisKey(run.config, run.trained_on, run.test.digest, budget)


def _trained(workspace: Workspace, pair: Pair, config: TrainConfig, observer: Observer) -> Run:
    """The newest run with this configuration on these features, or a new one."""
    found = same(pair, config, RunStore(workspace.runs_dir))
    if found is None:
        (found,) = training.train_pair(workspace, pair, [config], observer)
    else:
        observer.study_trained(found)
    return found


def _answer(workspace: Workspace, pair: Pair, run: Run, budget: Budget, observer: Observer) -> None:
    """Answer the study's questions of one run's settings, unless the answers are there."""
    store, asked = AnalysisStore(workspace.runs_dir), analysis_key(run, budget)
    if store.get(asked) is not None:
        observer.study_answered(Answers(run, None))
        return
    parts = data.load(pair, run.config)
    assert parts.testing is not None, "a study's configurations hold out a part where there is no test split"
    task = analyses.Task(parts.training.learning, parts.testing, pair.key.classes, resolve(workspace.device, "fp32").name)
    started = time.perf_counter()
    store.put(asked, analyses.analyse(task, run.config, budget, lambda what: observer.note(f"{run.title}: {what}")))
    observer.study_answered(Answers(run, time.perf_counter() - started))
