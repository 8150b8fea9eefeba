"""Reading an upstream's head and chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ProtocolError
from headrace.wire.response import ChunkedDecoder, FieldLines, ResponseHead


def head(*fields: str, line: str = "HTTP/1.1 200 OK") -> ResponseHead:
    return ResponseHead("\r\n".join((line, *fields)).encode(), FieldLines())


def test_fields_are_found_whatever_their_case() -> None:
    found = head("Content-Type: text/plain", "X-One:  1 ", "x-empty:")
    assert (found.status, found.header(b"content-type"), found.header(b"x-one")) == (200, b"text/plain", b"1")
    assert found.header(b"x-empty") == found.header(b"x-none") == b""
    assert not found.event_stream


def test_field_is_not_found_inside_a_value() -> None:
    assert head("X-A: content-length: 5").length is None


@pytest.mark.parametrize("kind", ["text/event-stream", "text/event-stream; charset=utf-8"])
def test_event_stream_is_known_by_its_type(kind: str) -> None:
    assert head(f"Content-Type: {kind}").event_stream


@pytest.mark.parametrize(
    ("fields", "length", "chunked"),
    [
        ((), None, False),
        (("Content-Length: 5",), 5, False),
        (("Content-Length: 0",), 0, False),
        (("Content-Length: 5", "content-length: 5"), 5, False),
        (("Transfer-Encoding: chunked",), None, True),
        (("Transfer-Encoding: Chunked",), None, True),
    ],
)
def test_framing(fields: tuple[str, ...], length: int | None, chunked: bool) -> None:
    found = head(*fields)
    assert (found.length, found.chunked) == (length, chunked)


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_never_have_a_body(status: int) -> None:
    assert head("Content-Length: 5", line=f"HTTP/1.1 {status} X").length == 0


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: x",),
        ("Content-Length: -1",),
        ("Content-Length: +1",),
        ("Content-Length:",),
        ("Content-Length: 1, 1",),
        ("Content-Length: " + "1" * 30,),
        ("Content-Length: " + "1" * 5000,),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: gzip"),
        ("Transfer-Encoding:",),
    ],
)
def test_ambiguous_framing_is_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolError):
        head(*fields)


@pytest.mark.parametrize("line", ["", "HTTP/2 200", "HTTP/1.1 20 OK", "HTTP/1.1 abc", "ICY 200 OK", "HTTP/1.1  200"])
def test_what_is_no_status_line_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError):
        head(line=line)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.1", "keep-alive", True),
        ("1.1", "foo, close", False),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "close", False),
    ],
)
def test_whether_the_connection_is_kept(version: str, connection: str | None, kept: bool) -> None:
    fields = (f"Connection: {connection}",) if connection is not None else ()
    assert head(*fields, line=f"HTTP/{version} 200 OK").keep_alive is kept


# ---- chunks ----

BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a=b", b" "])
TRAILERS = st.sampled_from([b"", b"X-T: 1\r\n", b"X-T: 1\r\nX-U: 2\r\n"])


@given(BODIES, EXTENSIONS, TRAILERS, st.lists(st.integers(0, 1000), max_size=10))
def test_any_split_gives_the_same_payload(
    body: list[bytes], extension: bytes, trailers: bytes, cuts: list[int]
) -> None:
    data = (
        b"".join(b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in body) + b"0\r\n" + trailers + b"\r\n"
    )
    decoder = ChunkedDecoder()
    borders = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    payload = b""
    for start, end in pairwise(borders):
        assert not decoder.done
        payload += decoder.feed(data[start:end])
    assert decoder.done
    assert not decoder.excess
    assert payload == b"".join(body)


def test_cut_at_every_offset() -> None:
    data = b"5\r\nhello\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n000\r\nX: y\r\n\r\n"
    for offset in range(len(data) + 1):
        decoder = ChunkedDecoder()
        payload = decoder.feed(data[:offset]) + decoder.feed(data[offset:])
        assert (payload, decoder.done) == (b"helloabcdefghijklmnopqrstuvwxyz", True)


def test_border_is_known() -> None:
    decoder = ChunkedDecoder()
    for piece, at_border in ((b"3", False), (b"\r\n", False), (b"ab", False), (b"c", False), (b"\r", False)):
        decoder.feed(piece)
        assert decoder.at_border is at_border
    decoder.feed(b"\n")
    assert decoder.at_border
    decoder.feed(b"0\r\n")
    assert not decoder.at_border


def test_what_comes_behind_the_end_is_noticed() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK") == b"a"
    assert decoder.excess


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b"1_0\r\n",
        b"fffffffffffff\r\n",
        b"1" * 40,
        b";" + b"a" * 40,
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\r\r",
        b"0\r\n" + b"a" * 66_000,
    ],
)
def test_broken_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChunkedDecoder().feed(data)
    with pytest.raises(ProtocolError):
        _feed_bytes(data)


def _feed_bytes(data: bytes) -> None:
    decoder = ChunkedDecoder()
    for byte in data:
        decoder.feed(bytes((byte,)))


@given(st.binary(max_size=200))
def test_noise_is_decoded_or_refused(data: bytes) -> None:
    try:
        assert len(ChunkedDecoder().feed(data)) <= len(data)
    except ProtocolError as error:
        assert "peer" in str(error)  # noqa: PT017  both ends are fine
