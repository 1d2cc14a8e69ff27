"""The report that a request asks for: which runs it compares, and the outside photographs that their heads label."""

from __future__ import annotations

from collections.abc import Sequence

from headstart import reporting
from headstart.core.cache.errors import RunNotFound
from headstart.core.extract.featurise import expand
from headstart.core.heads.predict import Photo, Wanted
from headstart.core.heads.report.facts import Report
from headstart.core.heads.runs import Run, RunStore
from headstart.observer import Observer
from headstart.prediction import label_files
from headstart.requests import InferenceOptions, ReportRequest
from headstart.trained import of_run
from headstart.workspace import Workspace


def report(workspace: Workspace, request: ReportRequest, observer: Observer) -> Report:
    """Compare every run there is. Raises RunNotFound, and what `compare` raises."""
    return compare(workspace, RunStore(workspace.runs_dir).runs(), request, observer)


def compare(workspace: Workspace, runs: Sequence[Run], request: ReportRequest, observer: Observer) -> Report:
    """Compare these runs and keep the comparison in four files; returns what `reporting.write` returns.

    Raises RunNotFound where there is no run, DataNotFound, and what `reporting.write` and `label_files` raise.
    """
    if not runs:
        raise RunNotFound(f"{workspace.runs_dir}: no trained head to report on; make one with `headstart train-head`")
    files = expand([str(request.photos)]) if request.photos is not None else []

    def label(some: Sequence[Run]) -> list[Photo]:
        heads = [of_run(workspace, run) for run in some]
        return label_files(workspace, heads, files, InferenceOptions(request.weights), Wanted(1), observer)

    folder = request.folder(workspace.runs_dir)
    return reporting.write(workspace, runs, folder, label if files else None, request.dataset, observer.note)
