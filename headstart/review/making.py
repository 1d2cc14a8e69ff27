"""From features that are kept to a review that can begin: the audit, the pictures, the decisions made before."""

from __future__ import annotations

import dataclasses
import secrets
import shlex
from pathlib import Path

import numpy as np

from headstart.auditing.audit import audit
from headstart.auditing.found import Audit
from headstart.auditing.request import AuditRequest
from headstart.core.cache.errors import HeadstartError
from headstart.core.extract.network.devices import resolve
from headstart.observer import Observer
from headstart.predictions_csv import check_place
from headstart.review.contents import contents_of
from headstart.review.decisions import Decisions
from headstart.review.diverse import spread
from headstart.review.order import Known, Proposal, ordered
from headstart.review.request import ReviewRequest
from headstart.review.retraining import Retrained, Retrainer
from headstart.review.work import Work
from headstart.serve.neighbours.gallery import Gallery
from headstart.workspace import Workspace, options_of


@dataclasses.dataclass(frozen=True, eq=False)
class Review:
    """A review that can begin: the audit that it is of, the work, the pictures, None where `why_no_pictures` says why, and
    the `command` that trains and keeps a head on the corrections."""

    found: Audit
    work: Work
    gallery: Gallery | None
    why_no_pictures: str | None
    command: str


def prepare(workspace: Workspace, request: ReviewRequest, observer: Observer) -> Review:
    """Look for what is wrong, and put it in order. Nothing is written.

    Raises what `audit` raises, DataInvalid where the file of corrections is something else, OSError.
    """
    if request.corrections is not None:
        Decisions(request.corrections, "")  # refuse another file before anything is computed
    check_place(request.corrections or workspace.runs_dir / "audit" / "corrections.csv", "--corrections", ".csv")
    asked = AuditRequest(request.models, request.dataset, request.choice, seed=request.seed)
    found = audit(workspace, asked, observer)
    rows = found.rows
    path = request.corrections or workspace.runs_dir / "audit" / rows.sets[0].manifest.dataset / "corrections.csv"
    decisions, contents = Decisions(path, secrets.token_hex(4)), contents_of(rows)
    features = [rows.features(backbone) for backbone in range(len(rows.models))]
    retrainer = Retrainer(found, contents, features, resolve(workspace.device, "fp32").name, request.seed)
    diverse = spread(features[0][contents.first], np.random.default_rng(request.seed))

    def ordering(said: Retrained, decided: frozenset[int]) -> dict[int, Proposal]:
        return ordered(found, contents, Known(said.current, said.judged, said.guessed, diverse), decided)

    work = Work(contents, decisions, retrainer.first(decisions.found), retrainer.run, ordering)
    try:
        gallery, why = Gallery(rows.sets, workspace.data_dir), None
    except (HeadstartError, OSError) as error:
        gallery, why = None, str(error)
        observer.remark(f"the pictures can't be shown: {why}")
    return Review(found, work, gallery, why, _command(workspace, request, found, path))


def _command(workspace: Workspace, request: ReviewRequest, found: Audit, path: Path) -> str:
    """What trains and keeps a head on the corrections of these very features, quoted for a shell."""
    words = [word for model in request.models or found.rows.models for word in ("-m", model)]
    words += ["--dataset", request.dataset or found.rows.sets[0].manifest.dataset, *request.choice.words]
    words += ["--key", request.choice.digest] if request.choice.digest else []
    words += ["--seed", str(request.seed)] if request.seed != ReviewRequest.seed else []
    return shlex.join(["headstart", "train-head", *words, *options_of(workspace), "--corrections", str(path)])
