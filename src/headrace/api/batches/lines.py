"""The lines of a batch: requests in, results out."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from headrace.errors import ApiError, InvalidRequest
from headrace.openai.batches import Line
from headrace.openai.document import convert, decode, encode
from headrace.store.objects.batches import Result
from headrace.wire.recording import Recorded

_MOST = 50_000
_LONGEST = 8 * 1024 * 1024
_ERRORS = 100
"""How many mistakes are told of one file."""


class Request(Struct, frozen=True):
    line: int
    """From 0."""
    custom_id: str
    body: bytes


class _Response(Struct):
    status_code: int
    request_id: str
    body: Raw


class _Failure(Struct):
    code: str
    message: str


class _ResultLine(Struct):
    id: str
    custom_id: str
    response: _Response | None = None
    error: _Failure | None = None


class Reader:
    """Reads an input file; what is wrong with it is in ``errors``, by line."""

    def __init__(self, endpoint: str) -> None:
        self.count = 0
        self.errors: list[dict[str, Any]] = []
        self._endpoint = endpoint
        self._ids: set[str] = set()

    def read(self, pieces: Iterable[bytes]) -> Iterator[Request]:
        """The requests that are sound."""
        for number, text in enumerate(_lines(pieces)):
            if len(self.errors) >= _ERRORS:
                return
            if not text.strip():
                continue
            self.count += 1
            try:
                yield self._request(number, text)
            except ApiError as error:
                self.errors.append(
                    {"code": error.code, "line": number + 1, "message": error.message, "param": error.param}
                )

    def scan(self, pieces: Iterable[bytes]) -> None:
        """Only look."""
        for _ in self.read(pieces):
            pass

    def _request(self, number: int, text: bytes) -> Request:
        if self.count > _MOST:
            raise InvalidRequest(f"A batch has at most {_MOST:,} requests.", code="too_many_requests")
        if len(text) > _LONGEST:
            raise InvalidRequest(f"A request has at most {_LONGEST:,} bytes.", code="request_too_large")
        line = convert(decode(text), Line, {"method": ("POST",)})
        if line.url != self._endpoint:
            told = f"url: must be the batch's endpoint, {self._endpoint}."
            raise InvalidRequest(told, param="url", code="mismatched_endpoint")
        if line.custom_id in self._ids:
            raise InvalidRequest("custom_id: is there twice.", param="custom_id", code="duplicate_custom_id")
        if line.body.get("stream"):
            raise InvalidRequest("body.stream: a batch has no streams.", param="body.stream")
        self._ids.add(line.custom_id)
        return Request(number, line.custom_id, encode(line.body))

    @staticmethod
    def empty() -> dict[str, Any]:
        """The error of a file without lines."""
        return {"code": "empty_file", "line": None, "message": "The input file has no requests.", "param": None}


def result_line(request: Request, answer: Recorded) -> Result:
    """What came back: of a success a line of the output file, else one of the error file."""
    response = _Response(answer.status, answer.request_id, Raw(answer.body or b"null"))
    return _result(request, answer.status == 200, response=response)


def error_line(request: Request, code: str, message: str) -> Result:
    """Nothing came back."""
    return _result(request, False, error=_Failure(code, message))


def _result(request: Request, ok: bool, response: _Response | None = None, error: _Failure | None = None) -> Result:
    line = _ResultLine(f"batch_req_{secrets.token_hex(12)}", request.custom_id, response, error)
    return Result(request.line, ok, msgspec.json.encode(line))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > 2 * _LONGEST:
            yield rest
            return
    if rest:
        yield rest
