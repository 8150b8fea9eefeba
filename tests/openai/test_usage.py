from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.openai import usage

EVENT = (
    b'{"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"total_tokens":12,'
    b'"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}'
)


def test_the_usage_event_of_a_stream() -> None:
    answer = usage.read(EVENT)
    assert answer is not None
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.output, answer.usage.cached) == (9, 3, 4)
    assert answer.only_usage


def test_usage_beside_choices_is_not_the_usage_event() -> None:
    answer = usage.read(b'{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}')
    assert answer is not None
    assert not answer.only_usage


@pytest.mark.parametrize("choices", [b"[ ]", b"[\n]"])
def test_white_space_between_brackets_is_nothing(choices: bytes) -> None:
    answer = usage.read(b'{"usage":{"prompt_tokens":1},"choices":%s}' % choices)
    assert answer is not None
    assert answer.only_usage


def test_embeddings_have_no_output() -> None:
    answer = usage.read(b'{"object":"list","data":[],"usage":{"prompt_tokens":5,"total_tokens":5}}')
    assert answer is not None
    assert answer.usage is not None
    assert (answer.usage.output, answer.usage.cached) == (0, 0)
    assert not answer.only_usage


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[{"delta":{"content":"\\"usage\\""}}]}',
        b'{"choices":[],"usage":null}',
        b'{"usage":{"prompt_tokens":"9"}}',
        b'{"usage":',
        b'["usage"]',
        b'{"usage":"\xff"}',
        b'{"usage":{"a":' + b"[" * 100_000,
        b"[DONE]",
        b"",
    ],
)
def test_no_readable_usage_is_none(data: bytes) -> None:
    assert usage.read(data) is None


@given(st.binary(max_size=60).map(lambda tail: b'{"usage"' + tail))
def test_arbitrary_bytes_raise_nothing(data: bytes) -> None:
    answer = usage.read(data)
    assert answer is None or answer.usage is not None
