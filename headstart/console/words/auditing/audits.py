"""What an audit found, in a few lines, and as JSON values."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from headstart.core.cache.text import columns, listed, safe

if TYPE_CHECKING:
    from headstart.auditing.found import Audit, Labels, WithoutLeaks
    from headstart.core.cache.manifest import Manifest

TRUSTED = 0.5
"""How much of what is missed by always naming the commonest class heads must get right: below it most of what they call
wrong can be their own mistake. A judgement, not a measured bound."""
SHOWN = 10
"""Lines of each kind that are shown; the CSV has all."""


def found(said: Audit) -> str:
    """Some lines on each kind of finding, what matters most first."""
    rows = said.rows
    splits = " and ".join(_of_split(one.manifest) for one in rows.sets)
    head = f"{safe(rows.sets[0].manifest.dataset)}: {splits} looked at by {listed(rows.models)}"
    parts = [_labels(said), _leaks(said), _twins(said), _pictures(said), _outliers(said), _classes(said), _bursts(said)]
    corrected = [] if rows.corrected is None else [safe(rows.corrected)]
    return "\n".join([f"{head}, {said.elapsed_s:.1f} s", *corrected, *(line for part in parts for line in part)])


def _of_split(manifest: Manifest) -> str:
    """How many pictures a split has; a set that has one alone is not called by it."""
    name = "" if manifest.split == "all" else f" {manifest.split}"
    return f"{manifest.rows:,}{name} picture{'s' * (manifest.rows != 1)}"


def found_json(said: Audit) -> dict[str, Any]:
    """All that was found: totals, and every finding."""
    from headstart.auditing.findings import findings

    labels, twins = said.labels, said.twins
    return {
        "dataset": said.rows.sets[0].manifest.dataset,
        "models": said.rows.models,
        "rows": len(said.rows),
        "elapsed_s": round(said.elapsed_s, 3),
        "corrected": said.rows.corrected,
        "labels": None if labels is None else _labels_json(said, labels),
        "no_labels": said.why_no_labels,
        "duplicates": {
            "groups_of_one_content": len(twins.exact),
            "near_pairs": len(twins.near),
            "near_pairs_by_pixels": int(twins.checked.sum()),
            "refuted_by_pixels": len(twins.alike),
            "median_neighbour_distance": dict(zip(said.rows.models, twins.bounds, strict=True)),
            "not_compared": twins.why_unchecked,
            "not_opened": twins.unopened,
        },
        "pictures": {
            "looked_at": said.pictures.looked_at,
            "not_opened": said.pictures.unopened,
            "why": said.pictures.why,
            "faults": dict(Counter(fault.kind for fault in said.pictures.faults)),
        },
        "leaks": {"test_pictures": len(twins.leaked), "accuracies": [_accuracy_json(one) for one in said.accuracies]},
        "small_classes": {said.rows.classes[label]: count for label, count in said.small},
        "findings": [dataclasses.asdict(one) for one in findings(said)],
    }


def _labels_json(said: Audit, labels: Labels) -> dict[str, Any]:
    expected, classes = labels.audit.expected, said.rows.classes
    return {
        "heads": dict(zip(said.rows.models, labels.heads, strict=True)),
        "rows": len(labels.places),
        "decided": len(labels.places) - labels.audit.asked,
        "not_judged": int((~labels.audit.judged).sum()),
        "agreed": dataclasses.asdict(labels.right),
        "expected_wrong": {"count": expected.count, "low": expected.low, "high": expected.high},
        "suspects": len(labels.suspects),
        "confused": [
            {"label": classes[one.given], "taken_for": classes[one.taken_for], "count": one.count, "of": one.of}
            for one in labels.confused
        ],
    }


def _accuracy_json(one: WithoutLeaks) -> dict[str, Any]:
    return {"run": one.run, "all": dataclasses.asdict(one.all), "without_leaks": dataclasses.asdict(one.clean)}


def accuracy(one: WithoutLeaks) -> str:
    """What a run's accuracy is without the test pictures that have a twin in training."""
    low, high = one.clean.interval
    return (
        f"{safe(one.run)}: {one.leaked:,} of {one.all.total:,} test pictures have a twin in training; without them "
        f"{one.clean.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}), with them {one.all.accuracy:.2%}"
    )


def _labels(said: Audit) -> Iterator[str]:
    from headstart.auditing.findings import shown

    labels = said.labels
    if labels is None:
        yield f"labels: not looked at, {said.why_no_labels}"
        return
    expected, own, classes = labels.audit.expected, labels.audit, said.rows.classes
    yield (
        f"labels: about {expected.count:,.0f} of {own.asked:,} are wrong, if other rows are a guide "
        f"(95 % interval {expected.low:,.0f} to {expected.high:,.0f}); "
        f"{len(own.suspects):,} suspect{'s' * (len(own.suspects) != 1)}"
        + (": each is likelier of another class and counted once" if len(own.suspects) < round(expected.count) else "")
    )
    if own.judged.any():
        yield f"  heads that did not see them agree with {labels.right.accuracy:.1%} of the labels{_little(said, labels)}"
    if own.decided.any():
        yield f"  {own.decided.sum():,} others were decided on, and are not suspected again"
    if not own.judged.all():
        yield f"  nothing is said of {(~own.judged).sum():,}, whose class has no other picture to learn from"
    lines = [
        [f"{own.confidence[place]:.2%}", classes[said.rows.labels[row]], classes[own.proposed[place]], shown(said, row)]
        for place, row in zip(own.suspects[:SHOWN].tolist(), labels.suspects[:SHOWN].tolist(), strict=True)
    ]
    yield from _table(["probability", "label", "rather", "picture"], lines)
    yield from _more(len(own.suspects))


