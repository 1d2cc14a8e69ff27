"""The review over HTTP: a folder with planted faults, decisions, conflicts, retraining, and a kill while it is used."""

import dataclasses
import json
import os
import shlex
import shutil
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_samples import Place, parse
from click.testing import CliRunner
from review_samples import LOCAL, Reviewing, draw, extracted, process, reviewing, unlabelled
from serve_samples import problem

from headstart.core import cli
from headstart.core.cache import corrections
from headstart.core.cache.corrected import corrected
from headstart.core.cache.corrections import LABEL, REMOVE, Correction
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.core.heads.runs import RunStore
from headstart.observer import SILENT
from headstart.review import app, making
from headstart.review.decisions import Decisions
from headstart.review.making import Review
from headstart.review.request import ReviewRequest
from headstart.workspace import Workspace, options_of

Client = Any


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """90 pictures without a test split, 6 with a wrong label; a copy with its own label, and one with another."""
    root = tmp_path_factory.mktemp("pets")
    pictures = draw(root / "pets", 90, wrong=6)
    shutil.copy(pictures / "blue" / "train000-blue.png", pictures / "blue" / "copy.png")
    shutil.copy(pictures / "blue" / "train003-blue.png", pictures / "red" / "other.png")
    return extracted(root, pictures)


@pytest.fixture
def review(workspace: Workspace, tmp_path: Path) -> Review:
    return making.prepare(workspace, ReviewRequest(corrections=tmp_path / "c.csv"), SILENT)


@pytest.fixture
def client(review: Review) -> Iterator[Client]:
    from starlette.testclient import TestClient

    with TestClient(app.of(review, LOCAL).app, base_url="http://127.0.0.1", raise_server_exceptions=False) as found:
        yield found
    review.work.join()


