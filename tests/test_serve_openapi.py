"""The OpenAPI document is true: real answers fit its schemas, and schemathesis finds nothing against it."""

import base64
import json
from typing import Any

import hypothesis
import jsonschema
import pytest
from serve_samples import asking, head, png, service

from headstart.serve.neighbours.neighbourhood import ADDRESS
from headstart.serve.settings import Limits, Settings
from headstart.serve.web import openapi
from headstart.serve.web.options import Offer
from headstart.serve.web.problems import STATUSES, TYPE

RAW = {"content-type": "image/png"}


class Nobody:
    def nearest(self, features: Any, count: int) -> list[dict[str, Any]]:
        return [{"id": "a", "label": "b", "cosine": 1.0, "thumbnail": None}] * count


@pytest.fixture(scope="module")
def client() -> Any:
    """A client of a service with two heads."""
    with asking(service(head("one"), head("two", nearest=Nobody()), limits=Limits(pictures=3, body=100_000))) as found:
        yield found


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def test_every_answer_fits_what_the_document_says_of_it(client: Any) -> None:
    document = client.get("/openapi.json").json()
    body = {"pictures": [{"data": base64.b64encode(content).decode(), "name": "a"} for content in (png(), b"none")]}
    answers = [
        ("get", "/v1/heads", client.get("/v1/heads")),
        ("get", "/healthz", client.get("/healthz")),
        ("get", "/readyz", client.get("/readyz")),
        ("get", "/metrics", client.get("/metrics")),
        ("get", "/openapi.json", client.get("/openapi.json")),
        ("get", "/", client.get("/")),
        ("get", ADDRESS, client.get(f"/v1/thumbnails/{'ab' * 32}/0")),
        ("post", "/v1/predict", client.post("/v1/predict", json=body)),
        ("post", "/v1/predict", client.post("/v1/predict?neighbours=2&coverage=0.5", content=png(), headers=RAW)),
        ("post", "/v1/predict", client.post("/v1/predict", content=b"none", headers=RAW)),
        ("post", "/v1/predict", client.post("/v1/predict?topk=x", content=b"none", headers=RAW)),
        ("post", "/v1/predict", client.post("/v1/predict", content=bytes(200_000), headers=RAW)),
        ("post", "/v1/predict", client.post("/v1/predict", content=b"none", headers={"content-type": "text/plain"})),
    ]
    assert {path for _, path, _ in answers} == set(document["paths"])
    for method, path, answer in answers:
        said = document["paths"][path][method]["responses"][str(answer.status_code)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        if not kind.startswith("text/"):
            fits(document, said[kind]["schema"], answer.json())
        assert kind in said


def test_the_document_has_what_the_service_has() -> None:
    offer = Offer((head("one"), head("two", calibrated=False)), None)
    found = openapi.document(
        Settings(limits=Limits(pictures=5), token="secret"), offer, {"/more": {"get": {"responses": {}}}}
    )
    request = found["components"]["schemas"]["Request"]["properties"]
    assert request["pictures"]["maxItems"] == 5
    assert request["heads"]["items"]["enum"] == ["one", "two"]
    assert request["neighbours"]["maximum"] == 0  # nobody has any
    assert "not of heads without calibration" in request["coverage"]["description"]
    assert found["paths"]["/more"]["get"]["responses"]["401"]
    assert "401" not in found["paths"]["/healthz"]["get"]["responses"]
    assert "secret" not in json.dumps(found)
    plain = openapi.document(Settings(), offer)
    assert "security" not in plain
    named = {status for item in found["paths"].values() for one in item.values() for status in one["responses"]}
    assert named - {"200"} == {str(status) for status in STATUSES} - {
        "404",
        "405",
    }  # of paths and methods that are not there


def test_schemathesis_finds_nothing() -> None:
    """But that bytes which are no picture are refused: no schema can say what a picture is."""
    import schemathesis  # here alone: it takes seconds, and every process that collects tests would wait for them

    made = service(*(head(name, nearest=Nobody()) for name in ("one", "two")), limits=Limits(pictures=3, body=100_000))
    with asking(made) as client:
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        tried = [_tried(found.ok(), client) for found in schema.get_all_operations()]
    assert len(tried) == 8
    assert sum(tried) >= 25


def _tried(operation: Any, client: Any) -> int:
    """Twenty-five requests that fit the document, each of whose answers must."""
    count = 0

    @hypothesis.settings(max_examples=25, suppress_health_check=list(hypothesis.HealthCheck), database=None)
    @hypothesis.given(case=operation.as_strategy())
    def once(case: Any) -> None:
        nonlocal count
        count += 1
        answer = _asked(client, case)
        said = operation.definition.raw["responses"]
        assert str(answer.status_code) in said, answer.text
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in said[str(answer.status_code)]["content"]
        if operation.method.upper() == "POST":
            refused = case.media_type != "application/json" and answer.status_code == 422
            assert answer.status_code == 200 or refused, (case, answer.text)
            assert (kind == TYPE) == (answer.status_code != 200)

    once()
    return count


def _asked(client: Any, case: Any) -> Any:
    arguments = case.as_transport_kwargs(base_url="http://127.0.0.1")
    sent = {name: arguments[name] for name in ("params", "headers", "json", "data") if arguments.get(name) is not None}
    if "data" in sent:
        sent["content"] = sent.pop("data")
    return client.request(arguments["method"], arguments["url"], **sent)
