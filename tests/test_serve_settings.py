"""What the service may be told, and what it may not."""

from pathlib import Path

import pytest

from headstart.core.cache.errors import ArgumentInvalid
from headstart.serve.settings import Limits, Settings, token_of


@pytest.mark.parametrize(
    ("name", "value"),
    [("body", 0), ("pictures", -1), ("pixels", 1.5), ("requests", True), ("memory", "1"), ("answer_s", 0)],
)
def test_limits_are_positive(name: str, value: object) -> None:
    with pytest.raises(ArgumentInvalid, match=name):
        Limits(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("port", 65536), ("port", -1), ("grace_s", float("inf")), ("delay_s", -0.1)])
def test_settings_are_possible(name: str, value: float) -> None:
    with pytest.raises(ArgumentInvalid, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_the_loopback_is_not_open(host: str) -> None:
    assert not Settings(host=host).is_open


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_every_other_address_is(host: str) -> None:
    assert Settings(host=host).is_open


def test_a_token_is_read_from_the_environment_and_shown_to_nobody() -> None:
    assert token_of(None, {}) is None
    assert token_of("NAME", {"NAME": "abc-._~+/="}) == "abc-._~+/="
    assert "abc" not in repr(Settings(token="abc", keep=Path("x")))


@pytest.mark.parametrize("value", [None, "", "two words", "ümlaut", "line\nbreak"])
def test_a_token_that_no_header_can_carry_is_refused(value: str | None) -> None:
    with pytest.raises(ArgumentInvalid, match="--token-env NAME: "):
        token_of("NAME", {} if value is None else {"NAME": value})


def test_a_client_is_told_the_limits() -> None:
    found = Limits(body=7, pictures=2).to_json()
    assert (found["body_bytes"], found["pictures"], found["neighbours"], found["topk"]) == (7, 2, 20, 1000)
