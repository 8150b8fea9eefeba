"""The ``x-headrace-prefix`` header: which beginnings a prompt shares with others (design, section 4).

The hashed text is, in UTF-8 and with U+0000 after each of them:

1. the cache salt (empty: shared by all), 2. the adapter (empty: none), 3. the tools as JSON (empty: none),
4. for each message its role, then its content: the texts of its parts one after the other, a medium as U+0001 and the
   32 hex digits of xxh3_128 (seed 0) of its URL or data, then its tool calls, if any, as JSON.

A text completion has its prompts, U+0000 between them, in place of 4; token ids are four bytes each, little-endian.

The text is cut into blocks by position: 64 of 256 B, 64 of 1 KiB, 64 of 4 KiB, 64 of 16 KiB. Only whole blocks count:
what is left at the end, and what lies beyond 1,392,640 bytes, is not hashed, because no longer prompt could share it
by this block's hash. The chain is

    h[0] = xxh3_64(block[0])
    h[i] = xxh3_64(h[i-1] as 8 bytes, big-endian, followed by block[i])

with seed 0, so that h[i] stands for everything up to its block's end. The header is the h in order, 16 lower-case hex
digits each, not separated, so at most 4 KiB. Replicas and versions agree on it: it must never change.
"""

from __future__ import annotations

from array import array
from binascii import hexlify
from itertools import accumulate, pairwise
from sys import byteorder
from typing import Any, NamedTuple

from xxhash import xxh3_64_digest, xxh3_128_hexdigest

from headrace.openai.chat import ChatRequest, Part
from headrace.openai.completion import CompletionRequest
from headrace.openai.document import encode
from headrace.openai.embedding import EmbeddingRequest
from headrace.openai.request import Prompt, Request

_ENDS = tuple(accumulate(size for size in (256, 1024, 4096, 16384) for _ in range(64)))
_BLOCKS = tuple(pairwise((0, *_ENDS)))


class PromptText(NamedTuple):
    """The text that a prompt is known by."""

    data: bytes
    """Tools and messages, or prompts, as above (3. and 4.)."""
    media: int
    """How many images, videos and sounds it carries, of which ``data`` has only the digests."""


def prompt_text(request: Request[Any]) -> PromptText:
    """The text of a checked request: its length is what costs are estimated from."""
    if isinstance(request, ChatRequest):
        return _chat(request)
    if isinstance(request, CompletionRequest):
        return PromptText(b"\0" + _prompt(request.fields.prompt), 0)
    if isinstance(request, EmbeddingRequest):
        return PromptText(b"\0" + _prompt(request.fields.input), 0)
    return PromptText(request.text(), 0)


def header(salt: str, adapter: str, data: bytes) -> bytes:
    """The header's value for ``PromptText.data``; empty for a prompt shorter than one block."""
    if not salt and not adapter:
        data = b"\0\0" + data
    else:
        data = b"%b\0%b\0%b" % (salt.encode(), adapter.encode(), data)
    size = len(data)
    digest = b""
    digests = []
    for start, end in _BLOCKS:
        if end > size:
            break
        digest = xxh3_64_digest(digest + data[start:end])
        digests.append(digest)
    return hexlify(b"".join(digests))


def _chat(request: ChatRequest) -> PromptText:
    tools = request.document.get("tools")
    pieces = [encode(tools).decode() if tools else ""]
    media = 0
    for index, message in enumerate(request.fields.messages):
        pieces.append(message.role)
        content = message.content
        if not isinstance(content, str):
            content, count = _content(content or [])
            media += count
        if message.tool_calls:
            content += encode(request.document["messages"][index]["tool_calls"]).decode()
        pieces.append(content)
    pieces.append("")
    return PromptText("\0".join(pieces).encode(), media)


def _content(parts: list[Part]) -> tuple[str, int]:
    pieces = []
    media = 0
    for part in parts:
        words = part.words()
        if words is not None:
            pieces.append(words)
            continue
        for _, url in part.media():
            pieces.append(f"\1{xxh3_128_hexdigest(url.encode())}")
            media += 1
    return "".join(pieces), media


def _prompt(prompt: Prompt) -> bytes:
    if isinstance(prompt, str):
        return prompt.encode()
    if isinstance(prompt[0], int):
        return _token_ids(prompt)
    return b"\0".join(text.encode() if isinstance(text, str) else _token_ids(text) for text in prompt)


def _token_ids(ids: Any) -> bytes:
    packed = array("I", ids)
    if byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
