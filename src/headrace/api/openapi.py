"""OpenAPI documents (3.1), made from the types that requests are decoded with: they cannot say anything else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headrace import __version__
from headrace.api.endpoints import INFERENCE
from headrace.api.record import Record
from headrace.openai.batches import BatchFields, BatchList, BatchObject, Deleted, FileForm, FileList, FileObject
from headrace.openai.models import Model, ModelList
from headrace.service.ops import JSON
from headrace.wire.exchange import Exchange

_REF = "#/components/schemas/{name}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string", "description": "What to change."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field at fault."},
                "code": {"type": ["string", "null"], "description": "Stable, for programs."},
            },
        }
    },
}
_FAILURES = {"4XX": "The request, the key or its limits", "5XX": "The platform: try again, after Retry-After if given"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of the path or the query; a string unless ``schema`` says otherwise."""

    name: str
    place: str = "query"
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``body`` and ``answer`` are types; None: no body, or JSON that is not described."""

    method: str
    path: str
    summary: str
    body: type | None = None
    answer: type | None = None
    status: int = 200
    streams: bool = False
    parameters: Sequence[Parameter] = ()
    body_type: str = "application/json"
    """The body's content type; a type that is not JSON is described as an object of form fields."""
    answer_type: str = "application/json"


def render(title: str, operations: Iterable[Operation]) -> bytes:
    """The document as JSON."""
    operations = list(operations)
    types = list(dict.fromkeys(one for operation in operations for one in (operation.body, operation.answer) if one))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, by_type)
    document = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }
    return msgspec.json.encode(document)


def _describe(operation: Operation, by_type: dict[type, dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = {operation.answer_type: {"schema": by_type[operation.answer] if operation.answer else {}}}
    if operation.streams:
        answer["text/event-stream"] = {"schema": {"type": "string"}}
    told: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {
            str(operation.status): {"description": "The answer", "content": answer},
            **{status: _failure(text) for status, text in _FAILURES.items()},
        },
    }
    if operation.parameters:
        told["parameters"] = [
            {"name": one.name, "in": one.place, "required": one.place == "path", "schema": one.schema}
            for one in operation.parameters
        ]
    if operation.body is not None:
        content = {operation.body_type: {"schema": by_type[operation.body]}}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _failure(text: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="Error")}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


_MODEL = Parameter("id", "path")
_ID = (Parameter("id", "path"),)
_BYTES = "application/octet-stream"
_PAGE = (Parameter("after"), Parameter("limit", schema={"type": "integer", "minimum": 1, "maximum": 100}))
_FILE_PAGE = (*_PAGE, Parameter("purpose"), Parameter("order", schema={"enum": ["asc", "desc"]}))

PUBLIC = (
    *(Operation("POST", one.path, one.summary, one.body, streams=one.streams) for one in INFERENCE),
    Operation("GET", "/v1/models", "Models that the key may use", answer=ModelList),
    Operation("GET", "/v1/models/{id}", "One of them", answer=Model, parameters=(_MODEL,)),
    Operation("GET", "/v1/responses/{id}", "A stored response", parameters=_ID),
    Operation("DELETE", "/v1/responses/{id}", "Forget a stored response", parameters=_ID),
    Operation("GET", "/v1/responses/{id}/input_items", "What it answered", parameters=_ID),
    Operation("POST", "/v1/files", "Upload a file", FileForm, FileObject, body_type="multipart/form-data"),
    Operation("GET", "/v1/files", "Files", answer=FileList, parameters=_FILE_PAGE),
    Operation("GET", "/v1/files/{id}", "One of them", answer=FileObject, parameters=_ID),
    Operation("DELETE", "/v1/files/{id}", "Delete a file", answer=Deleted, parameters=_ID),
    Operation(
        "GET", "/v1/files/{id}/content", "What a file holds", answer_type="application/octet-stream", parameters=_ID
    ),
    Operation("POST", "/v1/batches", "Make a batch of a file of requests", BatchFields, BatchObject),
    Operation("GET", "/v1/batches", "Batches", answer=BatchList, parameters=_PAGE),
    Operation("GET", "/v1/batches/{id}", "One of them", answer=BatchObject, parameters=_ID),
    Operation("POST", "/v1/batches/{id}/cancel", "End a batch early", answer=BatchObject, parameters=_ID),
)
"""What clients may call."""


class PublicDocument:
    """``GET /openapi.json``: needs no key. Made at the first call."""

    def __init__(self) -> None:
        self._body = b""

    async def serve(self, exchange: Exchange, record: Record) -> None:
        self._body = self._body or render("Headrace", PUBLIC)
        exchange.respond(200, JSON, self._body)
