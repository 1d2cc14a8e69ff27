"""Which pictures a person should look at first, and what is proposed for each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from headstart.auditing.found import Audit
from headstart.core.cache.corrected import Corrected
from headstart.core.cache.corrections import KEEP, LABEL, REMOVE
from headstart.core.heads.audit.labels import LabelAudit
from headstart.review.contents import Contents

Places = npt.NDArray[np.int64]

WRONG_LABEL, CONFLICT, NEAR, OUTLIER = "wrong label", "conflicting labels", "near-duplicate", "outlier"
UNLABELLED, UNSURE, DECIDED = "no label", "the rest", "decided"
KINDS = (WRONG_LABEL, CONFLICT, NEAR, OUTLIER, UNLABELLED, UNSURE, DECIDED)


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Why a picture is shown, and what is proposed: an action, None for nothing, and its label. `share` is the probability
    of the label that is proposed or kept, 0 to 1, where heads said so; `twin` the number of the content that it is like."""

    kind: str
    action: str | None = None
    label: str = ""
    share: float | None = None
    twin: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """What heads that did not see them say of the labels of the rows at `places` (n,)."""

    places: Places
    audit: LabelAudit


@dataclasses.dataclass(frozen=True, eq=False)
class Guessed:
    """What a head says of rows without a label at `places` (u,): the likeliest class (u,), its `share` (u,) and how far
    that is above the next (u,)."""

    places: Places
    classes: Places
    shares: npt.NDArray[np.float64]
    margins: npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What an order is made of: the `labels` as they stand; what heads say, None where there was nothing to learn from; and
    the contents (M,) in an order whose first are unlike each other."""

    current: Corrected
    judged: Judged | None
    guessed: Guessed | None
    diverse: Places


def ordered(found: Audit, contents: Contents, known: Known, decided: frozenset[int]) -> dict[int, Proposal]:
    """All contents, the most urgent first, each once with its proposal; those that are `decided` come last. Pictures
    without a label come before doubts about copies where no picture has one: they are the work to do then."""
    twins = dict(_twins(found, contents, known.current))
    doubts = [
        _wrong(contents, known),
        _conflicts(found, contents, known),
        iter(twins.items()),
        ((int(contents.of[row]), Proposal(OUTLIER, REMOVE)) for row in found.outliers.tolist()),
    ]
    unlabelled = (one for one in _unlabelled(contents, known) if one[0] not in twins)
    labelled = bool((found.rows.labels >= 0).any())
    parts = [*doubts, unlabelled] if labelled else [unlabelled, *doubts]
    order = dict[int, Proposal]()
    for item, proposal in itertools.chain(*parts, _rest(contents, known)):
        if item not in decided:
            order.setdefault(item, proposal)
    for item in range(len(contents)):
        order.setdefault(item, Proposal(DECIDED if item in decided else UNSURE))
    return dict(sorted(order.items(), key=lambda one: one[1].kind == DECIDED))


def _wrong(contents: Contents, known: Known) -> Iterator[tuple[int, Proposal]]:
    if known.judged is None:
        return
    own = known.judged.audit
    for place in own.suspects.tolist():
        row = int(known.judged.places[place])
        yield int(contents.of[row]), _other(known, place, WRONG_LABEL)


def _other(known: Known, place: int, kind: str) -> Proposal:
    """The likeliest label of a row that has one; to keep it where that is its own."""
    assert known.judged is not None
    own, row = known.judged.audit, int(known.judged.places[place])
    likeliest, current = int(own.proposed[place]), int(known.current.labels[row])
    same = likeliest == current
    share = own.confidence[place] if same else own.confidence[place] - own.margin[place]
    return Proposal(kind, KEEP if same else LABEL, "" if same else known.current.classes[likeliest], float(share))


def _conflicts(found: Audit, contents: Contents, known: Known) -> Iterator[tuple[int, Proposal]]:
    """Copies with different labels: the label that most of them have is proposed, the first of several."""
    labels = np.where(known.current.kept, known.current.labels, -1)
    for group in found.twins.together:
        there, counts = np.unique(labels[group][labels[group] >= 0], return_counts=True)
        if len(there) > 1:
            most = known.current.classes[there[counts.argmax()]]
            for row in group.tolist():
                item = int(contents.of[row])
                others = (int(contents.of[at]) for at in group.tolist() if labels[at] >= 0 and labels[at] != labels[row])
                twin = next((one for one in others if one != item), None)
                same = contents.given(item) == [most]
                yield item, Proposal(CONFLICT, KEEP if same else LABEL, "" if same else most, twin=twin)


def _twins(found: Audit, contents: Contents, current: Corrected) -> Iterator[tuple[int, Proposal]]:
    """The later of each pair; of a pair across the test split the training picture, so that the test stays as it is."""
    testing = found.rows.testing
    for one, other in found.twins.near.tolist():
        out, stays = (one, other) if testing[other] and not testing[one] else (other, one)
        if current.kept[out] and current.kept[stays]:
            yield int(contents.of[out]), Proposal(NEAR, REMOVE, twin=int(contents.of[stays]))


def _unlabelled(contents: Contents, known: Known) -> Iterator[tuple[int, Proposal]]:
    current, guessed = known.current, known.guessed
    if guessed is not None:
        for place in np.argsort(guessed.margins, kind="stable").tolist():
            label, share = current.classes[guessed.classes[place]], float(guessed.shares[place])
            yield int(contents.of[guessed.places[place]]), Proposal(UNLABELLED, LABEL, label, share)
    lacking = np.ones(len(contents), dtype=np.bool_)
    lacking[contents.of[current.labels >= 0]] = False
    for item in known.diverse.tolist():
        if lacking[item]:
            yield item, Proposal(UNLABELLED)


def _rest(contents: Contents, known: Known) -> Iterator[tuple[int, Proposal]]:
    """Pictures with a label, those whose label is the least ahead of others first."""
    if known.judged is None:
        return
    for place in np.argsort(known.judged.audit.margin, kind="stable").tolist():
        yield int(contents.of[known.judged.places[place]]), _other(known, place, UNSURE)
