"""``/v1/files`` and ``/v1/batches``: what clients send and get. https://platform.openai.com/docs/api-reference/batch"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")

_Text = Annotated[str, Meta(min_length=1, max_length=512)]


class FileObject(Struct):
    """A file. Times are seconds since 1970."""

    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"


class FileList(Struct):
    data: list[FileObject]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: Literal["list"] = "list"


class Deleted(Struct):
    id: str
    object: str
    deleted: bool = True


class FileForm(Struct):
    """The fields of an upload."""

    file: str
    purpose: str


class BatchFields(Struct):
    """A batch to be made."""

    input_file_id: _Text
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Literal["24h"]
    metadata: dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]] | None = None


class Counts(Struct):
    total: int
    completed: int
    failed: int


class BatchObject(Struct, kw_only=True):
    """A batch. Times are seconds since 1970."""

    id: str
    endpoint: str
    input_file_id: str
    status: str
    created_at: int
    expires_at: int
    request_counts: Counts
    completion_window: str = "24h"
    object: Literal["batch"] = "batch"
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None


class BatchList(Struct):
    data: list[BatchObject]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: Literal["list"] = "list"


class Line(Struct):
    """One line of a batch's input."""

    custom_id: _Text
    method: Literal["POST"]
    url: str
    body: dict[str, Any]
