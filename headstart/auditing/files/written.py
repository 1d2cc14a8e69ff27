"""The files that an audit was asked for: checked before anything is computed, written when all is known."""

from __future__ import annotations

from pathlib import Path

from headstart.auditing.files.map import check_map, write_map
from headstart.auditing.files.totals import keep
from headstart.auditing.findings import check_csv, write_csv
from headstart.auditing.found import Audit
from headstart.auditing.proposals import check_proposals, write_proposals
from headstart.auditing.request import AuditRequest
from headstart.observer import Observer
from headstart.predictions_csv import check_place
from headstart.workspace import Workspace


def check_files(workspace: Workspace, request: AuditRequest) -> None:
    """Refuse files that could not be written, or that are there and are others'. Raises ArgumentInvalid, DataNotFound where
    an extra is missing, OSError."""
    check_place(workspace.runs_dir / "audit" / "audit.csv", "--runs-dir", "")
    if request.csv is not None:
        check_csv(request.csv)
    if request.proposals is not None:
        check_proposals(request.proposals)
    if request.parquet is not None:
        check_map(request.parquet)


def write_files(workspace: Workspace, request: AuditRequest, found: Audit, observer: Observer) -> Path:
    """Write what was found, the totals that reports read, and what else was asked for; returns the CSV file. Raises
    DataInvalid, DataNotFound, FeaturesDamaged, FeaturesInvalid, OSError."""
    path = request.csv or workspace.runs_dir / "audit" / found.rows.sets[0].manifest.dataset / "audit.csv"
    write_csv(path, found)
    keep(workspace.runs_dir, found, path, request.corrections)
    observer.note(f"what was found is in {path}")
    if request.proposals is not None:
        count = write_proposals(request.proposals, found, workspace.data_dir)
        observer.note(f"{request.proposals}: {len(found.rows):,} pictures, {count:,} of them with another label")
    if request.parquet is not None:
        laid_out = write_map(request.parquet, found)
        observer.note(f"{request.parquet}: {len(found.rows):,} pictures, laid out by {laid_out}")
    return path
