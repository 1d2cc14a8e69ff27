"""`headstart audit` and `headstart similar`. What computes is imported inside the commands, so that help is instant."""

from __future__ import annotations

import sys
from typing import Any

import click

from headstart.auditing.request import AuditRequest, SimilarRequest
from headstart.console import options, training_options, words
from headstart.console.options import POSITIVE, SEED, Place, Settings, command, shown
from headstart.console.printing import document, out, terminal

DATASET = click.option("--dataset", help="Only features of this data set, as for `train-head`.")


def register(group: click.Group) -> None:
    """Add the commands to a group."""
    _register_audit(group)
    _register_similar(group)


def _register_audit(group: click.Group) -> None:
    @command(group, "audit", "headstart audit --dataset folder:pets")
    @options.models_option
    @DATASET
    @options.feature_options
    @click.option("--csv", type=Place("--csv"), help="What is found. [default: RUNS_DIR/audit/DATASET/audit.csv]")
    @click.option("--list", "proposals", type=Place("--list"), help="Also write all with the proposed labels: FILE.csv.")
    @shown("--pixels", default=AuditRequest.pixels, help="Pictures opened to be looked at: all, none or a number.")
    @click.option("--parquet", type=Place("--parquet"), help="Also write all as a map, by t-SNE: FILE.parquet.")
    @training_options.corrections_option
    @shown("--seed", type=SEED, default=AuditRequest.seed)
    def audit_command(settings: Settings, **given: Any) -> None:
        """What may be wrong with the pictures and labels of kept features: wrong labels, duplicates, leaks, outliers.

        Several backbones' features of one data set are joined. Nothing is changed; labels are proposed.
        """
        from headstart.auditing.audit import audit
        from headstart.auditing.files.written import check_files, write_files

        request = AuditRequest(choice=options.choice_of(given), **given)
        check_files(settings, request)
        found = audit(settings, request, terminal(settings))
        out(words.auditing.audits.found(found))
        path = write_files(settings, request, found, terminal(settings))
        document(settings, {**words.auditing.audits.found_json(found), "csv": str(path)})


def _register_similar(group: click.Group) -> None:
    @command(group, "similar", "headstart similar holiday/*.jpg --dataset folder:pets", hidden=("runs_dir", "data_dir"))
    @click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
    @options.models_option
    @DATASET
    @options.feature_options
    @shown("--topk", "count", type=POSITIVE, default=SimilarRequest.count, help="Pictures for each.")
    def similar_command(settings: Settings, pictures: tuple[str, ...], count: int, **given: Any) -> None:
        """The pictures of a data set that are most like PICTUREs, by the cosine of their features, found exactly.

        A picture that is there but can't be read is reported, and the others are still looked for; the exit code is then 1.
        """
        from headstart.auditing.similar import similar

        choice = options.choice_of(given)
        request = SimilarRequest(pictures, count, given["models"], given["dataset"], choice)
        found = similar(settings, request, terminal(settings))
        out(words.auditing.similar.found(found))
        document(settings, words.auditing.similar.found_json(found))
        if any(one.error for one in found.asked):
            sys.exit(1)