@pytest.fixture(scope="module")
def untouched(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Review]]:
    """A review that no test decides anything in."""
    from starlette.testclient import TestClient

    path = tmp_path_factory.mktemp("untouched") / "c.csv"
    found = making.prepare(workspace, ReviewRequest(corrections=path), SILENT)
    with TestClient(app.of(found, LOCAL).app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client, found


def items(client: Client, query: str = "") -> list[dict[str, Any]]:
    return list(client.get(f"/v1/review/items?count=500{query}").json()["items"])


def post(client: Client, item: dict[str, Any], action: str, label: str = "") -> Any:
    standing = item["standing"]
    body = {"picture": standing["picture"], "action": action, "label": label, "version": standing["version"]}
    return client.post("/v1/review/decisions", json=body)


def retrained(client: Client, review: Review) -> dict[str, Any]:
    assert client.post("/v1/review/retrain", json={}).status_code == 202
    review.work.join()
    return dict(client.get("/v1/review/changes").json()["retraining"])


# ------------------------------------------------------------------------------------------------ what there is to see


def test_suspects_come_first_and_every_content_once(untouched: tuple[Client, Review]) -> None:
    client, _ = untouched
    facts = client.get("/v1/review").json()
    assert (facts["pictures"], facts["rows"], facts["classes"]) == (90, 92, ["blue", "green", "red"])
    found = items(client)
    assert len(found) == len({one["standing"]["picture"] for one in found}) == 90
    kinds = [one["kind"] for one in found]
    order = ["wrong label", "conflicting labels", "near-duplicate", "outlier", "no label", "the rest"]
    assert kinds == sorted(kinds, key=order.index)
    assert {one["kind"]: one["count"] for one in facts["kinds"]} == {kind: kinds.count(kind) for kind in set(kinds)}
    suspects = [one for one in found if one["kind"] == "wrong label" and len(one["given"]) == 1]
    assert all(one["label"] not in one["given"] and one["action"] == LABEL for one in suspects)


def test_copies_are_one_picture_and_their_labels_are_all_said(untouched: tuple[Client, Review]) -> None:
    client, _ = untouched
    several = {tuple(sorted(one["given"])): one for one in items(client) if one["copies"] == 2}
    assert set(several) == {("blue",), ("blue", "red")}
    assert several["blue",]["id"] in ("blue/copy.png", "blue/train000-blue.png")
    conflicting = several["blue", "red"]
    assert conflicting["kind"] in ("conflicting labels", "wrong label")
    problem(post(client, conflicting, "keep"), 422, "the picture has several labels, one for each copy")


def test_parts_of_the_order_and_kinds(untouched: tuple[Client, Review]) -> None:
    client, _ = untouched
    whole = items(client)
    part = client.get("/v1/review/items?from=10&count=5").json()
    assert (part["from"], part["total"], part["items"]) == (10, 90, whole[10:15])
    rest = items(client, "&kind=the%20rest")
    assert rest == [one for one in whole if one["kind"] == "the rest"]
    assert client.get("/v1/review/items?from=500").json()["items"] == []
    problem(client.get("/v1/review/items?from=-1"), 422, "from is '-1', expected a whole number")


def test_pictures_are_shown_small_and_what_changed_is_not(untouched: tuple[Client, Review], workspace: Workspace) -> None:
    client, _ = untouched
    first = items(client)[-1]
    address = f"/v1/review/pictures/{first['standing']['picture']}"
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    problem(client.get(f"/v1/review/pictures/{'0' * 64}"), 404, "no picture of this data set has this SHA-256")
    other = items(client)[-2]
    path = workspace.features_dir.parent / "pets" / other["id"]
    before = path.read_bytes()
    path.write_bytes(b"no picture")
    try:
        problem(
            client.get(f"/v1/review/pictures/{other['standing']['picture']}"), 404, "no longer there, or another one by now"
        )
    finally:
        path.write_bytes(before)


def test_pictures_that_are_gone_are_no_reason_not_to_decide(workspace: Workspace, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    pictures = workspace.features_dir.parent / "pets"
    pictures.rename(tmp_path / "elsewhere")
    try:
        gone = making.prepare(workspace, ReviewRequest(corrections=tmp_path / "c.csv"), SILENT)
    finally:
        (tmp_path / "elsewhere").rename(pictures)
    with TestClient(app.of(gone, LOCAL).app, base_url="http://127.0.0.1") as client:
        assert client.get("/v1/review").json()["no_pictures"] is True
        first = items(client)[0]
        problem(client.get(f"/v1/review/pictures/{first['standing']['picture']}"), 404, "not where they were")
        assert post(client, first, "remove").status_code == 200


# ----------------------------------------------------------------------------------------------------------- decisions


def test_a_decision_is_kept_told_and_undone(client: Client, review: Review) -> None:
    first = items(client)[0]
    answer = post(client, first, LABEL, "otter")
    assert answer.status_code == 200
    kept = corrections.read(review.work.decisions.path).stands[first["standing"]["picture"]]
    assert (kept.action, kept.label, kept.given, kept.id) == (LABEL, "otter", " / ".join(first["given"]), first["id"])
    changes = client.get("/v1/review/changes?since=0").json()
    assert (changes["number"], changes["decided"]) == (1, 1)
    assert changes["changes"] == [answer.json()["standing"]]
    assert client.get("/v1/review").json()["classes"] == ["blue", "green", "red", "otter"]
    late = post(client, first, REMOVE)
    problem(late, 409, "somebody else has decided on this picture meanwhile")
    assert late.json()["standing"] == answer.json()["standing"]
    undone = post(client, items(client)[0], "undo")
    assert undone.json()["standing"]["action"] is None
    problem(post(client, items(client)[0], "undo"), 422, "there is nothing to undo")


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415, "Content-Type is text/plain, expected application/json"),
        ({"Origin": "http://evil.example"}, b"{}", 403, "the request comes from a page of another origin"),
        ({"Host": "evil.example"}, b"{}", 403, "Host 'evil.example' is not this service's"),
        ({}, b"{", 400, "the body is no JSON"),
        ({}, b"[" * 10_000, 400, "the body is no JSON"),
        ({}, b"x" * 20_000, 413, "the body has 20,000 bytes or more, the limit is 16,384"),
        (
            {},
            json.dumps({"picture": "0" * 64, "action": "keep", "version": "e.0"}).encode(),
            404,
            "no picture of this data set has this SHA-256",
        ),
    ],
)
def test_what_is_no_decision_changes_nothing(
    headers: dict[str, str], body: bytes, status: int, words: str, untouched: tuple[Client, Review]
) -> None:
    client, review = untouched
    own = {"Content-Type": "application/json", **headers}
    problem(client.post("/v1/review/decisions", content=body, headers=own), status, words)
    assert not review.work.decisions.path.exists()


def test_a_file_that_can_not_be_written_is_said_and_nothing_is_confirmed(client: Client, review: Review) -> None:
    first = items(client)[0]
    path = review.work.decisions.path
    path.mkdir(parents=True)
    problem(post(client, first, REMOVE), 500, "c.csv")
    path.rmdir()
    assert post(client, first, REMOVE).status_code == 200


