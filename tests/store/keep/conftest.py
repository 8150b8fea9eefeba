from __future__ import annotations

from tests.store.limits.conftest import valkey

__all__ = ["valkey"]
