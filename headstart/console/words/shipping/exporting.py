"""What is said of a head that was exported, and of an exported file that was checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import megabytes

if TYPE_CHECKING:
    from headstart.core.heads.statistics.accuracy import Score
    from headstart.export.files.facts import Facts
    from headstart.export.measuring.agreement import Agreement
    from headstart.export.results import Checked, Exported, OnRows, Proven

_TAKES = {"pixels": "uint8 RGB pictures (N, H, W, 3) of any size", "resized": "uint8 RGB pictures (N, {0}, {0}, 3)"}


def exported(found: Exported) -> str:
    """The file, what it takes, and how it did beside predict."""
    licence = found.head.checkpoint.licence or "unknown"
    lines = [f"{found.head.title}: {found.path}, {megabytes(found.nbytes)}, SHA-256 {found.sha256}"]
    if found.checked is not None:
        facts = found.checked.facts
        lines += [f"  {takes(facts)}, gives probabilities (N, {len(facts.classes)}); {facts.precision}"]
        lines += [f"  {line}" for line in _checked(found.checked)]
    lines += [f"  licence of the weights: {licence}"]
    lines += [f"  model card: {found.card}"] if found.card else []
    return "\n".join(lines)


def takes(facts: Facts) -> str:
    """What a file is given."""
    return f"takes {_TAKES[facts.input].format(facts.transform['image_size'])}"


def _checked(found: Checked) -> Iterator[str]:
    facts, given = found.facts, found.agreement.pictures - found.tests
    more = f" and {_pictures(given)} given" if given else ""
    which = f"{_pictures(found.tests, 'test picture')} in the file ({facts.made_from}){more}"
    yield f"checked by {found.by} on {which}"
    yield f"  beside predict in fp32: {apart(found.agreement)}"
    if found.own is not None:
        yield f"  beside predict in {found.own[0]}, as the head learned: {apart(found.own[1])}"
    if found.on_rows is not None:
        yield from _on_rows(found.on_rows, facts.precision)


def _on_rows(found: OnRows, precision: str) -> Iterator[str]:
    part = "" if found.rows == found.of else f" of {found.of:,}"
    yield f"on {found.rows:,}{part} {found.dataset} {found.split} images, beside predict in fp32: {apart(found.agreement)}"
    if found.corrected is not None:
        yield f"  {found.corrected}"
    if found.right is not None and found.right_by_predict is not None:
        yield f"  accuracy {_share(found.right)} in {precision}, {_share(found.right_by_predict)} by predict in fp32"


def _share(score: Score) -> str:
    low, high = score.interval
    return f"{score.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})"


def apart(found: Agreement) -> str:
    """How far two lots of probabilities are apart."""
    same = "the same label" if found.pictures == 1 else f"{found.same_labels:,} of {found.pictures:,} labels the same"
    if found.pictures == 1 and not found.same_labels:
        same = "another label"
    return f"largest difference of a probability {found.largest:.1e}, mean {found.mean:.1e}, {same}"


def _pictures(count: int, word: str = "picture") -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def remarks(found: Exported) -> Iterator[str]:
    """What must be said beside it."""
    if found.checked is None:
        return
    if found.checked.unmeasured is not None:
        yield f"accuracy was not measured: {found.checked.unmeasured}"
    elif found.checked.on_rows is not None and found.checked.on_rows.untested is not None:
        yield f"accuracy was not measured on these images, which would be no test: {found.checked.on_rows.untested}"
    if found.path.suffix == ".pt2":
        yield "no other version of torch is promised to read a .pt2 file; it can run code, so --check asks for its --digest"


def exported_json(found: Exported) -> dict[str, Any]:
    """The same as JSON values."""
    facts = {"file": str(found.path), "bytes": found.nbytes, "sha256": found.sha256, "head": found.head.name}
    card = {"card": None if found.card is None else str(found.card)}
    licence = {"licence": found.head.checkpoint.licence or "unknown"}
    if found.checked is None:
        return {**facts, **card, **licence, "checked": None}
    checked = {
        "by": found.checked.by,
        "pictures": found.checked.agreement.pictures,
        "beside_predict_in_fp32": dataclasses.asdict(found.checked.agreement),
        "beside_own_precision": _own_json(found.checked),
        "on_rows": None if found.checked.on_rows is None else dataclasses.asdict(found.checked.on_rows),
        "unmeasured": found.checked.unmeasured,
    }
    own = {"input": found.checked.facts.input, "precision": found.checked.facts.precision}
    return {**facts, **own, **card, **licence, "checked": checked}


def _own_json(found: Checked) -> dict[str, Any] | None:
    return None if found.own is None else {"precision": found.own[0], **dataclasses.asdict(found.own[1])}


def proven(found: Proven) -> str:
    """What a file is, and how it did once more."""
    facts = found.facts
    key, tests = facts.key, _pictures(found.agreement.pictures, "test picture")
    lines = [
        f"{found.path}: gives what it says of its test pictures, run by {found.by}",
        f"  {key.get('backbone')}, head SHA-256 {facts.head_sha256}, by {facts.made_by}; {facts.precision}",
        f"  {takes(facts)}, gives probabilities of {len(facts.classes):,} classes",
        f"  {tests} in the file ({facts.made_from}): {apart(found.agreement)}",
    ]
    if found.given is not None:
        beside = f"beside predict in fp32 with the head of {found.head}"
        lines += [f"  {_pictures(found.given.pictures)} given, {beside}: {apart(found.given)}"]
    return "\n".join([*lines, f"  licence of the weights: {facts.licence}"])


def proven_json(found: Proven) -> dict[str, Any]:
    """The same as JSON values."""
    facts = {name: getattr(found.facts, name) for name in ("classes", "input", "precision", "head_sha256", "licence")}
    given = None if found.given is None else {"head": found.head, **dataclasses.asdict(found.given)}
    return {"file": str(found.path), "by": found.by, **facts, "tests": dataclasses.asdict(found.agreement), "given": given}
