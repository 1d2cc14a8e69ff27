"""The service's OpenAPI 3.1 document, made of the limits and names that the code uses."""

from __future__ import annotations

import http
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from headstart.serve.settings import DEFAULT_LABELS, MOST_LABELS, MOST_NAME, MOST_NEIGHBOURS, Settings
from headstart.serve.web.metrics import TYPE as METRICS_TYPE
from headstart.serve.web.options import Offer
from headstart.serve.web.problems import TYPE as PROBLEM_TYPE

BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
"""What is decoded: RFC 4648, section 4, without line breaks."""
JSON = "application/json"
_ANY = (400, 403, 408, 500, 503)
"""Of every operation: no HTTP, another name or origin, headers that take too long, a fault, too many connections."""
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": TEXT,
    },
}


def document(settings: Settings, offer: Offer, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The document. `more` are path items of other parts of the service."""
    paths: dict[str, Any] = {
        "/v1/predict": {"post": _predict(settings, offer)},
        "/v1/heads": {"get": _get("heads", "The heads, and what a request may be", {JSON: _reference("Heads")})},
        "/healthz": {
            "get": {**_get("alive", "The process answers", {JSON: _object(status={"const": "alive"})}), "security": []}
        },
        "/readyz": {"get": _get("ready", "The service takes pictures", {JSON: _object(status={"const": "ready"})})},
        "/metrics": {"get": _get("metrics", "Prometheus' text format", {METRICS_TYPE.partition(";")[0]: TEXT})},
        "/openapi.json": {"get": _get("document", "This document", {JSON: {"type": "object"}})},
    }
    paths |= more or {}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "headstart serve", "version": importlib.metadata.version("headstart")},
        "paths": paths,
        "components": {"schemas": _schemas(settings, offer)},
    }
    if settings.token is not None:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
        for item in paths.values():
            for operation in item.values():
                if operation.get("security") != []:
                    operation["responses"]["401"] = _problem(401)
    return found


def problems(*statuses: int) -> dict[str, Any]:
    """Responses with problem documents, those that any operation may have among them."""
    return {str(status): _problem(status) for status in sorted({*_ANY, *statuses})}


def _problem(status: int) -> dict[str, Any]:
    headers = {429: "Retry-After", 503: "Retry-After", 405: "Allow", 401: "WWW-Authenticate"}
    own = {"headers": {headers[status]: {"schema": TEXT}}} if status in headers else {}
    content = {PROBLEM_TYPE: {"schema": _reference("Problem")}}
    return {"description": http.HTTPStatus(status).phrase, "content": content, **own}


def _get(name: str, summary: str, content: Mapping[str, Schema]) -> dict[str, Any]:
    found = {"description": summary, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
    return {"operationId": name, "summary": summary, "responses": {"200": found, **problems()}}


def _predict(settings: Settings, offer: Offer) -> dict[str, Any]:
    fields = _options(offer)
    named = {"topk": "topk", "coverage": "coverage", "head": "heads", "neighbours": "neighbours"}
    picture = {"schema": {"type": "string", "format": "binary", "maxLength": settings.limits.body}}
    return {
        "operationId": "predict",
        "summary": "The labels of pictures",
        "description": "A picture as body has its options in the query. Those in a JSON body count before the query's.",
        "parameters": [{"name": name, "in": "query", "schema": fields[field]} for name, field in named.items()],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _reference("Request")},
                "application/octet-stream": picture,
                "image/*": picture,
            },
        },
        "responses": {
            "200": {"description": "What the heads say", "content": {JSON: {"schema": _reference("Answer")}}},
            **problems(413, 415, 422, 429, 504),
        },
    }


def _options(offer: Offer) -> dict[str, Schema]:
    """The options of a prediction, by the names of a JSON body's fields."""
    names = [head.name for head in offer.heads]
    most = MOST_NEIGHBOURS if any(head.nearest is not None for head in offer.heads) else 0
    calibrated = all(head.calibrated for head in offer.heads)
    coverage = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    if offer.coverage is not None:
        coverage["default"] = offer.coverage
    said = "The share of pictures whose class shall be in the set" + (
        "" if calibrated else "; not of heads without calibration"
    )
    return {
        "topk": {"type": "integer", "minimum": 1, "maximum": MOST_LABELS, "default": DEFAULT_LABELS},
        "coverage": {**coverage, "description": said},
        "heads": {
            "type": "array",
            "items": {"enum": names},
            "minItems": 1,
            "uniqueItems": True,
            "description": "Default: all",
        },
        "neighbours": {"type": "integer", "minimum": 0, "maximum": most, "default": 0},
    }


def _schemas(settings: Settings, offer: Offer) -> dict[str, Schema]:
    """What is named in the document."""
    pictures = {"type": "array", "items": _picture(), "minItems": 1, "maxItems": settings.limits.pictures}
    options = _options(offer)
    for name in ("coverage", "heads"):  # null: as if it were not there
        options[name] = {**options[name], "type": [options[name]["type"], "null"]}
    request = _object(pictures=pictures, **options)
    return {
        "Request": {**request, "required": ["pictures"], "additionalProperties": False},
        "Answer": _object(pictures=_list(_reference("Labelled"))),
        "Labelled": _object(
            name=_or_null(TEXT),
            sha256=DIGEST,
            width=_or_null({"type": "integer", "minimum": 1}),
            height=_or_null({"type": "integer", "minimum": 1}),
            heads=_list(_reference("HeadAnswer")),
            problem=_or_null(_reference("Problem")),
        ),
        "HeadAnswer": _object(
            head=TEXT,
            title=TEXT,
            digest=DIGEST,
            labels=_list(_object(label=TEXT, share=SHARE)),
            set=_or_null(_list(TEXT)),
            unsure=_or_null({"type": "boolean"}),
            neighbours=_or_null(_list(_reference("Neighbour"))),
        ),
        "Neighbour": _object(id=TEXT, label=TEXT, cosine={"type": "number"}, thumbnail=_or_null(TEXT)),
        "Heads": _object(
            heads=_list(_head()),
            coverage=_or_null(SHARE),
            keeps={"type": "boolean", "description": "Whether pictures and answers are kept here"},
            limits=_numbers(settings.limits.to_json()),
            version=TEXT,
        ),
        "Problem": PROBLEM,
    }


def _picture() -> Schema:
    found = _object(name=_or_null({**TEXT, "maxLength": MOST_NAME}), data={**TEXT, "pattern": BASE64, "format": "byte"})
    return {**found, "required": ["data"], "additionalProperties": False}


def _head() -> Schema:
    accuracy = _object(
        value=SHARE, low=SHARE, high=SHARE, rows={"type": "integer"}, by={"enum": ["test", "cross-validation"]}
    )
    share, count = _or_null(SHARE), {"type": "integer"}
    apart = _object(
        value=share, low=share, high=share, rows=count, leaked=count, audited={"type": "boolean"}, sentence=TEXT
    )
    texts = dict.fromkeys(("name", "title", "backbone", "dataset", "precision", "licence"), TEXT)
    return _object(
        **texts,
        digest=DIGEST,
        classes=_list(TEXT),
        image_size={"type": "integer"},
        accuracy=_or_null(accuracy),
        without_twins=_or_null(apart),
        calibrated={"type": "boolean"},
        caveats=_list(TEXT),
        neighbours={"type": "boolean"},
    )


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _numbers(found: Mapping[str, Any]) -> Schema:
    return _object(**{name: {"type": "number"} for name in found})


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
