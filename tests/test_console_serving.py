"""What is said of a service when it starts."""

from pathlib import Path

from serve_samples import head, service

from headstart.console.words import serving


def test_a_service_is_told_with_its_heads_and_limits() -> None:
    made = service(head("a head"), head("b\x1b[2J", calibrated=False))
    said = serving.started("http://127.0.0.1:8000", made.described, made.settings)
    first, second, heading, one, two = said.split("\n")
    assert first == (
        "serving at http://127.0.0.1:8000, without a token; no sets where none are asked for; no picture is kept"
    )
    assert second == ("  a request: 33.6 MB, 64 pictures of 64.0 megapixels, 30 s to send, 30 s to answer; 128 at once")
    assert heading.split() == ["head", "title", "classes", "accuracy", "calibrated"]
    assert one.endswith("yes")
    assert two.endswith("no")
    assert "\x1b" not in said


def test_a_token_a_coverage_and_a_folder_are_said(tmp_path: Path) -> None:
    made = service(token="secret", keep=tmp_path / "kept", coverage=0.9)
    first = serving.started("http://h:1", made.described, made.settings).split("\n")[0]
    kept = f"pictures and answers are kept in {tmp_path / 'kept'}"
    assert first == f"serving at http://h:1, with the token; sets of 90% coverage; {kept}"


def test_a_program_is_told_where_it_is() -> None:
    made = service()
    assert serving.started_json("http://h:1", made.described) == {"url": "http://h:1", **made.described}
