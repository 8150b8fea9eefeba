"""Every error that Headrace raises on purpose.

    HeadraceError
    ├── ConfigError             a setting, a file or a flag is wrong; the message names it
    ├── ModelError              a model folder is missing, broken or not servable
    ├── EngineEnded             a worker gives up: its engine ended, and starting it again does not help
    ├── StoreError              the database does not answer, or what it said is not to be believed
    ├── WireError               a connection to another service did not do its work
    │   ├── ConnectError            nobody listens, or the name does not resolve
    │   ├── ConnectionLost          the peer closed or reset before its answer was complete
    │   ├── UpstreamTimeout         the peer did not answer in time
    │   └── ProtocolError           the peer spoke something that is not HTTP/1.1
    ├── NotResumable            a broken stream cannot be gone on with; says why
    └── ApiError                what a client is told: a status and OpenAI's error object
        ├── InvalidRequest          400  the request is wrong; says what to change
        ├── Unauthorized            401  no key, or not a valid one
        ├── Forbidden               403  the key may not do this
        ├── NotFound                404  no such path, model or object
        ├── MethodNotAllowed        405
        ├── Conflict                409  the request does not go with one that is running, or with a thing's state
        ├── UnprocessableRequest    422  an Idempotency-Key that belongs to another request
        ├── RequestTimeout          408  the client did not finish its request in time
        ├── TooLarge                413  the body is over the limit
        ├── HeadTooLarge            431  the head is over the limit
        ├── RateLimited             429  the caller's own limit, with Retry-After
        ├── InternalError           500  a defect of ours; the details are in the log
        ├── CrashesWorker           500  this request was on two workers when they died
        ├── BadGateway              502  a worker or router answered nonsense
        ├── Overloaded              503  our capacity, with Retry-After
        └── DeadlineExceeded        504  a worker or router took too long

``ApiError.body()`` is the only place where an error becomes JSON.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec


class HeadraceError(Exception):
    """Base of every error in this module. ``exit_code`` is that of a command that ends by it."""

    exit_code = 1


class ConfigError(HeadraceError):
    """A setting, file or flag is wrong. The message is complete: it can be printed as it is."""

    exit_code = 2


class ModelError(HeadraceError):
    """A model folder is missing, broken, or no engine here can serve it."""

    exit_code = 2


class EngineEnded(HeadraceError):
    """A worker gives up: its engine ended, and starting it again does not help. The exit code tells why."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class StoreError(HeadraceError):
    """The database, or the snapshot that stands in for it, cannot be used. The message says why."""


class WireError(HeadraceError):
    """A connection to another service did not do its work."""


class ConnectError(WireError):
    """Nobody listens at the address, or its name does not resolve."""


class ConnectionLost(WireError):
    """The peer closed or reset the connection before its answer was complete.

    ``stale``: the connection had been idle before and not a byte of the answer came, so that the peer most likely
    closed it while the request was on its way.
    """

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale


class UpstreamTimeout(WireError):
    """The peer did not answer in time."""


class ProtocolError(WireError):
    """The peer spoke something that is not HTTP/1.1."""


class NotResumable(HeadraceError):
    """A broken stream has no valid continuation. ``reason`` is a metric's label, the message goes on "The answer …"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Detail(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(msgspec.Struct):
    error: _Detail


class ApiError(HeadraceError):
    """What a client is told.

    ``message`` says what to change, ``param`` names the field at fault, ``code`` is stable and meant for programs,
    ``retry_after`` (seconds) becomes the ``Retry-After`` header, rounded up.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after = retry_after

    def body(self) -> bytes:
        """OpenAI's error object as JSON."""
        return msgspec.json.encode(_Envelope(_Detail(self.message, self.type, self.param, self.code)))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that belong to this error, content type included."""
        headers = [(b"content-type", b"application/json")]
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(self.retry_after))))
        return headers


class InvalidRequest(ApiError):
    status, type, default_code = 400, "invalid_request_error", "invalid_request"


class Unauthorized(ApiError):
    status, type, default_code = 401, "invalid_request_error", "invalid_api_key"

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers(), (b"www-authenticate", b"Bearer")]


class Forbidden(ApiError):
    status, type, default_code = 403, "permission_error", "forbidden"


class NotFound(ApiError):
    status, type, default_code = 404, "invalid_request_error", "not_found"


class MethodNotAllowed(ApiError):
    status, type, default_code = 405, "invalid_request_error", "method_not_allowed"

    def __init__(self, message: str, *, allowed: Sequence[str]) -> None:
        super().__init__(f"{message} Use {', '.join(allowed)}.")
        self.allowed = allowed

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers(), (b"allow", ", ".join(self.allowed).encode())]


class Conflict(ApiError):
    status, type, default_code = 409, "invalid_request_error", "conflict"


class UnprocessableRequest(ApiError):
    status, type, default_code = 422, "invalid_request_error", "unprocessable_request"


class RequestTimeout(ApiError):
    status, type, default_code = 408, "invalid_request_error", "request_timeout"


class TooLarge(ApiError):
    status, type, default_code = 413, "invalid_request_error", "request_too_large"


class HeadTooLarge(ApiError):
    status, type, default_code = 431, "invalid_request_error", "headers_too_large"


class RateLimited(ApiError):
    status, type, default_code = 429, "rate_limit_error", "rate_limit_exceeded"


class InternalError(ApiError):
    status, type, default_code = 500, "server_error", "internal_error"


class CrashesWorker(ApiError):
    status, type, default_code = 500, "server_error", "request_crashes_worker"


class BadGateway(ApiError):
    status, type, default_code = 502, "server_error", "bad_gateway"


class Overloaded(ApiError):
    status, type, default_code = 503, "server_error", "overloaded"


class DeadlineExceeded(ApiError):
    status, type, default_code = 504, "server_error", "timeout"
