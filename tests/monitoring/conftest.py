"""The live test starts the platform as the end-to-end tests do."""

from __future__ import annotations

from tests.e2e.conftest import models, pytest_runtest_makereport

__all__ = ["models", "pytest_runtest_makereport"]
