from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from headrace.config import UpSettings, load
from headrace.errors import ConfigError, ModelError
from headrace.local import up
from headrace.local.runfile import RunFile, read

NO_TENSORS = b"\x02\0\0\0\0\0\0\0{}"
"""A whole safetensors file."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def settings(**flags: object) -> UpSettings:
    return load(UpSettings, flags={"port": 0, "web_port": 0, **flags}, env=False)


def test_a_missing_model_leaves_nothing_behind(home: Path) -> None:
    with pytest.raises(ModelError, match="headrace models pull demo"):
        up.run(settings())
    assert read(home) is None
    assert not (home / "run.json").exists()


def test_a_home_in_use_is_refused(home: Path) -> None:
    owner = RunFile(home)
    owner.acquire(lambda: None)
    owner.path.write_text(json.dumps({"pid": 1, "version": "", "api": "", "web": "", "ready": True, "children": {}}))
    with pytest.raises(ConfigError, match="already runs"):
        up.run(settings())
    owner.release()


@pytest.mark.parametrize(
    ("environ", "terminal", "opens"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "1"}, True, False),
        ({"DISPLAY": ":0", "CI": "true"}, True, False),
        ({}, True, sys.platform == "darwin"),
    ],
)
def test_the_page_opens_only_where_the_person_sits(environ: dict[str, str], terminal: bool, opens: bool) -> None:
    assert up.has_desktop(environ, terminal) is opens


def test_children_that_cannot_start_are_shown(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The folders look like models but hold no weights, so the real workers refuse them."""
    for name in ("smollm2-135m", "all-minilm-l6-v2"):
        folder = home / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
        (folder / "model.safetensors").write_bytes(NO_TENSORS)
    assert up.run(settings(web=False)) == 1
    text = capfd.readouterr().out
    assert "Your API key, shown only now: hr-" in text
    assert re.search(r"-worker(-2)? +failed: ended with exit code 2", text)
    assert "Headrace is ready" not in text