def _little(said: Audit, labels: Labels) -> str:
    """What must be said where heads know too little to judge labels by."""
    given = said.rows.labels[labels.places][labels.audit.judged].tolist()
    commonest = Counter(given).most_common(1)[0][1] / len(given)
    if labels.right.accuracy >= commonest + TRUSTED * (1 - commonest):
        return ""
    return ": they know too little of these classes to tell wrong labels from their own mistakes"


def _leaks(said: Audit) -> Iterator[str]:
    test = int(said.rows.testing.sum())
    if not test:
        return
    count = len(said.twins.leaked)
    yield f"leaks: {count:,} of {test:,} test pictures have a twin in training" if count else "leaks: none found"
    yield from (f"  {accuracy(one)}" for one in said.accuracies)


def _twins(said: Audit) -> Iterator[str]:
    twins = said.twins
    copies = sum(len(group) for group in twins.exact)
    yield (
        f"duplicates: {copies:,} pictures are copies, in {len(twins.exact):,} groups" if copies else "duplicates: no copies"
    )
    checked = int(twins.checked.sum())
    if checked == len(twins.near):
        yield (
            f"near-duplicates: {checked:,} {'pair' if checked == 1 else 'pairs'}, by their pixels"
            if checked
            else "near-duplicates: none found"
        )
    else:
        by_features = len(twins.near) - checked
        yield f"near-duplicates: {len(twins.near):,} pairs, {by_features:,} of them by features alone"
    if len(twins.alike):
        further = "further pair is" if len(twins.alike) == 1 else "further pairs are"
        yield f"  {len(twins.alike):,} {further} alike to the backbone only: kind `alike` in the CSV file"
    if twins.why_unchecked is not None:
        yield f"  not verified by pixels: {safe(twins.why_unchecked)}"
    if twins.unopened:
        yield (
            f"  {twins.unopened:,} pictures were not opened, so that near-duplicates of them were looked for by features "
            f"alone: `headstart audit --pixels all` opens all, which may take minutes"
        )
    name = _name(said)
    pairs = zip(twins.near[:SHOWN].tolist(), twins.scores.tolist(), strict=False)
    yield from _table(["likeness", "picture", "and"], [[f"{score:.3f}", name(a), name(b)] for (a, b), score in pairs])
    yield from _more(len(twins.near))
    if said.conflicting:
        groups = "group" if len(said.conflicting) == 1 else "groups"
        yield f"conflicting labels: {len(said.conflicting):,} {groups} of the same picture"
        yield from (f"  {_with_labels(said, group.tolist())}" for group in said.conflicting[:SHOWN])


def _pictures(said: Audit) -> Iterator[str]:
    pictures = said.pictures
    if not pictures.looked_at and pictures.why is None:
        yield "pictures: not looked at"
        return
    kinds = Counter(fault.kind for fault in pictures.faults)
    words = listed(f"{count:,} {kind}" for kind, count in kinds.items()) if kinds else "none is dark, blurred, blank or odd"
    yield f"pictures: of {pictures.looked_at:,} of {len(said.rows):,} looked at, {words}"
    if pictures.why is not None:
        missing = f"{pictures.unopened:,} could not be opened" if pictures.unopened else "none could be opened"
        yield f"  {missing}: {safe(pictures.why)}"
    name = _name(said)
    lines = [[one.kind, f"{one.score:.3g}", name(one.place)] for one in pictures.faults[:SHOWN]]
    yield from _table(["fault", "score", "picture"], lines)
    yield from _more(len(pictures.faults))


def _outliers(said: Audit) -> Iterator[str]:
    yield f"outliers: {len(said.outliers):,}" if len(said.outliers) else "outliers: none"
    name = _name(said)
    lines = [[f"{said.deviations[row]:.1f}", name(row)] for row in said.outliers[:SHOWN].tolist()]
    yield from _table(["deviations", "picture"], lines)
    yield from _more(len(said.outliers))


def _classes(said: Audit) -> Iterator[str]:
    classes = said.rows.classes
    if said.labels is not None and said.labels.confused:
        yield "confused classes:"
        lines = [
            [f"{one.count:,} of {one.of:,}", classes[one.given], classes[one.taken_for]]
            for one in said.labels.confused[:SHOWN]
        ]
        yield from _table(["pictures", "label", "taken for"], lines)
    if said.small:
        yield f"small classes: {listed(f'{classes[label]} ({count})' for label, count in said.small)}"


def _bursts(said: Audit) -> Iterator[str]:
    if said.bursts:
        rows = sum(len(burst) for burst in said.bursts)
        yield f"bursts: {rows:,} pictures in {len(said.bursts):,} runs of nearly the same, which a random split would tear"
        name = _name(said)
        yield from (f"  {name(int(one[0]))} to {name(int(one[-1]))}: {len(one)}" for one in said.bursts[:SHOWN])
        yield from _more(len(said.bursts))


def _with_labels(said: Audit, group: list[int]) -> str:
    name, classes, labels = _name(said), said.rows.classes, said.rows.labels
    return listed((f"{name(row)} ({classes[labels[row]] if labels[row] >= 0 else 'no label'})" for row in group), 5)


def _name(said: Audit) -> Callable[[int], str]:
    from headstart.auditing.findings import shown

    return lambda row: safe(shown(said, row))


def _more(count: int) -> Iterator[str]:
    """That a table of the first ones is not all."""
    if count > SHOWN:
        yield f"  and {count - SHOWN:,} more in the CSV file"


def _table(heading: list[str], lines: list[list[str]]) -> Iterator[str]:
    if lines:
        yield from (f"  {line}" for line in columns([heading, *lines]).splitlines())
