from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from headrace.errors import ModelError
from headrace.models import manifest
from headrace.models.describe import Description, foresee
from headrace.models.hub import HubId, RemoteFile, choose, pull_hub
from headrace.models.store import Store

if TYPE_CHECKING:
    from tests.models.conftest import Hub

TINY = HubId("org/tiny")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def tiny(hub: Hub, llama: bytes) -> Hub:
    hub.files = {"tiny.gguf": llama, "README.md": b"# tiny", "run.py": b"1/0", "x/other.json": b"{}"}
    return hub


def pull(store: Store, hub: Hub, console: Console, hub_id: HubId = TINY) -> bool:
    return pull_hub(store, hub_id, console, endpoint=hub.url)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_pull_fetches_weights_and_texts_but_no_code(store: Store, tiny: Hub, console: Console) -> None:
    assert pull(store, tiny, console) is True
    folder = store.find("tiny").path
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", manifest.NAME, "tiny.gguf"]
    known = manifest.read(folder)
    assert known is not None
    assert (known.pull, known.revision, known.license) == ("org/tiny", tiny.commit, "mit")
    store.verify("tiny")


def test_second_pull_asks_nobody(store: Store, tiny: Hub, console: Console) -> None:
    pull(store, tiny, console)
    before = tiny.requests
    assert pull(store, tiny, console) is False
    assert tiny.requests == before


def test_named_revision_that_is_there_already(store: Store, tiny: Hub, console: Console) -> None:
    pull(store, tiny, console)
    assert pull(store, tiny, console, HubId("org/tiny", revision="main")) is False


def test_connection_that_breaks_is_taken_up_where_it_broke(store: Store, tiny: Hub, console: Console) -> None:
    tiny.files["tiny.gguf"] += bytes(12 << 20)  # the client writes in steps of 10 MiB
    tiny.cut_after = 11 << 20
    assert pull(store, tiny, console) is True
    assert tiny.ranges == [f"bytes={10 << 20}-"]


def test_interrupted_pull_keeps_the_files_that_were_whole(store: Store, tiny: Hub, console: Console) -> None:
    tiny.transfers_left = 1
    with pytest.raises(ModelError, match="org/tiny could not be fetched"):
        pull(store, tiny, console)
    assert store.models() == []
    tiny.transfers_left = 1
    assert pull(store, tiny, console) is True
    store.verify("tiny")


def test_content_that_is_not_what_the_hub_says(store: Store, tiny: Hub, console: Console) -> None:
    tiny.wrong_hash = True
    with pytest.raises(ModelError, match="did not arrive as the hub describes it"):
        pull(store, tiny, console)
    assert store.models() == []


def test_what_it_will_be_is_judged_before_it_is_fetched(store: Store, tiny: Hub, console: Console) -> None:
    tiny.files = {"model.safetensors": b"", "config.json": b"{}"}
    tiny.config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    judged: list[tuple[str, str, tuple[str, ...]]] = []

    def judge(found: Description) -> None:
        judged.append((found.format, found.architecture, found.engines))
        raise ModelError("not here")

    before = tiny.requests
    with pytest.raises(ModelError, match="not here"):
        pull_hub(store, TINY, console, endpoint=tiny.url, judge=judge)
    assert judged == [("safetensors", "LlamaForCausalLM", ("vllm", "trt"))]
    assert tiny.requests == before + 1
    assert store.partial() == {}


def test_a_gguf_is_foreseen_and_the_unknown_is_not(store: Store, tiny: Hub, console: Console) -> None:
    judged: list[str] = []
    pull_hub(store, TINY, console, endpoint=tiny.url, judge=lambda found: judged.append(found.format))
    assert judged == ["gguf"]
    assert foresee(["model.safetensors"], {}) is None
    assert foresee(["readme.md"], {"architectures": ["LlamaForCausalLM"]}) is None


