from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.kinds import MODELS


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The demo model, a GGUF."""
    return MODELS / "smollm2-135m"
