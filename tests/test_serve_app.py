"""The service's routes: what each answers, and every problem that it may name."""

import base64
import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import Place
from extract_samples import QuarterMeans, encoded, picture
from PIL import Image
from serve_samples import COLOURS, asking, head, png, problem, service
from serve_samples import shop as shop

from headstart.core.cache.errors import OutOfMemory, RunNotFound
from headstart.serve import app
from headstart.serve.engine.keeping import Keeper
from headstart.serve.settings import Limits, Settings
from headstart.workspace import Workspace

RAW = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """A client of one service, for what leaves no trace there."""
    with asking(service()) as client:
        yield client


def in_json(*contents: bytes, **more: Any) -> dict[str, Any]:
    return {"pictures": [{"data": base64.b64encode(content).decode()} for content in contents], **more}


class Neighbours:
    """Two training pictures, whatever the picture."""

    def nearest(self, features: Any, count: int) -> list[dict[str, Any]]:
        assert features.shape == (4,)
        return [{"id": f"{row}.png", "label": "dark", "cosine": 1.0, "thumbnail": None} for row in range(count)]


def test_one_picture_is_answered_with_what_it_is() -> None:
    with asking(service()) as client:
        found = client.post("/v1/predict?topk=2&coverage=0.5", content=png(), headers=RAW)
    assert found.status_code == 200
    (one,) = found.json()["pictures"]
    assert (one["name"], one["width"], one["height"], one["problem"]) == (None, 24, 16, None)
    assert one["sha256"] == hashlib.sha256(png()).hexdigest()
    (said,) = one["heads"]
    assert (said["head"], said["title"], said["digest"]) == ("colours", "colours, a stand-in", "ab" * 32)
    assert len(said["labels"]) == 2
    assert {label["label"] for label in said["labels"]} <= set(COLOURS)
    assert said["labels"][0]["share"] >= said["labels"][1]["share"]
    assert (type(said["set"]), type(said["unsure"]), said["neighbours"]) == (list, bool, None)


def test_a_json_body_has_many_and_says_which_can_not_be_read() -> None:
    body = in_json(png(1), b"no picture", png(2), topk=1)
    body["pictures"][0]["name"] = "first\ud800 ü.png"
    with asking(service()) as client:
        found = client.post("/v1/predict", content=json.dumps(body), headers={"content-type": "application/json"})
        alone = client.post("/v1/predict?topk=1", content=png(2), headers=RAW)
    first, bad, last = found.json()["pictures"]
    assert first["name"] == "first\ud800 ü.png"
    assert (bad["heads"], bad["width"], bad["problem"]["status"]) == ([], None, 422)
    assert "cannot identify" in bad["problem"]["detail"]
    assert last == alone.json()["pictures"][0]


def test_options_in_the_body_count_before_those_of_the_query() -> None:
    with asking(service(head("one"), head("two"))) as client:
        found = client.post("/v1/predict?topk=4&head=one", json=in_json(png(), topk=1, heads=["two"]))
        both = client.post("/v1/predict?topk=4", json=in_json(png()))
    (said,) = found.json()["pictures"][0]["heads"]
    assert (said["head"], len(said["labels"])) == ("two", 1)
    assert [(said["head"], len(said["labels"])) for said in both.json()["pictures"][0]["heads"]] == [("one", 4), ("two", 4)]


def test_sets_are_there_where_all_heads_are_calibrated_or_where_they_are_asked_for() -> None:
    with asking(service(head("sure"), head("unsure", calibrated=False))) as client:
        plain = client.post("/v1/predict", content=png(), headers=RAW)
        asked = client.post("/v1/predict?head=sure&coverage=0.9", content=png(), headers=RAW)
        refused = client.post("/v1/predict?coverage=0.9", content=png(), headers=RAW)
        assert client.get("/v1/heads").json()["coverage"] is None
    assert [said["set"] for said in plain.json()["pictures"][0]["heads"]] == [None, None]
    assert asked.json()["pictures"][0]["heads"][0]["set"] is not None
    problem(refused, 422, "the head unsure has no calibration")
    with asking(service()) as client:
        assert client.get("/v1/heads").json()["coverage"] == 0.95
    with pytest.raises(RunNotFound, match=r"unsure: the .* has no calibration"):
        service(head("unsure", calibrated=False), coverage=0.9)


