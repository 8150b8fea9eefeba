"""An upload's form, taken apart (RFC 7578)."""

from __future__ import annotations

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headrace.errors import InvalidRequest

_FIELDS = 32
_FIELD_BYTES = 64 * 1024


class Part(Struct):
    """One field. ``filename`` is None where it is no file."""

    name: str
    filename: str | None
    data: bytearray


def read_form(content_type: bytes, body: bytes) -> dict[str, Part]:
    """The fields by name. Raises InvalidRequest for anything but a whole form of a few fields, each once."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequest("Content-Type: must be multipart/form-data.", code="unsupported_content_type")
    reader = _Reader()
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": reader.on_part_begin,
                "on_header_field": reader.on_header_field,
                "on_header_value": reader.on_header_value,
                "on_header_end": reader.on_header_end,
                "on_headers_finished": reader.on_headers_finished,
                "on_part_data": reader.on_part_data,
                "on_end": reader.on_end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise InvalidRequest("The body is not a valid form.", code="invalid_form") from None
    if not reader.complete:
        raise InvalidRequest("The form has no end; send it whole.", code="invalid_form")
    return reader.parts


class _Reader:
    """What the parser calls."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.complete = False
        self._part = Part("", None, bytearray())
        self._name = b""
        self._value = b""
        self._disposition = b""

    def on_part_begin(self) -> None:
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        if not name or name in self.parts or len(self.parts) >= _FIELDS:
            raise InvalidRequest("Each field of the form needs a name of its own.", code="invalid_form")
        self._part = Part(name, None if filename is None else filename.decode("utf-8", "replace"), bytearray())
        self.parts[name] = self._part

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.data += data[start:end]
        if part.filename is None and len(part.data) > _FIELD_BYTES:
            raise InvalidRequest(f"{part.name[:64]}: is too long; a file needs a filename.", param=part.name[:64])

    def on_end(self) -> None:
        self.complete = True
