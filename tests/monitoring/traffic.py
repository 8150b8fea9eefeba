"""What a platform goes through while it is watched: answers, a queue, limits, a lost worker, a wrong key."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.e2e.calls import Call
from tests.e2e.patience import wait_until
from tests.e2e.stack import CHAT, CHAT_MODEL, CPU, EMBEDDING_MODEL, EMBEDDINGS, WEB, Stack

_TOKENS = 24


def _chat(**more: object) -> dict[str, Any]:
    question = [{"role": "user", "content": "Name some rivers, and say where each of them begins and ends."}]
    return {"model": CHAT_MODEL, "messages": question, "max_tokens": _TOKENS, "ignore_eos": True, **more}


class Traffic:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._limited = ""

    def limit(self) -> None:
        """Make a tenant that may ask once a minute."""
        self._printed("tenants", "create", "small", "--rpm", "1")
        (self._limited,) = re.findall(
            r"^hr-\S+$", self._printed("keys", "create", "small", "--tenant", "small"), re.MULTILINE
        )

    def wave(self) -> None:
        """A few requests of each kind, more streams at a time than the workers take, so that some wait."""
        with ThreadPoolExecutor() as pool:
            streams = [pool.submit(self._stream) for _ in range(6)]
            self._post(CHAT, _chat())
            self._post(EMBEDDINGS, {"model": EMBEDDING_MODEL, "input": ["one", "two and a little more of it"]})
            self._post(CHAT, {"model": CHAT_MODEL, "messages": []})  # refused
            self._post(CHAT, _chat(), authorization="Bearer hr-nobody-knows")
            for _ in range(2):
                self._post(CHAT, _chat(max_tokens=1), authorization=f"Bearer {self._limited}")
            self._page()
            for stream in streams:
                stream.result()

    def leave(self) -> None:
        """A client that goes away in the middle of a stream."""
        with self._stack.call(CHAT, _chat(max_tokens=200, stream=True)) as call:
            next(call.events(), None)

    def kill(self) -> None:
        """kill -9 of a worker while streams run on all of them; each is read to whatever end it has."""
        with ThreadPoolExecutor() as pool:
            calls = [self._stack.call(CHAT, _chat(max_tokens=100, stream=True)) for _ in range(4)]
            ends = [pool.submit(call.end) for call in calls]
            wait_until("the worker has work", lambda: self._stack.running(CPU) > 0)
            self._stack.kill(CPU)
            for end, call in zip(ends, calls, strict=True):
                end.result()
                call.leave()
        self._stack.wait_back()

    def _stream(self) -> None:
        with self._stack.call(CHAT, _chat(stream=True)) as call:
            call.end()

    def _post(self, path: str, body: object, **headers: str) -> None:
        with self._stack.call(path, body, **headers) as call:
            call.body()

    def _page(self) -> None:
        if self._stack.run.web:
            with Call(self._stack.child(WEB).url, "GET", "/") as call:
                call.body()

    def _printed(self, *arguments: str) -> str:
        name = f"{arguments[0]}-{arguments[1]}"
        assert self._stack.command(name, *arguments).wait() == 0
        return (self._stack.path / "output" / f"{name}.log").read_text()