def test_neighbours_are_those_of_the_heads_that_have_some() -> None:
    with asking(service(head("one", nearest=Neighbours()), head("two"))) as client:
        found = client.post("/v1/predict?neighbours=2", content=png(), headers=RAW)
        none = client.post("/v1/predict?neighbours=2&head=two", content=png(), headers=RAW)
        assert [one["neighbours"] for one in client.get("/v1/heads").json()["heads"]] == [True, False]
    one, two = found.json()["pictures"][0]["heads"]
    assert ([near["id"] for near in one["neighbours"]], two["neighbours"]) == (["0.png", "1.png"], None)
    problem(none, 422, "training pictures are not at hand")


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail"),
    [
        (b"", "image/png", 422, "cannot identify"),
        (b"GIF89a", "image/gif", 422, "can't be decoded"),
        (png()[:-45], "image/png", 422, "can't be decoded"),
        (png(), "text/plain", 415, "text/plain, expected image/"),
        (png(), "multipart/form-data; boundary=x", 415, "send the bytes alone"),
        (png(), "", 415, "not there, expected"),
        (b"{", "application/json", 400, "no JSON"),
        (b'{"a": 1, "a": 1}', "application/json", 400, "the same key twice"),
        (b"[" * 100_000, "application/json", 400, "nested too deeply"),
        (b"\xff", "application/json", 400, "no JSON"),
        (b'{"topk": NaN}', "application/json", 400, "NaN, which is not JSON"),
        (b"[]", "application/json", 422, "an empty list, expected an object"),
        (b"{}", "application/json", 422, "pictures: nothing found"),
        (b'{"pictures": []}', "application/json", 422, "pictures: an empty list found"),
        (b'{"pictures": [1]}', "application/json", 422, r"pictures\[0\]: a number found"),
        (b'{"pictures": [{}]}', "application/json", 422, r"pictures\[0\].data: nothing found"),
        (b'{"pictures": [{"data": "data:image/png;base64,AA=="}]}', "application/json", 422, "before the comma"),
        (b'{"pictures": [{"data": "AAAA\\nAA==\\n"}]}', "application/json", 422, "leave out line breaks and spaces"),
        (b'{"pictures": [{"data": "AA AA"}]}', "application/json", 422, "leave out line breaks and spaces"),
        (b'{"pictures": [{"data": "_-A="}]}', "application/json", 422, r"send \+ and / for - and _"),
        (b'{"pictures": [{"data": "\xc3\xbc"}]}', "application/json", 422, "no base64"),
        (b'{"pictures": [{"data": "", "name": 3}]}', "application/json", 422, r"pictures\[0\].name: a number"),
        (b'{"pictures": [{"data": "", "path": "x"}]}', "application/json", 422, "'path' is no field"),
        (b'{"pictures": [{"data": ""}], "topk": 0}', "application/json", 422, "topk is 0"),
        (b'{"pictures": [{"data": ""}], "topk": true}', "application/json", 422, "topk is True"),
        (b'{"pictures": [{"data": ""}], "coverage": 1}', "application/json", 422, "coverage is 1"),
        (b'{"pictures": [{"data": ""}], "heads": []}', "application/json", 422, "heads is an empty list"),
        (b'{"pictures": [{"data": ""}], "heads": [["a"]]}', "application/json", 422, "a list is no head"),
        (b'{"pictures": [{"data": ""}], "heads": ["colours", "colours"]}', "application/json", 422, "named twice"),
        (b'{"pictures": [{"data": ""}], "model": 1}', "application/json", 422, "'model' is no field"),
    ],
)  # fmt: skip
def test_a_body_that_can_not_be_answered_says_why(shared: Any, content: bytes, kind: str, status: int, detail: str) -> None:
    problem(shared.post("/v1/predict", content=content, headers={"content-type": kind} if kind else {}), status, detail)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("topk=0", "topk is 0, expected a whole number from 1 to 1,000"),
        ("topk=1001", "topk is 1001"),
        ("topk=%2B1", r"topk is '\+1'"),
        ("topk=" + "9" * 5000, "topk is '999"),
        ("topk=1&topk=2", "topk is there twice"),
        ("coverage=1", "coverage is 1.0"),
        ("coverage=nan", "coverage is 'nan'"),
        ("coverage=", "coverage is ''"),
        ("neighbours=21", "neighbours is 21"),
        ("head=nobody", "'nobody' is no head"),
        ("head=colours&head=colours", "named twice"),
        ("tokp=3", "'tokp' is no parameter"),
    ],
)
def test_a_query_that_can_not_be_meant_says_why(shared: Any, query: str, detail: str) -> None:
    problem(shared.post(f"/v1/predict?{query}", content=png(), headers=RAW), 400, detail)


