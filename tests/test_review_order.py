"""What a review shows first, and what it proposes: on facts made by hand, of eight pictures."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from headstart.core.cache.corrections import KEEP, LABEL, REMOVE
from headstart.core.heads.audit.labels import LabelAudit
from headstart.review.contents import Contents
from headstart.review.order import (
    CONFLICT,
    DECIDED,
    NEAR,
    OUTLIER,
    UNLABELLED,
    UNSURE,
    WRONG_LABEL,
    Guessed,
    Judged,
    Known,
    Proposal,
    ordered,
)

CLASSES = ("cat", "dog")
EVERY = np.arange(8)


def contents(labels: list[int]) -> Contents:
    rows: Any = SimpleNamespace(classes=CLASSES, labels=np.array(labels))
    return Contents(rows, EVERY, EVERY, tuple(str(number) * 64 for number in range(8)))


def shown(labels: list[int], decided: frozenset[int] = frozenset(), **more: Any) -> dict[int, Proposal]:
    """The order; `more` are `together`, `near`, `outliers`, `testing`, `suspects`, `proposed`, `margin` or `guessed`."""
    twins = SimpleNamespace(
        together=[np.array(group) for group in more.get("together", [])],
        near=np.array(more.get("near", np.zeros((0, 2))), dtype=np.int64),
    )
    testing = np.isin(EVERY, more.get("testing", []))
    found: Any = SimpleNamespace(
        twins=twins,
        outliers=np.array(more.get("outliers", []), dtype=np.int64),
        rows=SimpleNamespace(labels=np.array(labels), testing=testing),
    )
    current: Any = SimpleNamespace(labels=np.array(labels), kept=np.ones(8, dtype=np.bool_), classes=CLASSES)
    judged = None
    if "suspects" in more:
        places = np.flatnonzero(np.array(labels) >= 0)
        margin = np.array(more["margin"])
        audit: Any = SimpleNamespace(
            suspects=np.array(more["suspects"]),
            proposed=np.array(more["proposed"]),
            margin=margin,
            confidence=(1 + margin) / 2,
        )
        own: LabelAudit = audit
        judged = Judged(places, own)
    known = Known(current, judged, more.get("guessed"), EVERY[::-1])
    return ordered(found, contents(labels), known, decided)


def test_doubts_come_in_the_order_of_what_they_cost() -> None:
    order = shown(
        [0, 0, 0, 0, 1, 1, 1, -1],
        suspects=[4],
        proposed=[0, 0, 0, 0, 0, 1, 1],
        margin=[0.9, 0.8, 0.1, 0.7, -0.6, 0.5, 0.2],
        together=[[1, 5]],
        near=[[2, 3]],
        outliers=[6],
    )
    assert list(order) == [4, 1, 5, 3, 6, 7, 2, 0]
    kinds = [one.kind for one in order.values()]
    assert kinds == [WRONG_LABEL, CONFLICT, CONFLICT, NEAR, OUTLIER, UNLABELLED, UNSURE, UNSURE]
    assert order[4] == Proposal(WRONG_LABEL, LABEL, "cat", 0.8)
    assert order[2] == Proposal(UNSURE, KEEP, "", 0.55)


def test_of_the_same_picture_with_two_labels_each_is_shown_beside_another() -> None:
    order = shown([0, 0, 1, 0, 0, 0, 0, 0], together=[[0, 1, 2]])
    assert order[0] == Proposal(CONFLICT, KEEP, "", twin=2)
    assert order[1] == Proposal(CONFLICT, KEEP, "", twin=2)
    assert order[2] == Proposal(CONFLICT, LABEL, "cat", twin=0)


def test_of_a_pair_across_the_test_split_the_training_picture_goes() -> None:
    order = shown([0] * 8, near=[[0, 1], [2, 3]], testing=[1])
    assert order[0] == Proposal(NEAR, REMOVE, twin=1)
    assert order[3] == Proposal(NEAR, REMOVE, twin=2)
    assert 1 not in list(order)[:2]


def test_without_any_label_the_least_sure_come_first_and_without_heads_those_unlike_each_other() -> None:
    assert list(shown([-1] * 8, near=[[0, 1]]))[:7] == [7, 6, 5, 4, 3, 2, 0]
    shares, margins = np.full(8, 0.6), np.array([0.5, 0.1, 0.9, 0.4, 0.3, 0.7, 0.2, 0.8])
    order = shown([-1] * 8, guessed=Guessed(EVERY, np.ones(8, dtype=np.int64), shares, margins))
    assert list(order) == [1, 6, 4, 3, 0, 5, 7, 2]
    assert order[1] == Proposal(UNLABELLED, LABEL, "dog", 0.6)


def test_what_was_decided_comes_last() -> None:
    order = shown([0] * 8, decided=frozenset({0, 5}), outliers=[5, 2])
    assert list(order) == [2, 1, 3, 4, 6, 7, 0, 5]
    assert {order[item].kind for item in (0, 5)} == {DECIDED}
