"""`headrace up` with a mix of engines, one of them real vLLM."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.kinds import MODELS, VLLM
from tests.e2e.stack import CHAT_MODEL, Stack

pytestmark = [
    pytest.mark.wheel,
    pytest.mark.e2e,
    pytest.mark.skipif(not VLLM, reason="vLLM is tested by `make test-vllm`"),
]


def test_one_file_runs_engines_of_several_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    folder = f"{VLLM}/models/{CHAT_MODEL}"
    config = {
        "up": {
            "web": False,
            "workers": [
                {"model": CHAT_MODEL},
                {"model": folder, "engine": "vllm", "name": "on-vllm", "settings": {"context": 512}},
            ],
        },
        "vllm": {"executable": f"{VLLM}/bin/vllm", "dtype": "float32", "arguments": ["--enforce-eager"]},
    }
    stack = Stack(tmp_path, MODELS, config)
    try:
        stack.start(patience=480)  # vLLM reads its own sources for a minute where others keep the machine busy
        with closing(stack.client()) as client:
            assert {model.id for model in client.models.list()} >= {CHAT_MODEL, "on-vllm"}
            for name in (CHAT_MODEL, "on-vllm"):
                answer = client.chat.completions.create(
                    model=name, messages=[{"role": "user", "content": "Hello!"}], max_tokens=4, temperature=0
                )
                assert answer.model == name
                assert answer.usage is not None
                assert answer.usage.completion_tokens > 0
        assert stack.child("vllm-worker").state == "ready"
    finally:
        stack.end()
    stack.check_logs(foreign=("vllm-worker.log",))
