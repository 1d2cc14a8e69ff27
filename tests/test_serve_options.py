"""What a request asks for, whatever it says: an answer or a problem, and never anything else."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_samples import head
from starlette.datastructures import QueryParams

from headstart.core.heads.predict import Wanted
from headstart.serve.engine.asked import Wishes
from headstart.serve.settings import Limits
from headstart.serve.web.options import Offer, of_json, of_query, wishes_of
from headstart.serve.web.problems import Problem

OFFER = Offer((head("one"), head("two", calibrated=False)), None)
TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "topk": JSON | st.integers(-1, 1001),
        "coverage": JSON | st.floats(0, 1),
        "heads": JSON | st.lists(st.sampled_from(["one", "two", "three"]), max_size=3),
        "neighbours": JSON | st.integers(-1, 21),
        "more": JSON,
    },
)
PICTURE = st.fixed_dictionaries(
    {}, optional={"data": JSON | st.binary(max_size=9).map(lambda b: base64.b64encode(b).decode()), "name": JSON}
)


@given(st.lists(PICTURE | JSON, max_size=4) | JSON, OPTIONS)
def test_any_json_is_understood_or_a_problem(pictures: Any, options: dict[str, Any]) -> None:
    content = json.dumps({"pictures": pictures, **options}).encode()
    refused: Problem | None = None
    try:
        found, there = of_json(content, Limits(pictures=3), OFFER)
        wishes = wishes_of(found, OFFER)
    except Problem as error:
        refused = error
    if refused is not None:
        assert refused.status in (400, 413, 422)
        assert refused.detail
        return
    assert 1 <= len(there) <= 3
    assert [base64.b64encode(one.content).decode() for one in there] == [one["data"] for one in pictures]
    assert wishes.heads
    assert wishes.wanted.topk == options.get("topk", 3)
    assert wishes.wanted.coverage == options.get("coverage")


@given(st.binary(max_size=40))
def test_any_bytes_are_a_problem_or_pictures(content: bytes) -> None:
    with contextlib.suppress(Problem):
        of_json(content, Limits(), OFFER)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["topk", "coverage", "head", "neighbours"]) | TEXT,
            TEXT | st.integers().map(str) | st.floats().map(str),
        ),
        max_size=4,
    )
)
def test_any_query_is_understood_or_a_problem(pairs: list[tuple[str, str]]) -> None:
    refused: Problem | None = None
    try:
        found = of_query(QueryParams(pairs), OFFER)
    except Problem as error:
        refused = error
    if refused is not None:
        assert refused.status in (400, 422)
        return
    assert set(found) <= {"topk", "coverage", "heads", "neighbours"}
    assert len(found) == len({name for name, _ in pairs})


def test_what_is_left_open_is_the_services() -> None:
    sure = Offer((head("one"),), 0.95)
    assert wishes_of({}, sure) == Wishes(("one",), Wanted(3, 0.95), 0)
    assert wishes_of({"topk": 1, "coverage": 0.5}, sure) == Wishes(("one",), Wanted(1, 0.5), 0)
    assert wishes_of({}, OFFER) == Wishes(("one", "two"), Wanted(3), 0)
    assert wishes_of({"heads": ["two", "one"]}, OFFER).heads == ("one", "two")  # in the service's order


def test_null_stands_for_what_may_be_left_out() -> None:
    content = json.dumps({"pictures": [{"data": "", "name": None}], "coverage": None, "heads": None}).encode()
    found, _ = of_json(content, Limits(), OFFER)
    assert found == {}


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(Problem, match="xxx… is no head") as caught:
        of_query(QueryParams([("head", "x" * 10_000)]), OFFER)
    assert len(caught.value.detail) < 300
