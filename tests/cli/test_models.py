from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run, told


def test_empty_folder_says_how_to_get_a_model(run: Run, tmp_path: Path) -> None:
    outcome = run("models", "list", "--models", str(tmp_path))
    assert outcome.code == 0
    assert "headrace models pull demo" in outcome.out


def test_name_of_the_wrong_form_is_one_line(run: Run) -> None:
    assert "neither `demo` nor a hub id" in told(run("models", "pull", "no/such/thing"), 2)


def test_model_that_is_not_there_is_one_line(run: Run) -> None:
    assert "no model 'nothing'" in told(run("models", "verify", "nothing"), 2)
