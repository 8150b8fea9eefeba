"""Uploads' forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.batches.form import read_form
from headrace.errors import InvalidRequest

KIND = b"multipart/form-data; boundary=XX"


def part(name: str, data: bytes, more: str = "") -> bytes:
    return f'--XX\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


END = b"--XX--\r\n"


def test_fields_and_files() -> None:
    data = bytes(range(256)) * 10
    form = read_form(KIND, part("purpose", b"batch") + part("file", data, '; filename="a b.jsonl"') + END)
    assert (form["purpose"].filename, bytes(form["purpose"].data)) == (None, b"batch")
    assert (form["file"].filename, bytes(form["file"].data)) == ("a b.jsonl", data)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"application/json", END),
        (b"multipart/form-data", END),
        (b"", END),
        (KIND, b""),
        (KIND, b"nonsense"),
        (KIND, part("a", b"x")),
        (KIND, part("a", b"x") + part("a", b"y") + END),
        (KIND, part("", b"x") + END),
        (KIND, part("a", b"x" * 70_000) + END),
        (KIND, b"".join(part(f"f{number}", b"") for number in range(40)) + END),
    ],
)
def test_what_is_no_whole_form_is_refused(kind: bytes, body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_form(kind, body)


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(noise: bytes) -> None:
    for body in (noise, b"--XX\r\n" + noise, part("a", noise) + END):
        try:
            read_form(KIND, body)
        except InvalidRequest:
            continue
