from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvalidRequest
from headrace.openai.document import decode, encode


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1]", "must be a JSON object, not an array"),
        (b"null", "must be a JSON object, not null"),
        (b"true", "must be a JSON object, not true or false"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":Infinity}', "not valid JSON"),
        (b'{"a":1e400}', "number out of range"),
        (b'{"a":%s}' % (b"1" * 5000), "integer value out of range"),
        (b'{"a":"\\ud800"}', "must come in pairs"),
        (b'{"a":"\\udc00\\ud800"}', "must come in pairs"),
        (b'{"\\uD800":1}', "must come in pairs"),
        (b'{"a":"\xff"}', "not valid UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not valid UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        (b'{"a":1} {"a":2}', "trailing characters"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(body)
    assert words in caught.value.message
    assert caught.value.code == "invalid_json"
    msgspec.json.decode(caught.value.body())


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    try:
        document = decode(body)
    except InvalidRequest:
        return
    assert isinstance(document, dict)


def test_duplicate_keys_collapse_to_the_last() -> None:
    assert encode(decode(b'{"model":"a","x":{"y":1,"y":2},"model":"b"}')) == b'{"model":"b","x":{"y":2}}'


def test_what_is_nested_too_deeply_to_be_written_is_refused() -> None:
    document: dict[str, object] = {}
    for _ in range(100_000):
        document = {"a": document}
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        encode(document)
    while document:  # taken apart from the outside, for the interpreter's own stack
        document = document.pop("a")  # type: ignore[assignment]
