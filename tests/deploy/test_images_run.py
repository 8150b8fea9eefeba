"""The built images run as on a cluster: read-only, under a user id that no passwd knows, state and /tmp aside.

``make images`` builds them first. bubblewrap plays the container runtime: it mounts the image, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scripts.images import catalogue, compressed_size

from tests.e2e.patience import PATIENCE

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("buildah") or not shutil.which("bwrap"),
        reason="needs root, buildah and bubblewrap (apt-get install buildah bubblewrap)",
    ),
]
BUILT = [image.name for image in catalogue() if image.base == "python"]
MODELS = Path(os.environ.get("HEADRACE_HOME", ".headrace")) / "models"
KEY = "hr-images-" + "0" * 43
_MIB = 1024 * 1024


def reference(name: str) -> str:
    return f"localhost/headrace/{name}:dev"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def mounted(name: str) -> Iterator[Path]:
    """The root of an image, as it is."""
    container = subprocess.check_output(["buildah", "from", "--pull-never", reference(name)], text=True).strip()
    try:
        yield Path(subprocess.check_output(["buildah", "mount", container], text=True).strip())
    finally:
        subprocess.run(["buildah", "rm", container], check=True, capture_output=True)


def configuration(name: str) -> dict[str, Any]:
    """The image's own, as the OCI specification has it."""
    text = subprocess.check_output(["buildah", "inspect", "--type", "image", reference(name)])
    config: dict[str, Any] = json.loads(text)["OCIv1"]["config"]
    return config


@dataclass(frozen=True)
class Running:
    """A service in its image."""

    port: int
    ops_port: int
    process: subprocess.Popen[bytes]


@contextmanager
def running(name: str, section: str, *arguments: str, **settings: str) -> Iterator[Running]:
    """Start an image's own entry point under user 54321, who owns nothing."""
    port, ops_port = free_port(), free_port()
    config = configuration(name)
    prefix = f"HEADRACE_{section.upper()}_"
    environment = dict(line.split("=", 1) for line in config["Env"])
    environment |= {f"{prefix}PORT": str(port), f"{prefix}OPS_PORT": str(ops_port)}
    environment |= {f"{prefix}{key.upper()}": value for key, value in settings.items() if key.islower()}
    environment |= {key: value for key, value in settings.items() if key.isupper()}
    with mounted(name) as root:
        binds = [part for entry in sorted(root.iterdir()) for part in ("--ro-bind", str(entry), f"/{entry.name}")]
        command = [
            *("bwrap", "--unshare-user", "--unshare-pid", "--die-with-parent", "--uid", "54321", "--gid", "54321"),
            *binds,
            *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/var/lib"),
            *(("--tmpfs", "/var/lib/headrace") if (root / "var/lib/headrace").exists() else ()),
            *("--ro-bind", str(MODELS.resolve()), "/model", "--remount-ro", "/", "--clearenv"),
            *(part for key, value in environment.items() for part in ("--setenv", key, value)),
            *config["Entrypoint"],
            *arguments,
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            yield Running(port, ops_port, process)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def get(port: int, path: str) -> int:
    """The status; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def until_ready(service: Running) -> None:
    deadline = time.monotonic() + PATIENCE
    while get(service.ops_port, "/readyz") != 200:
        assert service.process.poll() is None, "the service ended"
        assert time.monotonic() < deadline, "it did not become ready"
        time.sleep(0.2)


def test_platform_of_images_answers() -> None:
    """Every service in its own image, and a chat and an embedding through all of them."""
    with ExitStack() as stack:
        cpu = stack.enter_context(running("cpu-worker", "cpu", model="/model/smollm2-135m"))
        bert = stack.enter_context(running("bert-worker", "bert", model="/model/all-minilm-l6-v2"))
        workers = [
            f"{model}=http://127.0.0.1:{worker.port},ops=http://127.0.0.1:{worker.ops_port}"
            for model, worker in (("smollm2-135m", cpu), ("all-minilm-l6-v2", bert))
        ]
        router = stack.enter_context(running("router", "router", workers=json.dumps(workers)))
        address = json.dumps([f"http://127.0.0.1:{router.port}"])
        api = stack.enter_context(running("llm-api", "api", router=address, HEADRACE_BOOTSTRAP_KEY=KEY))
        for service in (cpu, bert, router, api):
            until_ready(service)
        message = {"role": "user", "content": "Hello!"}
        chat = post(api.port, "/v1/chat/completions", model="smollm2-135m", messages=[message], max_tokens=4)
        assert 1 <= chat["usage"]["completion_tokens"] <= 4
        embedding = post(api.port, "/v1/embeddings", model="all-minilm-l6-v2", input="a head race")
        assert len(embedding["data"][0]["embedding"]) == 384


def post(port: int, path: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        decoded: dict[str, Any] = json.loads(answer.read())
    return decoded


def test_page_of_its_image_answers() -> None:
    with running("llm-web", "web", config="{}") as page:
        until_ready(page)
        assert get(page.port, "/") == 200
        assert get(page.port, "/config.json") == 200
        assert get(page.ops_port, "/metrics") == 200


@pytest.mark.parametrize("name", BUILT)
def test_image_says_where_it_comes_from(name: str) -> None:
    config = configuration(name)
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(config["Labels"]["org.opencontainers.image.revision"]) == 40


@pytest.mark.parametrize("name", BUILT)
def test_image_has_no_build_tools_and_a_passwd_entry(name: str) -> None:
    with mounted(name) as root:
        tools = ("gcc", "cc", "make", "pip", "pip3", "npm", "node", "git", "curl", "wget")
        found = [
            tool for tool in tools for folder in ("usr/bin", "opt/headrace/bin") if (root / folder / tool).exists()
        ]
        assert found == []
        assert not list(root.glob("opt/headrace/lib/python*/site-packages/pip"))
        assert ":10001:10001:" in (root / "etc/passwd").read_text()


@pytest.mark.parametrize("name", ["llm-api", "router"])
def test_image_is_small(name: str) -> None:
    assert compressed_size(reference(name)) <= 150 * _MIB
