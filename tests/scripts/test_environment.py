from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from scripts.setup.__main__ import main
from scripts.setup.environment import Environment, run_command
from scripts.setup.errors import SetupError
from scripts.setup.preflight import DISK, MEMORY, Machine

PLENTY = Machine("linux", "x86_64", (2, 35), DISK, MEMORY)


class Runner:
    """Stands in for venv and pip: notes what is run, and makes the interpreter that a venv would have."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.fail_at = ""

    def __call__(self, command: list[str], folder: Path) -> bool:
        self.commands.append(command)
        if "venv" in command:
            python = folder / ".venv" / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            if not python.exists():
                python.symlink_to(sys.executable)
        return not self.fail_at or self.fail_at not in " ".join(command)

    def steps(self) -> list[str]:
        """What was run, a word each."""
        names = {"-m venv": "venv", "requirements/pip.txt": "pip", "--editable": "headrace"}
        found = []
        for command in self.commands:
            line = " ".join(command)
            found.append(next((name for key, name in names.items() if key in line), line.split("/")[-1]))
        self.commands.clear()
        return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "requirements").mkdir(parents=True)
    for name in ("pip", "local", "dev"):
        (root / "requirements" / f"{name}.txt").write_text(f"{name}==1 \\\n    --hash=sha256:0\n")
    (root / "pyproject.toml").write_text('[build-system]\nrequires = []\n[project]\nname = "x"\n[tool.ruff]\n')
    return root


@pytest.fixture
def runner() -> Runner:
    return Runner()


def environment(root: Path, runner: Runner, machine: Machine = PLENTY) -> Environment:
    return Environment(root, run=runner, look=lambda _: machine)


def prepared(root: Path, runner: Runner, extra: str = "local") -> Environment:
    made = environment(root, runner)
    made.prepare(extra)
    runner.commands.clear()
    return made


def test_first_set_up(root: Path, runner: Runner) -> None:
    made = environment(root, runner)
    assert not made.ready("local")
    made.prepare("local")
    assert made.ready("local")
    assert runner.steps() == ["venv", "pip", "local.txt", "headrace"]


def test_packages_are_pinned_and_built_nowhere(root: Path, runner: Runner) -> None:
    environment(root, runner).prepare("local")
    install = runner.commands[2]
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(install)


def test_second_start_runs_nothing(root: Path, runner: Runner) -> None:
    prepared(root, runner)
    assert environment(root, runner).ready("local")
    assert runner.commands == []


def test_another_python_that_is_named_replaces_the_one_there(root: Path, runner: Runner) -> None:
    prepared(root, runner)
    note = root / ".venv" / "headrace.json"
    other = "/usr/bin/python3.99"
    note.write_text(note.read_text().replace(str(Path(sys.executable).resolve()), other))
    python = root / ".venv" / "bin" / "python"
    assert not environment(root, runner).ready("local")
    python.unlink()
    python.symlink_to(shutil.which("true") or "")
    note.write_text(note.read_text().replace(other, str(python.resolve())))
    assert environment(root, runner).ready("local")
    assert not Environment(root, named=True, run=runner).ready("local")


def test_local_is_not_yet_dev(root: Path, runner: Runner) -> None:
    made = prepared(root, runner)
    assert not made.ready("dev")
    made.prepare("dev")
    assert runner.steps() == ["dev.txt", "headrace"]


def test_dev_holds_local(root: Path, runner: Runner) -> None:
    assert prepared(root, runner, "dev").ready("local")


def test_changed_lock_is_installed_into_what_is_there(root: Path, runner: Runner) -> None:
    made = prepared(root, runner)
    (root / "requirements" / "local.txt").write_text("local==2\n")
    assert not made.ready("local")
    made.prepare("local")
    assert runner.steps() == ["local.txt", "headrace"]


def test_settings_of_tools_do_not_matter(root: Path, runner: Runner) -> None:
    made = prepared(root, runner)
    with (root / "pyproject.toml").open("a") as stream:
        stream.write("line-length = 120\n")
    assert made.ready("local")


def test_changed_package_matters(root: Path, runner: Runner) -> None:
    made = prepared(root, runner)
    (root / "pyproject.toml").write_text('[build-system]\nrequires = []\n[project]\nname = "y"\n')
    assert not made.ready("local")


def test_moved_checkout_is_made_anew(root: Path, runner: Runner) -> None:
    prepared(root, runner)
    moved = root.with_name("moved")
    shutil.move(root, moved)
    made = environment(moved, runner)
    assert not made.ready("local")
    made.prepare("local")
    assert runner.steps()[0] == "venv"


def test_python_that_is_gone_is_replaced(root: Path, runner: Runner) -> None:
    made = prepared(root, runner)
    python = root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(root / "nowhere")
    assert not made.ready("local")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("-m venv", "the virtual environment was not made"),
        ("requirements/pip.txt", "pip could not be installed: check the network"),
        ("local.txt", "the packages could not be installed: check the network, PIP_INDEX_URL"),
        ("--editable", "Headrace itself could not be installed"),
    ],
)
def test_failed_step_is_told_and_tried_again(root: Path, runner: Runner, step: str, message: str) -> None:
    made = environment(root, runner)
    runner.fail_at = step
    with pytest.raises(SetupError, match=message):
        made.prepare("local")
    assert not made.ready("local")
    runner.fail_at = ""
    made.prepare("local")
    assert made.ready("local")


def test_interrupted_install_is_made_anew(root: Path, runner: Runner) -> None:
    made = prepared(root, runner)
    runner.fail_at = "dev.txt"
    with pytest.raises(SetupError):
        made.prepare("dev")
    assert not made.ready("local")
    runner.steps()
    runner.fail_at = ""
    made.prepare("dev")
    assert runner.steps() == ["venv", "pip", "dev.txt", "headrace"]


def test_failed_update_does_not_look_complete(root: Path, runner: Runner) -> None:
    made = prepared(root, runner)
    (root / "requirements" / "local.txt").write_text("local==2\n")
    runner.fail_at = "local.txt"
    with pytest.raises(SetupError):
        made.prepare("local")
    assert not made.ready("local")


def test_machine_is_checked_before_anything_is_run(root: Path, runner: Runner) -> None:
    small = Machine("linux", "x86_64", (2, 35), disk=5, memory=MEMORY)
    with pytest.raises(SetupError, match="of disk are needed"):
        environment(root, runner, small).prepare("local")
    assert runner.commands == []


@pytest.mark.parametrize("note", ["{", "[]"])
def test_damaged_note_counts_as_none(root: Path, runner: Runner, note: str) -> None:
    made = prepared(root, runner)
    (root / ".venv" / "headrace.json").write_text(note)
    assert not made.ready("local")


def test_python_without_ensurepip_gets_a_wheel(
    root: Path, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("scripts.setup.pip.find_wheel", lambda _lock, _folder: tmp_path / "pip.whl")
    environment(root, runner).prepare("local")
    assert "--without-pip" in runner.commands[0]
    assert runner.commands[1][1:3] == [str(tmp_path / "pip.whl" / "pip"), "install"]


def test_commands_run_in_the_checkout_without_foreign_paths(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/foreign")
    monkeypatch.setenv("PIP_USER", "1")
    script = "import json, os, sys; json.dump([os.getcwd(), dict(os.environ)], open('out', 'w')); sys.exit(3)"
    assert run_command([sys.executable, "-c", script], root) is False
    folder, variables = json.loads((root / "out").read_text())
    assert Path(folder) == root.resolve()
    assert "PYTHONPATH" not in variables
    assert variables["PIP_USER"] == "0"


@pytest.mark.parametrize("arguments", [[], ["core"], ["local", "dev"]])
def test_wrong_arguments(arguments: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, root) == 2
    assert capsys.readouterr().err == "usage: scripts/bootstrap.sh local|dev\n"


def test_errors_are_one_line(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Environment, _extra: str) -> None:
        raise SetupError("no disk")

    monkeypatch.setattr(Environment, "prepare", fail)
    assert main(["local"], root) == 1
    assert capsys.readouterr().err == "headrace: no disk\n"


def test_interruption_is_no_traceback(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_self: Environment, _extra: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Environment, "prepare", interrupt)
    assert main(["dev"], root) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
