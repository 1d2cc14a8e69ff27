"""A trained head exported with its backbone: made, held against `predict`, and only then written."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.cache import corrections
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.files import sha256, write_durably
from headstart.core.extract.featurise import expand
from headstart.core.heads.checkpoint import to_bytes
from headstart.export import proof
from headstart.export.card import model_card
from headstart.export.files import onnx_file
from headstart.export.files.facts import STRICT, Facts, Picture
from headstart.export.making import make
from headstart.export.measuring import comparison
from headstart.export.measuring.agreement import TOLERANCES, Agreement
from headstart.export.measuring.reference import Reference, Shares, exact, own
from headstart.export.measuring.rows import on_rows
from headstart.export.results import Checked, Exported
from headstart.export.running.process import running
from headstart.export.tensors import write_safetensors
from headstart.inference.trained import TrainedHead
from headstart.observer import Observer
from headstart.requests import ExportRequest
from headstart.workspace import Workspace

CARD = "model-card.md"
_OTHERWISE = {"fp32": "", "fp16": "; use --precision fp32", "int8": "; use --precision fp16 or fp32"}


def export(workspace: Workspace, head: TrainedHead, request: ExportRequest, observer: Observer) -> Exported:
    """Write a head and its backbone as one file, once it gives what `predict` gives; nothing is written where it does not.

    Raises ArgumentInvalid where the extra `onnx` is not installed or corrections have no part in any accuracy,
    ModelFileDiffers, ModelFileInvalid, ImageUnreadable, DataNotFound, OSError, and what `inference.trained.restore` raises.
    """
    if request.kind == ".onnx":
        onnx_file.check_installed()
    if request.corrections is not None:
        corrections.read(request.corrections)  # refuse another file before anything is computed
    files = expand(request.pictures, observer.note)
    reference = exact(workspace, head, request.weights, observer)
    if request.kind == ".safetensors":
        digest, checked = write_safetensors(head, reference.extractor, request.path), None
    else:
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            path = Path(folder) / f"model{request.kind}"
            tests = _Tests.of(Path(folder), reference, request, files, observer)
            checked = _checked(workspace, head, request, reference, tests, path, observer)
            content = path.read_bytes()
        digest = sha256(content)
        write_durably(request.path, content)
    rows = None if checked is None else checked.on_rows
    said = () if rows is None or rows.corrected is None else (f"the file was measured on {rows.corrected}",)
    card = _write_card(head, request, digest, observer, said) if request.card else None
    return Exported(request.path, request.path.stat().st_size, digest, head, checked, card)


def _write_card(head: TrainedHead, request: ExportRequest, digest: str, observer: Observer, said: Sequence[str]) -> Path:
    path = request.path.parent / CARD
    if path.exists():
        observer.note(
            f"{path}: replaced by the card of {request.path.name}; give each file a folder of its own to keep both"
        )
    resized = (request.path.name,) if request.input == "resized" else ()
    write_durably(path, model_card(head, {request.path.name: digest}, resized, said).encode())
    return path


@dataclasses.dataclass(frozen=True)
class _Tests:
    """Pictures to check a file on, in this order: those that stand in it, `own` by name, and `files` given. `expected`
    (N, C) is what `predict` gives for them in fp32, for which those in the file are read from `paths`."""

    own: Mapping[str, bytes]
    paths: Sequence[Path]
    files: Sequence[Path]
    expected: Shares

    @classmethod
    def of(
        cls, folder: Path, reference: Reference, request: ExportRequest, files: Sequence[Path], observer: Observer
    ) -> _Tests:
        """Those of a request; the files in the folder are needed as long as this is."""
        own = proof.copied(files) if request.embed else proof.generated()
        paths = [folder / name for name in own]
        for path in paths:
            path.write_bytes(own[path.name])
        expected = reference.of_files([*paths, *files], observer.note)
        if request.input == "resized":
            own = proof.framed_files(own, reference.extractor.preprocessing)
        return cls(own, paths, files, expected)

    @property
    def names(self) -> list[str]:
        """What they are called in messages."""
        return [*(f"the test picture {name}" for name in self.own), *map(str, self.files)]

    def pictures(self, given: Shares) -> tuple[Picture, ...]:
        """As they stand in a file that gives these probabilities (N, C) or more of them."""
        each = zip(self.own.items(), given[: len(self.own)].tolist(), self.expected[: len(self.own)].tolist(), strict=True)
        return tuple(Picture(name, content, tuple(ours), tuple(theirs)) for (name, content), ours, theirs in each)


def _checked(
    workspace: Workspace,
    head: TrainedHead,
    request: ExportRequest,
    reference: Reference,
    tests: _Tests,
    path: Path,
    observer: Observer,
) -> Checked:
    """Make a file at `path` and hold it against `predict`; what was found is put into it, and it is run once more."""
    made = make(reference, request)
    facts = _facts(head, request, reference, tests)
    made.write(path, facts.to_texts())
    resized = reference.extractor.preprocessing if request.input == "resized" else None
    with running(path) as run:
        given = [comparison.of_files(run, tests.files, resized)] if tests.files else []
        found = np.concatenate([comparison.of_tests(run, facts.pictures, request.path.name), *given])
        what, way_out = "what `predict` gives in fp32", "nothing was written" + _OTHERWISE[request.precision]
        agreement = comparison.hold(
            request.path, found, tests.expected, tests.names, TOLERANCES[request.precision], what, way_out
        )
        rows, unmeasured = on_rows(workspace, head, request, reference, run, observer)
        if rows is None and request.corrections is not None:
            option = f"--corrections {request.corrections}"
            raise ArgumentInvalid(f"{option}: no accuracy is measured, since {unmeasured}; leave the option out")
        by = run.by
    if request.precision != "fp32":
        facts = dataclasses.replace(facts, pictures=tests.pictures(found))
    beside = own(workspace, head, request.weights, observer)
    apart = None
    if beside is not None:
        theirs = beside.of_files([*tests.paths, *tests.files], observer.note)
        apart = (beside.extractor.device.precision, Agreement.of(found, theirs))
    checked = Checked(by, facts, agreement, len(tests.own), apart, rows, unmeasured)
    facts = dataclasses.replace(facts, measured=_measured(checked))
    made.write(path, facts.to_texts())
    with running(path) as run:
        comparison.prove(request.path, run, Facts.of_texts(run.texts))
    return dataclasses.replace(checked, facts=facts)


def _facts(head: TrainedHead, request: ExportRequest, reference: Reference, tests: _Tests) -> Facts:
    checkpoint, transform = head.checkpoint, reference.extractor.preprocessing
    return Facts(
        classes=checkpoint.classes,
        absent=checkpoint.head.absent,
        input=request.input,
        precision=request.precision,
        transform={**dataclasses.asdict(transform), "words": transform.words},
        key=checkpoint.key.to_json(),
        head_sha256=head.run.head_sha256 if head.run else sha256(to_bytes(checkpoint)),
        temperature=checkpoint.confidence.temperature if checkpoint.confidence else 1.0,
        licence=checkpoint.licence or "unknown",
        made_by=f"headstart {importlib.metadata.version('headstart')}",
        made_from="pictures given" if request.embed else "generated pictures",
        tolerance=STRICT[request.precision],
        pictures=tests.pictures(tests.expected),
    )


def _measured(checked: Checked) -> dict[str, Any]:
    """How it was checked, as the file keeps it."""
    found: dict[str, Any] = {"by": checked.by, "beside predict in fp32": dataclasses.asdict(checked.agreement)}
    if checked.own is not None:
        found[f"beside predict in {checked.own[0]}"] = dataclasses.asdict(checked.own[1])
    if (rows := checked.on_rows) is not None:
        facts = dataclasses.asdict(rows)
        found["on rows"] = {name: value for name, value in facts.items() if name != "corrected" or value is not None}
    return found
