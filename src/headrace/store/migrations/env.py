"""Alembic's entry point: the connection comes from ``run.upgrade``."""

from __future__ import annotations

from alembic import context

from headrace.store.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
