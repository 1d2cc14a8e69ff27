"""Problem documents: what is in them, and that a client that still sends hears of them."""

import asyncio
import json
from typing import Any

import pytest

from headstart.serve.web.problems import HEARD, STATUSES, Problem


def sent_by(problem: Problem, parts: list[Any], heard: bool = False) -> tuple[list[Any], list[Any]]:
    """The messages of a problem, and what of the body's parts was not read."""
    sent: list[Any] = []

    async def receive() -> Any:
        if not parts:
            await asyncio.sleep(60)
        body = parts.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(problem({"type": "http", "headers": [], HEARD: heard}, receive, send))  # type: ignore[arg-type]
    return sent, parts


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_a_title(status: int) -> None:
    found = Problem(status, "what is wrong").to_json()
    assert found == {"type": "about:blank", "title": found["title"], "status": status, "detail": "what is wrong"}
    assert found["title"]


def test_the_answer_comes_first_and_the_rest_of_the_body_is_thrown_away() -> None:
    sent, left = sent_by(Problem(413, "too large", {"x-more": "1"}), [b"a", b"b"])
    start, body, end = sent
    assert (start["status"], dict(start["headers"])[b"x-more"]) == (413, b"1")
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"])["detail"] == "too large"
    assert (body["more_body"], end["more_body"], left) == (True, False, [])


def test_nothing_is_waited_for_where_all_was_heard() -> None:
    _, left = sent_by(Problem(422, "unreadable"), [b"a"], heard=True)
    assert left == [b"a"]


def test_a_client_that_never_ends_is_left() -> None:
    sent, _ = sent_by(Problem(408, "too slow", linger_s=0.01), [])
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body", "http.response.body"]