# ---------------------------------------------------------------------------------------------------------- retraining


def test_retraining_compares_on_the_same_pictures_and_puts_them_in_a_new_order(client: Client, review: Review) -> None:
    wrong = [one for one in items(client) if one["id"].startswith("green/") and one["id"].endswith("-red.png")]
    assert len(wrong) == 6
    for one in wrong:
        assert post(client, one, LABEL, "red").status_code == 200
    away = next(one for one in items(client) if one["copies"] == 2 and one["given"] == ["blue"])
    assert post(client, away, REMOVE).status_code == 200
    found = retrained(client, review)
    said = found["comparison"]
    assert (found["state"], said["by"], said["decisions"]) == ("done", "cross-validation", 7)
    assert said["before"]["pictures"] == said["after"]["pictures"] == 90  # 92 rows less a picture and its copy
    before, rows = review.found.labels, review.found.rows
    assert before is not None
    current = corrected(review.work.decisions.found, rows.digests, rows.labels, rows.classes)
    right = (before.audit.proposed == current.labels[before.places]) & current.kept[before.places]
    assert said["before"]["correct"] == right.sum()  # of heads that never saw the corrections, by corrected labels
    assert said["after"]["correct"] > 45
    now = items(client)
    assert client.get("/v1/review").json()["generation"] == 2
    assert [one["kind"] for one in now[-7:]] == ["decided"] * 7
    assert len(now) == 90


def test_a_folder_without_labels_is_labelled_from_nothing(tmp_path: Path) -> None:
    workspace = extracted(tmp_path, unlabelled(tmp_path / "new", 40))
    with reviewing(workspace, tmp_path / "c.csv") as service:
        assert service.work is not None
        first = service.get("/items")["items"]
        assert {one["kind"] for one in first} == {"no label"}
        assert all(one["action"] is None for one in first)
        status, answer = service.post("/decisions", {**decision(first[0], "keep")})
        assert (status, answer["detail"]) == (422, "the picture has no label, which can't be kept: give it one")
        for one in first[:12]:
            label = one["id"].split("-")[1].split(".")[0]
            assert service.post("/decisions", {**decision(one, "label"), "label": label})[0] == 200
            if one is first[0]:
                service.post("/retrain", {})
                service.work.join()
                assert service.get("/changes")["retraining"]["error"].startswith("1 picture has a label, all of ")
        service.post("/retrain", {})
        service.work.join()
        found = service.get("/changes")["retraining"]
        assert (found["state"], found["comparison"]["before"]) == ("done", None)
        assert found["comparison"]["after"]["pictures"] == 12
        after = service.get("/items")["items"]
        assert [one["kind"] for one in after] == ["no label"] * 28 + ["decided"] * 12
        assert all(one["action"] == "label" for one in after[:28])


def decision(item: dict[str, Any], action: str) -> dict[str, Any]:
    standing = item["standing"]
    return {"picture": standing["picture"], "action": action, "version": standing["version"]}


def test_who_has_no_token_sees_and_decides_nothing(untouched: tuple[Client, Review]) -> None:
    from starlette.testclient import TestClient

    client, review = untouched
    picture = items(client)[0]["standing"]["picture"]
    own = dataclasses.replace(LOCAL, token="s3cret")
    with TestClient(app.of(review, own).app, base_url="http://127.0.0.1") as guarded:
        assert guarded.get("/").status_code == 200
        for path in ("", "/items", "/changes", f"/pictures/{picture}"):
            problem(guarded.get(f"/v1/review{path}"), 401, "a token is needed")
        problem(guarded.post("/v1/review/decisions", json={}), 401, "a token is needed")
        answer = guarded.get("/v1/review", headers={"Authorization": "Bearer s3cret"})
        assert answer.json()["pictures"] == 90


# ----------------------------------------------------------------------------------------------------------- processes


