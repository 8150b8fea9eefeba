from __future__ import annotations

import pytest

from benchmarks.scheduling import measure
from headrace.router.scheduling import profiles


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_every_profile_can_be_measured(profile: str) -> None:
    assert measure(profile, 40, requests=60) > 0
