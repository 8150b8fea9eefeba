"""The tables. Times are seconds since 1970, UTC; a change here needs a migration (expand only)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Double, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from headrace.store.schema import Base


class ResponseRow(Base):
    __tablename__ = "responses"
    __table_args__ = (Index(None, "expires_at"),)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(32))
    document: Mapped[bytes] = mapped_column(LargeBinary)
    """The response, as the client got it."""
    items: Mapped[bytes] = mapped_column(LargeBinary)
    """The input that it answered, as the client sent it (JSON)."""
    messages: Mapped[bytes] = mapped_column(LargeBinary)
    """The whole conversation, answer included, as a chat completion's messages (JSON)."""
    expires_at: Mapped[float] = mapped_column(Double)


class FileRow(Base):
    __tablename__ = "files"
    __table_args__ = (Index(None, "tenant_id", "created_at"), Index(None, "expires_at"))
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Double)
    expires_at: Mapped[float] = mapped_column(Double)


class ChunkRow(Base):
    """At most 1 MiB of a file."""

    __tablename__ = "file_chunks"
    file_id: Mapped[str] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class BatchRow(Base):
    __tablename__ = "batches"
    __table_args__ = (Index(None, "tenant_id", "created_at"), Index(None, "status", "leased_until"))
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(32))
    key_id: Mapped[str] = mapped_column(String(128))
    """On whose behalf its requests are sent."""
    status: Mapped[str] = mapped_column(String(16))
    endpoint: Mapped[str] = mapped_column(String(64))
    input_file: Mapped[str] = mapped_column(String(64))
    output_file: Mapped[str | None] = mapped_column(String(64))
    error_file: Mapped[str | None] = mapped_column(String(64))
    total: Mapped[int] = mapped_column(Integer)
    completed: Mapped[int] = mapped_column(Integer)
    failed: Mapped[int] = mapped_column(Integer)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    """``metadata``, ``errors``, and when each status began, by OpenAI's names (``in_progress_at``)."""
    created_at: Mapped[float] = mapped_column(Double)
    expires_at: Mapped[float] = mapped_column(Double)
    leased_by: Mapped[str | None] = mapped_column(String(64))
    leased_until: Mapped[float] = mapped_column(Double)
    """Until then nobody else works on it; whoever does renews it."""


class ResultRow(Base):
    """What came of one line; the files are made of these at the end."""

    __tablename__ = "batch_results"
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True)
    ok: Mapped[bool] = mapped_column(Boolean)
    data: Mapped[bytes] = mapped_column(LargeBinary)
