"""The description of the HTTP interface that `GET /openapi.json` answers, made from the messages themselves."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import msgspec

from everloop.serving.protocol import (
    ExplainRequest,
    ExplainResponse,
    FeedbackBatch,
    FeedbackItem,
    InferRequest,
    InferResponse,
    ModelMetadata,
    RepositoryModel,
    RepositoryRequest,
)

__all__ = ["document"]

_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
_VERSION = {**_MODEL, "name": "version"}
_BEARER = [{}, {"token": list[str]()}]


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    kinds = (
        InferRequest,
        InferResponse,
        ExplainRequest,
        ExplainResponse,
        ModelMetadata,
        FeedbackItem,
        FeedbackBatch,
        RepositoryRequest,
        RepositoryModel,
    )
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schemas |= {"Error": _object(error="string"), "Ready": _object(ready="boolean"), "Live": _object(live="boolean")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Everloop",
            "version": metadata.version("everloop"),
            "description": "The Open Inference Protocol v2, labels, and the model repository.",
        },
        "paths": _server() | _models("/v2/models/{model}", [_MODEL]) | _repository()
        | _models("/v2/models/{model}/versions/{version}", [_MODEL, _VERSION]),
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _server() -> dict[str, Any]:
    return {
        "/v2": {"get": _operation("The server.", {"type": "object"})},
        "/v2/health/live": {"get": _operation("Whether the server runs.", _ref("Live"))},
        "/v2/health/ready": {"get": _operation("Whether predictions are answered.", _ref("Ready"), [], (503,))},
        "/metrics": {"get": _operation("Counters, for Prometheus.", {"type": "string"}, kind="text/plain")},
        "/openapi.json": {"get": _operation("This document.", {"type": "object"})},
    }


def _models(path: str, where: list[dict[str, Any]]) -> dict[str, Any]:
    found = {
        path: {"get": _operation("Inputs and outputs.", _ref("ModelMetadata"), where, (404, 503))},
        f"{path}/ready": {"get": _operation("Whether it answers.", _ref("Ready"), where, (404, 503))},
        f"{path}/infer": {"post": _operation(
            "A prediction, journalled before it leaves.", _ref("InferResponse"), where,
            (400, 404, 413, 503, 504), _ref("InferRequest"),
        )},
    }  # fmt: skip
    found[f"{path}/explain"] = {
        "post": _operation(
            "Why an answer is what it is: Shapley values.", _ref("ExplainResponse"), where,
            (400, 404, 413, 503, 504), _ref("ExplainRequest"),
        )
    }  # fmt: skip
    if len(where) == 1:
        labels = {"anyOf": [_ref("FeedbackBatch"), _ref("FeedbackItem")]}
        taken = _operation("Labels.", _object(accepted="integer"), where, (400, 401, 404, 413, 503), labels)
        found[f"{path}/feedback"] = {"post": taken | {"security": _BEARER}}
    return found


def _repository() -> dict[str, Any]:
    models = {"type": "array", "items": _ref("RepositoryModel")}
    found = {
        "/v2/repository/index": {
            "post": _operation("The versions of the plan.", models, [], (400, 401, 413), _ref("RepositoryRequest"))
        }
    }
    for verb, told in (
        ("load", "Answer again, by the newest plan."),
        ("unload", "Answer no more, until it is loaded."),
    ):
        operation = _operation(told, {"type": "object"}, [_MODEL], (400, 401, 404, 413, 503), _ref("RepositoryRequest"))
        found[f"/v2/repository/models/{{model}}/{verb}"] = {"post": operation}
    for path in found.values():
        path["post"]["security"] = _BEARER
    return found


def _operation(
    summary: str,
    answer: dict[str, Any],
    where: list[dict[str, Any]] | None = None,
    errors: tuple[int, ...] = (),
    body: dict[str, Any] | None = None,
    kind: str = "application/json",
) -> dict[str, Any]:
    responses = {"200": _content("Done.", answer, kind)}
    responses |= {
        str(status): _content(_MEANING[status], {"anyOf": [_ref("Error"), _ref("Ready")]}) for status in errors
    }
    found: dict[str, Any] = {"summary": summary, "parameters": where or [], "responses": responses}
    if body:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


_MEANING = {
    400: "The request is wrong: which field, and why.",
    401: "It changes state and needs the server's token.",
    404: "There is no such model or version.",
    413: "The body is too large.",
    503: "It cannot answer now: try again after Retry-After seconds.",
    504: "It took longer than the request's or the server's limit.",
}


def _content(told: str, schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    return {"description": told, "content": {kind: {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**fields: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
