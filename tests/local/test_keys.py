from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import ApiSettings, load
from headrace.errors import ConfigError
from headrace.local.keys import FirstKey, Origin, first_key

API = load(ApiSettings, env=False)


def test_makes_one_and_shows_it_once(tmp_path: Path) -> None:
    made = first_key(API, tmp_path, "")
    assert made.origin is Origin.MADE
    assert made.text.startswith("hr-")
    assert first_key(API, tmp_path, "") == FirstKey(Origin.EARLIER)


def test_takes_the_one_that_is_given(tmp_path: Path) -> None:
    assert first_key(API, tmp_path, "hr-given") == FirstKey(Origin.GIVEN)
    assert first_key(API, tmp_path, "hr-given") == FirstKey(Origin.GIVEN)


def test_a_key_that_comes_too_late_is_said(tmp_path: Path) -> None:
    made = first_key(API, tmp_path, "")
    assert first_key(API, tmp_path, "hr-late") == FirstKey(Origin.EARLIER, ignored=True)
    assert first_key(API, tmp_path, made.text) == FirstKey(Origin.GIVEN)


def test_a_key_of_wrong_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HEADRACE_BOOTSTRAP_KEY"):
        first_key(API, tmp_path, "two words")