def test_limits_of_bytes_pictures_and_pixels_are_413() -> None:
    with asking(service(limits=Limits(body=20_000, pictures=2, pixels=500))) as client:
        problem(client.post("/v1/predict", content=bytes(20_001), headers=RAW), 413, "the limit is 20,000")
        chunked = client.post("/v1/predict", content=iter([bytes(15_000), bytes(15_000)]), headers=RAW)
        problem(chunked, 413, "30,000 bytes or more")
        problem(client.post("/v1/predict", json=in_json(*[png()] * 3)), 413, "3 found, the limit of a request is 2")
        large = encoded(picture(30, 20), "PNG")
        problem(client.post("/v1/predict", content=large, headers=RAW), 413, "30x20 px, more than 500 pixels")
        several = client.post("/v1/predict", json=in_json(large, png()))
        assert [one["problem"] and one["problem"]["status"] for one in several.json()["pictures"]] == [413, None]


def test_a_hundred_megapixels_in_a_few_bytes_are_refused_before_one_is_decoded() -> None:
    header = encoded(Image.new("1", (10_000, 10_001)), "PNG")
    assert len(header) < 200_000
    with asking(service()) as client:
        problem(client.post("/v1/predict", content=header, headers=RAW), 413, "exceeds limit|more than")


def test_a_compressed_body_is_not_taken() -> None:
    with asking(service()) as client:
        answer = client.post("/v1/predict", content=png(), headers={**RAW, "content-encoding": "gzip"})
        problem(answer, 415, "leave out Content-Encoding")


def test_what_is_not_there_or_not_by_this_method_is_a_problem_too() -> None:
    with asking(service()) as client:
        problem(client.get("/nothing"), 404, "GET /nothing")
        problem(client.get("/v1/heads/"), 404, "/v1/heads/")
        wrong = client.get("/v1/predict")
        problem(wrong, 405, "GET /v1/predict")
        assert wrong.headers["allow"] == "POST"


class Gate(QuarterMeans):
    """A stand-in that computes once it may."""

    def __init__(self) -> None:
        super().__init__(batch_size=1)
        self.opened = threading.Event()
        self.opened.set()

    def running(self, config: Any) -> "Gate":
        return self

    def __call__(self, images: Any) -> Any:
        self.opened.wait(30)
        return super().__call__(images)


def test_too_many_requests_at_once_are_told_to_come_again() -> None:
    gate = Gate()
    made = service(extractor=gate, limits=Limits(requests=1))
    with asking(made) as client:
        gate.opened.clear()
        answers: list[Any] = []
        first = threading.Thread(target=lambda: answers.append(client.post("/v1/predict", content=png(), headers=RAW)))
        first.start()
        while not made.hand.requests:
            time.sleep(0.001)
        second = client.post("/v1/predict", content=png(), headers=RAW)
        problem(second, 429, "1 requests are in hand")
        assert second.headers["retry-after"] == "1"
        gate.opened.set()
        first.join()
        assert [answer.status_code for answer in answers] == [200]
        assert (made.hand.requests, made.hand.memory) == (0, 0)


def test_an_answer_that_takes_too_long_is_504_and_the_service_goes_on() -> None:
    gate = Gate()
    with asking(service(extractor=gate, limits=Limits(answer_s=0.05))) as client:
        gate.opened.clear()
        problem(client.post("/v1/predict", content=png(), headers=RAW), 504, "after 0.05 s")
        gate.opened.set()
        assert client.post("/v1/predict", content=png(), headers=RAW).status_code == 200


def test_memory_that_runs_out_is_503_and_the_service_goes_on() -> None:
    class Small(QuarterMeans):
        full = False

        def running(self, config: Any) -> "Small":
            return self

        def __call__(self, images: Any) -> Any:
            if self.full:
                raise OutOfMemory("no room for the batch")
            return super().__call__(images)

    extractor = Small(batch_size=1)
    with asking(service(extractor=extractor)) as client:
        extractor.full = True
        problem(client.post("/v1/predict", content=png(), headers=RAW), 503, "no room")
        extractor.full = False
        assert client.post("/v1/predict", content=png(), headers=RAW).status_code == 200


