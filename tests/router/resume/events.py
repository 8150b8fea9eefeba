"""Events of streams, for the tests here."""

from __future__ import annotations

import json
from typing import Any


def event(document: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(document).encode()


def chat(delta: dict[str, Any], finish: str | None = None, *, index: int = 0, id: str = "one", **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"id": id, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more})


def says(*texts: str, id: str = "one") -> bytes:
    """A chat's stream so far: the opening, then the texts."""
    return chat({"role": "assistant", "content": ""}, id=id) + b"".join(chat({"content": t}, id=id) for t in texts)


def text(text: str, finish: str | None = None) -> bytes:
    return event(
        {"id": "one", "created": 1, "model": "m", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}
    )


def usage(prompt: int, completion: int, **more: Any) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}
    return event({"id": "two", "created": 2, "model": "m2", "choices": [], "usage": counts})


def read(events: bytes) -> list[Any]:
    """The documents; [DONE] as it is."""
    datas = [one.removeprefix(b"data: ") for one in events.split(b"\n\n") if one]
    return [json.loads(data) if data != b"[DONE]" else "[DONE]" for data in datas]


def said(events: bytes) -> str:
    """The text of a chat's events."""
    documents = [one for one in read(events) if one != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for one in documents for choice in one.get("choices", ()))
