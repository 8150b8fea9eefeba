"""How many examples hypothesis tries, where the usual hundred are too few."""

from __future__ import annotations

from hypothesis import settings


def at_least(count: int) -> settings:
    """More, where the profile wants more: ``make fuzz`` does."""
    return settings(max_examples=max(count, settings().max_examples), deadline=None)
