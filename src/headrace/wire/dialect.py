"""What of an answer's form depends on whose API the client speaks."""

from __future__ import annotations

from typing import ClassVar

from headrace.errors import ApiError
from headrace.wire import contract


class Dialect:
    """OpenAI's. An exchange whose client speaks another one gets a subclass."""

    __slots__ = ()

    heartbeat: ClassVar = b": ping\n\n"
    """What a stream that is silent for long carries, so that no proxy on the way takes it for dead."""
    id_header: ClassVar = contract.REQUEST_ID
    """The header that tells the client its request's id."""

    def error(self, error: ApiError) -> bytes:
        """The body of an answer that is an error."""
        return error.body()

    def passed_error(self, status: int, body: bytes) -> bytes:
        """As ``error``, for the answer of a router or worker; ``body`` is in OpenAI's form, or anything."""
        return body

    def broken(self, error: ApiError) -> bytes:
        """The last event of a stream that has begun and cannot be completed."""
        return b"data: %b\n\n" % error.body()


OPENAI = Dialect()
