from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from headrace.api import prefix
from headrace.openai.chat import ChatRequest
from headrace.openai.completion import CompletionRequest
from headrace.openai.embedding import EmbeddingRequest

KNOWN_CHAT = b"8372ad03768a6296517c736448084032b8b2ec523205cbb7b5e200fc73d1d8f620e472b780b8a565"
KNOWN_SALTED = b"9c3795d1b1c88ad3a62041895cf0b201279f0b1e151a1ba661549b896cfa0f4c7e2ac02d67ebb74d"
KNOWN_COMPLETION = b"794d9c76a12e197bd97b73ed390038e3"


def chat(*messages: Any, **fields: Any) -> ChatRequest:
    return ChatRequest.decode(msgspec.json.encode({"model": "m", "messages": list(messages), **fields}))


def text(*messages: Any, **fields: Any) -> bytes:
    return prefix.prompt_text(chat(*messages, **fields)).data


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_known_answers() -> None:
    """Replicas and versions must agree: when this fails, the code is wrong, never the test."""
    data = text({"role": "system", "content": "Réponds en français. " * 20}, user("四" * 300))
    assert prefix.header("", "", data) == KNOWN_CHAT
    assert prefix.header("tenant-1", "lora-7", data) == KNOWN_SALTED
    completion = CompletionRequest.decode(msgspec.json.encode({"model": "m", "prompt": "Once upon a time. " * 30}))
    assert prefix.header("", "", prefix.prompt_text(completion).data) == KNOWN_COMPLETION


def test_a_short_prompt_has_no_block() -> None:
    assert prefix.header("", "", b"x" * 253) == b""
    assert len(prefix.header("", "", b"x" * 254)) == 16


def test_the_chain_is_as_documented() -> None:
    data = bytes(range(256)) * 8
    whole = b"salt\0adapter\0" + data
    expected = previous = b""
    for start in range(0, len(whole) - 255, 256):
        previous = struct.pack(">Q", xxhash.xxh3_64(previous + whole[start : start + 256], seed=0).intdigest())
        expected += previous.hex().encode()
    assert prefix.header("salt", "adapter", data) == expected
    assert len(expected) == 8 * 16


@pytest.mark.parametrize(
    ("size", "blocks"),
    [
        (64 * 256, 64),
        (64 * 256 + 1023, 64),
        (64 * 256 + 1024, 65),
        (64 * 1280, 128),
        (64 * 1280 + 4096, 129),
        (64 * 5376 + 16384, 193),
        (1_392_640, 256),
        (5_000_000, 256),
    ],
)
def test_blocks_grow_with_their_position_and_end(size: int, blocks: int) -> None:
    assert len(prefix.header("", "", b"a" * (size - 2))) == blocks * 16


@given(st.binary(max_size=3000), st.binary(max_size=3000), st.binary(max_size=3000))
def test_prompts_share_exactly_the_blocks_of_their_common_beginning(start: bytes, one: bytes, two: bytes) -> None:
    first, second = prefix.header("", "", start + b"1" + one), prefix.header("", "", start + b"2" + two)
    shared = (len(start) + 2) // 256 * 16  # hex digits; before the start lie the two empty fields
    assert first[:shared] == second[:shared]
    if len(first) > shared < len(second):
        assert first[shared : shared + 16] != second[shared : shared + 16]


def test_a_longer_conversation_begins_with_the_shorter() -> None:
    turn = [user("a" * 600), {"role": "assistant", "content": "b" * 600}, user("c")]
    assert text(*turn).startswith(text(*turn[:1]))
    assert prefix.header("", "", text(*turn)).startswith(prefix.header("", "", text(*turn[:1])))


def test_salt_adapter_and_tools_part_the_prefixes() -> None:
    data = text(user("a" * 600))
    tools = text(user("a" * 600), tools=[{"type": "function", "function": {"name": "f"}}])
    headers = {prefix.header("", "", data), prefix.header("s", "", data), prefix.header("", "s", data)}
    headers.add(prefix.header("", "", tools))
    assert len({header[:16] for header in headers}) == 4


def test_the_text_is_roles_and_contents() -> None:
    assert text({"role": "system", "content": "x"}, user("é")) == "\0system\0x\0user\0é\0".encode()


def test_one_text_part_is_as_the_plain_text() -> None:
    assert text(user([{"type": "text", "text": "hi"}])) == text(user("hi"))


def test_tool_calls_count() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    data = text(user("x"), {"role": "assistant", "content": None, "tool_calls": [call]})
    assert data.endswith(b"assistant\0" + msgspec.json.encode([call]) + b"\0")


def test_media_are_known_by_their_digest() -> None:
    def picture(payload: str) -> dict[str, Any]:
        return user(
            [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{payload}"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ]
        )

    one = prefix.prompt_text(chat(picture("A" * 100_000)))
    two = prefix.prompt_text(chat(picture("A" * 99_999 + "B")))
    assert one.data != two.data
    assert len(one.data) == len(two.data) < 200
    assert one.media == 2


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hé", "\0hé".encode()),
        (["a", "b"], b"\0a\0b"),
        ([1, 2], b"\0\1\0\0\0\2\0\0\0"),
        ([[1], [258]], b"\0\1\0\0\0\0\2\1\0\0"),
    ],
)
def test_prompts_and_inputs(prompt: Any, expected: bytes) -> None:
    completion = CompletionRequest.decode(msgspec.json.encode({"model": "m", "prompt": prompt}))
    embedding = EmbeddingRequest.decode(msgspec.json.encode({"model": "m", "input": prompt}))
    assert prefix.prompt_text(completion) == prefix.prompt_text(embedding) == (expected, 0)