def test_folder_of_another_model(store: Store, tiny: Hub, console: Console) -> None:
    pull(store, tiny, console)
    with pytest.raises(ModelError, match="holds org/tiny already: move that folder away"):
        pull(store, tiny, console, HubId("rival/tiny"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RepoNotFound", "has no model org/tiny"),
        ("GatedRepo", "wants its licence accepted"),
        ("RevisionNotFound", "org/tiny has no revision"),
    ],
)
def test_hub_refuses(store: Store, tiny: Hub, console: Console, code: str, message: str) -> None:
    tiny.status, tiny.error_code = 404, code
    with pytest.raises(ModelError, match=message):
        pull(store, tiny, console, HubId("org/tiny", revision="v9"))


def test_hub_that_is_out_of_order(store: Store, tiny: Hub, console: Console) -> None:
    tiny.status = 418
    with pytest.raises(ModelError, match="could not be fetched from"):
        pull(store, tiny, console)


def test_unreachable_hub_is_named_with_the_way_out(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from rich.console import Console\n"
        "from headrace.errors import ModelError; from headrace.models import pull\n"
        "try: pull('org/tiny', Path(sys.argv[1]), Console())\n"
        "except ModelError as error: print(error)\n"
    )
    endpoint = f"http://127.0.0.1:{closed_port()}"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "HF_ENDPOINT": endpoint},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert f"org/tiny could not be fetched from {endpoint}" in done.stdout
    assert "set HF_ENDPOINT to a mirror" in done.stdout


def test_missing_library_is_named(store: Store, tiny: Hub, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"install headrace\[core\]"):
        pull(store, tiny, console)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", HubId("a/b")),
        ("a/b:Q4_K_M", HubId("a/b", "Q4_K_M")),
        ("a/b@refs/pr/1", HubId("a/b", None, "refs/pr/1")),
        ("a/b:Q8@v1", HubId("a/b", "Q8", "v1")),
    ],
)
def test_hub_ids(text: str, expected: HubId) -> None:
    assert HubId.parse(text) == expected


@pytest.mark.parametrize("text", ["", "demos", "a/b/c", "../b", "a/..", "a b/c", "a/b:", "https://hub/a/b"])
def test_what_is_no_hub_id(text: str) -> None:
    with pytest.raises(ModelError, match="is neither `demo` nor a hub id"):
        HubId.parse(text)


def chosen(*paths: str, quant: str | None = None) -> list[str]:
    return [file.path for file in choose([RemoteFile(path, 1) for path in paths], HubId("a/b", quant))]


def test_safetensors_win_and_duplicates_stay_away() -> None:
    paths = ("model.safetensors", "pytorch_model.bin", "consolidated.safetensors", "config.json", "onnx/model.onnx")
    assert chosen(*paths) == ["model.safetensors", "config.json"]


def test_pooling_config_belongs_to_the_model() -> None:
    paths = ("model.safetensors", "config.json", "1_Pooling/config.json", "openvino/config.json")
    assert chosen(*paths) == ["model.safetensors", "config.json", "1_Pooling/config.json"]


def test_onnx_where_there_is_nothing_else() -> None:
    assert chosen("onnx/model.onnx", "onnx/model_int8.onnx", "config.json") == ["onnx/model.onnx", "config.json"]


def test_quantisation_chooses_the_file() -> None:
    assert chosen("m-Q4_K_M.gguf", "m-Q8_0.gguf", "LICENSE", quant="q4_k_m") == ["m-Q4_K_M.gguf", "LICENSE"]


def test_parts_of_one_file_come_together() -> None:
    paths = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    assert chosen(*paths) == list(paths)


@pytest.mark.parametrize("quant", [None, "Q2"])
def test_several_files_need_a_choice(quant: str | None) -> None:
    with pytest.raises(ModelError, match=r"name one GGUF file .* there are m-Q4\.gguf, m-Q8\.gguf"):
        chosen("m-Q4.gguf", "m-Q8.gguf", quant=quant)


def test_repository_without_weights() -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        chosen("README.md", "tf_model.h5")