def test_what_nobody_expected_is_500_without_a_word_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(QuarterMeans):
        warmed = False

        def running(self, config: Any) -> "Broken":
            return self

        def __call__(self, images: Any) -> Any:
            if self.warmed:
                raise AttributeError("a secret of the inside")
            return super().__call__(images)

    extractor = Broken(batch_size=1)
    with asking(service(extractor=extractor)) as client, caplog.at_level(logging.ERROR, "headstart.serve"):
        extractor.warmed = True
        found = client.post("/v1/predict", content=png(), headers=RAW)
    problem(found, 500, "the service's log says what")
    assert "secret" not in found.text
    assert "a secret of the inside" in caplog.text


def test_the_service_is_not_ready_before_it_is_warm_nor_when_it_stops() -> None:
    gate = Gate()
    gate.opened.clear()
    made = service(extractor=gate)
    from starlette.testclient import TestClient

    with TestClient(made.app, base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        problem(client.get("/readyz"), 503, "being made ready")
        problem(client.post("/v1/predict", content=png(), headers=RAW), 503, "being made ready")
        gate.opened.set()
        while not made.room.ready:
            time.sleep(0.001)
        assert client.get("/readyz").json() == {"status": "ready"}
        made.leaving = True
        problem(client.get("/readyz"), 503, "stopping")
        last = client.post("/v1/predict", content=png(), headers=RAW)
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        made.stopping = True
        problem(client.post("/v1/predict", content=png(), headers=RAW), 503, "stopping")
        assert client.get("/healthz").status_code == 200


def test_what_is_counted_can_be_read() -> None:
    with asking(service()) as client:
        client.post("/v1/predict", json=in_json(png(1), png(2), b"no picture"))
        client.get("/nothing/of/the/kind")
        found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in found.text.splitlines() if not line.startswith("#"))
    assert lines['headstart_requests_total{path="/v1/predict",status="200"}'] == "1.0"
    assert lines['headstart_requests_total{path="other",status="404"}'] == "1.0"
    assert lines['headstart_pictures_total{result="labelled"}'] == "2.0"
    assert lines['headstart_pictures_total{result="refused"}'] == "1.0"
    assert float(lines["headstart_batch_pictures_sum"]) == 2
    gauges = ("headstart_requests_in_hand", "headstart_queue_pictures", "headstart_ready")
    assert [lines[name] for name in gauges] == ["0.0", "0.0", "1.0"]


def test_pictures_are_kept_only_where_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kept"
    with asking(service(keep=folder)) as client:
        found = client.post("/v1/predict", json=in_json(png(), b"no picture"))
        assert found.status_code == 200
        monkeypatch.setattr(Keeper, "_write_one", _full)
        problem(client.post("/v1/predict", content=png(3), headers=RAW), 500, "could not be kept")
    name = hashlib.sha256(png()).hexdigest()
    assert {path.name for path in folder.iterdir()} == {f"{name}.png", f"{name}.json"}
    assert (folder / f"{name}.png").read_bytes() == png()
    assert json.loads((folder / f"{name}.json").read_bytes()) == found.json()["pictures"][0]


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_real_heads_are_served_as_predict_labels(shop: Path, tmp_path: Path) -> None:
    """Two heads of one backbone, by their names: one pass for both, and the shares of `headstart predict`."""
    workspace = Workspace(shop / "features", shop / "runs", tmp_path, "cpu")
    names = sorted(path.name for path in (shop / "runs").iterdir())
    made = app.create(workspace, names, Settings(workers=2))
    assert len(made.room.batchers) == 1
    file = tmp_path / "a.png"
    file.write_bytes(png())
    with asking(made) as client:
        described = client.get("/v1/heads").json()
        (found,) = client.post("/v1/predict?topk=10", content=png(), headers=RAW).json()["pictures"]
        assert client.get("/metrics").text.count("headstart_batch_pictures_count 1.0") == 1
    assert [(one["name"], one["calibrated"], one["classes"]) for one in described["heads"]] == [
        (name, "ridge" in name, [str(digit) for digit in range(10)]) for name in names
    ]
    accuracy = described["heads"][0]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert (accuracy["rows"], accuracy["by"]) == (200, "test")
    heads = [word for name in names for word in ("--head", str(shop / "runs" / name))]
    told = Place(shop).run("predict", str(file), *heads, "--topk", "10", "--format", "json")
    (expected,) = json.loads(told.stdout.splitlines()[-1])
    for said in found["heads"]:
        theirs = expected["labels"][said["head"]]
        assert [label["label"] for label in said["labels"]] == [name for name, _ in theirs]
        assert np.allclose([label["share"] for label in said["labels"]], [share for _, share in theirs], rtol=1e-5)
