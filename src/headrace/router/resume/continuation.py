"""The request that goes on where a stream broke, made from the original one and from what was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from headrace.errors import NotResumable
from headrace.router.resume.sent import Sent

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESUMABLE = frozenset((CHAT, COMPLETIONS))

Document = dict[str, Any]
Tokenize = Callable[[Document], Awaitable[list[int]]]
"""Asks the new worker's ``/tokenize``."""

_TOKENIZED = ("model", "tools", "chat_template", "chat_template_kwargs", "add_special_tokens", "mm_processor_kwargs")
"""Fields that a prompt depends on besides its text."""


def decode(body: bytes) -> Document:
    """Raises NotResumable."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise NotResumable("unreadable", "its request is not a JSON object")
    return document


class Continuation:
    """What the new worker is asked, and what of its answer is new. Build it with ``plan``."""

    def __init__(self, document: Document, prompt: int, sent: int, space: str) -> None:
        self.document = document
        self.prompt = prompt
        """Tokens of the original prompt, as the new worker counts them; 0 where nothing was counted."""
        self.sent = sent
        """Tokens of what was sent and need not be generated again."""
        self.space = space
        """White space that was sent and will be generated again."""

    @property
    def exhausted(self) -> bool:
        """Whether the limit of tokens is reached already."""
        caps = (self.document.get("max_tokens"), self.document.get("max_completion_tokens"))
        return any(cap is not None and cap <= 0 for cap in caps)

    def encode(self) -> bytes:
        return msgspec.json.encode(self.document)


async def plan(path: str, document: Document, sent: Sent, tokenize: Tokenize) -> Continuation:
    """Count what was sent and lower the limits by it. Raises NotResumable, and what ``tokenize`` raises."""
    if path == CHAT:
        kept = sent.text.rstrip()  # templates trim, so the new worker begins with the white space once more
        if not kept:
            return Continuation(document, 0, 0, sent.text)
        changed = continue_chat(document, kept, sent.reasoning)
        before = len(await tokenize(chat_prompt(document)))
        after = len(await tokenize(chat_prompt(changed)))
        count = after - before
    else:
        kept = sent.text
        if not kept:
            return Continuation(document, 0, 0, "")
        changed, before, count = await _continue_text(document, kept, tokenize)
    if count <= 0:
        raise NotResumable("engine", "its engine does not count what was sent")
    lower(changed, count)
    return Continuation(changed, before, count, sent.text[len(kept) :])


async def count(path: str, document: Document, text: str, tokenize: Tokenize) -> tuple[int, int]:
    """Tokens of the original prompt, and of a finished answer's text."""
    if path != CHAT:
        if not text:
            return len(await tokenize(text_prompt(document, document.get("prompt")))), 0
        _, before, tokens = await _continue_text(document, text, tokenize)
        return before, tokens
    before = len(await tokenize(chat_prompt(document)))
    kept, tokens = text.rstrip(), 0
    if kept:
        tokens = len(await tokenize(chat_prompt(continue_chat(document, kept, "")))) - before
    if len(kept) < len(text):  # which a template would trim
        tokens += len(await tokenize({**text_prompt(document, text[len(kept) :]), "add_special_tokens": False}))
    return before, tokens


def continue_chat(document: Document, text: str, reasoning: str) -> Document:
    """The chat with ``text`` at its end, to be gone on with."""
    messages = list(document.get("messages") or [])
    if document.get("continue_final_message") and messages:
        messages[-1] = _append(messages[-1], text)
    else:
        message = {"role": "assistant", "content": text}
        if reasoning:
            message |= {"reasoning_content": reasoning, "reasoning": reasoning}
        messages.append(message)
    return {**document, "messages": messages, "continue_final_message": True, "add_generation_prompt": False}


def _append(message: Document, text: str) -> Document:
    """The message that the client itself had begun, longer by ``text``."""
    content = message.get("content")
    if isinstance(content, list):
        *earlier, last = content or [{"type": "text", "text": ""}]
        if last.get("type") != "text":
            raise NotResumable("raw_prompt", "the message that it goes on with does not end with text")
        return {**message, "content": [*earlier, {**last, "text": (last.get("text") or "") + text}]}
    return {**message, "content": (content or "") + text}


async def _continue_text(document: Document, text: str, tokenize: Tokenize) -> tuple[Document, int, int]:
    prompt = document.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        before = len(await tokenize(text_prompt(document, prompt)))
        after = len(await tokenize(text_prompt(document, prompt + text)))
        return {**document, "prompt": prompt + text}, before, after - before
    ids = await tokenize({**text_prompt(document, text), "add_special_tokens": False})
    return {**document, "prompt": [*(prompt or []), *ids]}, len(prompt or []), len(ids)


def chat_prompt(document: Document) -> Document:
    """What ``/tokenize`` is asked for a chat's prompt."""
    asked = {name: document[name] for name in (*_TOKENIZED, "messages") if document.get(name) is not None}
    continues = bool(document.get("continue_final_message"))
    generates = document.get("add_generation_prompt")
    asked["continue_final_message"] = continues
    asked["add_generation_prompt"] = not continues if generates is None else generates
    return asked


def text_prompt(document: Document, prompt: Any) -> Document:
    """What ``/tokenize`` is asked for a text."""
    asked = {name: document[name] for name in ("model", "add_special_tokens") if document.get(name) is not None}
    return {**asked, "prompt": prompt}


def lower(document: Document, count: int) -> None:
    """Take ``count`` tokens off the limits, and derive another seed: the same one would repeat itself."""
    for name in ("max_tokens", "max_completion_tokens"):
        if document.get(name) is not None:
            document[name] -= count
    if document.get("min_tokens"):
        document["min_tokens"] = max(0, document["min_tokens"] - count)
    if document.get("seed") is not None:
        document["seed"] = (document["seed"] * 31 + count) % 2**31
