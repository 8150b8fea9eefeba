"""How Anthropic's clients are told of errors."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from headrace.errors import ApiError
from headrace.openai import message
from headrace.openai.answer import read_error
from headrace.openai.message import Error, ErrorDetail
from headrace.wire.dialect import Dialect

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class AnthropicDialect(Dialect):
    """``{"type": "error", "error": {"type", "message"}}``, as an answer and as an event."""

    __slots__ = ()

    heartbeat: ClassVar = b'event: ping\ndata: {"type":"ping"}\n\n'
    id_header: ClassVar = b"request-id"

    def error(self, error: ApiError) -> bytes:
        return msgspec.json.encode(_error(error.status, error.message))

    def passed_error(self, status: int, body: bytes) -> bytes:
        return msgspec.json.encode(_error(status, read_error(body).message))

    def broken(self, error: ApiError) -> bytes:
        return message.event(_error(error.status, error.message))


def _error(status: int, text: str) -> Error:
    return Error(ErrorDetail(_TYPES.get(status, "invalid_request_error"), text))