def test_what_was_confirmed_is_there_after_a_kill(workspace: Workspace, tmp_path: Path) -> None:
    root = workspace.features_dir.parent
    confirmed, path = list[str](), tmp_path / "c.csv"
    enough = threading.Event()

    def click(service: Reviewing, part: list[dict[str, Any]]) -> None:
        for one in part:
            try:
                status, _ = service.post("/decisions", decision(one, "remove"))
            except (OSError, ValueError, urllib.error.URLError):
                return  # it was killed
            if status == 200:
                confirmed.append(one["standing"]["picture"])
            if len(confirmed) >= 20:
                enough.set()

    with process(root, "--corrections", str(path)) as (running, service, _):
        found = service.get("/items?count=500")["items"]
        threads = [threading.Thread(target=click, args=(service, found[i::4])) for i in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(60)
        os.kill(running.pid, signal.SIGKILL)
        running.wait(60)
        for thread in threads:
            thread.join()
    kept = corrections.read(path)
    assert set(confirmed) <= set(kept.stands)
    assert kept.lines - len(confirmed) <= 4  # those that were under way
    again = Decisions(path, "again")
    assert {one.picture for one in again.of(confirmed) if one.decision is not None} == set(confirmed)


def test_a_user_reads_where_it_is_and_a_signal_ends_it(workspace: Workspace) -> None:
    root = workspace.features_dir.parent
    with process(root, "--dataset", f"folder:{root / 'pets'}") as (running, service, lines):
        said = "".join(lines)
        assert f"at {service.url}, without a token" in said
        assert f"decisions are added to {root / 'runs' / 'audit' / 'folder-pets' / 'corrections.csv'}" in said
        with urllib.request.urlopen(service.url, timeout=60) as answer:
            assert b"Which labels" in answer.read()
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def test_what_keeps_it_from_starting_is_one_line(workspace: Workspace, tmp_path: Path) -> None:
    place = Place(workspace.features_dir.parent)
    pets = tmp_path / "pets.csv"
    pets.write_text("path,label\na.png,cat\n")
    said = place.fails("review", "--port", "0", "--corrections", str(pets))
    assert "pets.csv, line 1: found 'path,label', expected the columns picture, action, label" in said
    said = Place(tmp_path).fails("review", "--port", "0", "--dataset", "folder:nowhere")
    assert "headstart extract" in said
    said = place.fails("review", "--port", "0", "--token-env", "NO_SUCH_VARIABLE_HERE")
    assert "--token-env NO_SUCH_VARIABLE_HERE: is not set or empty" in said


def test_the_command_that_keeps_a_head_is_one(untouched: tuple[Client, Review], workspace: Workspace) -> None:
    _, review = untouched
    words, _, path = review.command.rpartition(" --corrections ")
    assert path == str(review.work.decisions.path)
    parse(review.command)
    folders = ("--features-dir", "--runs-dir", "--data-dir")
    given = zip(folders, (workspace.features_dir, workspace.runs_dir, workspace.data_dir), strict=True)
    where = shlex.join([word for name, folder in given for word in (name, str(folder))])
    assert words == f"headstart train-head -m resnet18 --dataset folder-pets {where} --device cpu"


def test_the_command_has_all_that_tells_the_features_and_can_be_pasted(tmp_path: Path) -> None:
    place, pictures = Place(tmp_path / "my place"), draw(tmp_path / "my pictures", 30)
    for size in ("32", "48"):
        words = ("-m", "resnet18", "--weights", "random:0", "--image-size", size, "--precision", "fp32")
        place.run("extract", *words, "--dataset", f"folder:{pictures}")
    choice = FeatureChoice("fp32", 48, "random:0", transform="preset", pool="avg", layer="last")
    path = tmp_path / "it's mine.csv"
    request = ReviewRequest(("resnet18",), f"folder:{pictures}", choice, path, seed=3)
    own = Workspace(place.root / "features", place.root / "runs", place.root / "data", "cpu")
    review = making.prepare(own, request, SILENT)
    review.work.join()
    (first, *_) = FeatureStore(own.features_dir).sets()
    digests = first.load().digests
    assert digests is not None
    corrections.append(path, [Correction(bytes(digests[0]).hex(), REMOVE)])
    result = CliRunner().invoke(cli.cli, shlex.split(review.command)[1:])
    assert result.exit_code == 0, result.output
    (run,) = RunStore(own.runs_dir).runs()
    assert (run.key.image_size, run.config.seed, run.train_rows) == (48, 3, 29)


def test_a_key_is_in_the_command_and_plain_folders_are_not() -> None:
    usual = Workspace(Path("features"), Path("runs"), Path("data"), "auto")
    assert options_of(usual) == ()
    assert options_of(dataclasses.replace(usual, runs_dir=Path("other runs"))) == ("--runs-dir", "other runs")
    assert FeatureChoice(digest="0123").words == ()
