"""JSON in and out, with errors that name the field.

A body is decoded once, into plain objects, and what goes out is encoded from those same objects: fields that Headrace
does not know survive, duplicate keys collapse, and llm-api and worker cannot read one body in two ways. The typed view
that Headrace works with is made by ``convert`` from the same objects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from headrace.errors import InvalidRequest

Document = dict[str, Any]
T = TypeVar("T")

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()

_KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_COMPARISONS = {">=": "at least", "<=": "at most", ">": "greater than", "<": "less than"}

_AT = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPES = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_BOUND = re.compile(r"Expected `([^`]*)` (>=|<=|>|<) (\S+)")
_ITEM = re.compile(r"\[[^\]]*\]")
_LENGTH = re.compile(r"Expected `([^`]*)` of length (>=|<=) (\d+)")


def check_content_type(value: bytes) -> None:
    """Raises InvalidRequest for a body that is said to be anything but JSON in UTF-8.

    A form or plain text is also what a foreign web page can make a browser send without asking us first.
    """
    kind, _, parameters = value.lower().partition(b";")
    charset = parameters.partition(b"charset=")[2].strip(b' "')
    if kind.strip() != b"application/json":
        told = kind.strip()[:100].decode("latin-1")
        raise InvalidRequest(f"Content-Type: must be application/json, not {told!r}.", code="unsupported_content_type")
    if charset not in {b"", b"utf-8", b"utf8"}:
        raise InvalidRequest("Content-Type: the charset must be utf-8.", code="unsupported_content_type")


def decode(body: bytes) -> Document:
    """The JSON object in ``body``. Raises InvalidRequest for anything else."""
    try:
        document = _decoder.decode(body)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not valid UTF-8: {error.reason}.", code="invalid_json") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(_syntax(body, str(error)), code="invalid_json") from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {kind(document)}.", code="invalid_json")
    return document


def encode(document: object) -> bytes:
    """``document`` as JSON. Raises InvalidRequest where it is nested too deeply to be written."""
    try:
        return _encoder.encode(document)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None


def convert(document: Document, type_: type[T], choices: Mapping[str, tuple[str, ...]]) -> T:
    """A typed view of ``document``; fields that ``type_`` does not declare are ignored.

    ``choices`` maps the name of a field with a fixed set of values to that set, for the error's sake; a name that means
    different things in different places is given with what is above it (``source.type``).
    Raises InvalidRequest, whose ``param`` is the path of the field at fault.
    """
    try:
        return msgspec.convert(document, type_)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None
    except msgspec.ValidationError as error:
        raise _explain(str(error), choices) from None


def kind(value: object) -> str:
    """The JSON name of a decoded value's type, with its article."""
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a string", list: "an array"}
    return "null" if value is None else names.get(type(value), "an object")


def _syntax(body: bytes, reason: str) -> str:
    reason = reason.removeprefix("JSON is malformed: ")
    hint = " Escapes from \\ud800 to \\udfff must come in pairs." if rb"\ud" in body.lower() else ""
    return f"The body is not valid JSON: {reason[0].lower()}{reason[1:]}.{hint}"


def _explain(text: str, choices: Mapping[str, tuple[str, ...]]) -> InvalidRequest:
    """Turn msgspec's words (``Expected `int | null`, got `str` - at `$.n```) into what a client should change."""
    at = _AT.search(text)
    path = at[1] if at else ""
    reason = text[: at.start()] if at else text
    if missing := _MISSING.match(reason):
        path = f"{path}.{missing[1]}" if path else missing[1]
        return InvalidRequest(f"{path}: is required.", param=path)
    if wrong := _TYPES.match(reason):
        told = f"must be {_kinds(wrong[1])}, not {_kinds(wrong[2])}"
    elif length := _LENGTH.match(reason):
        unit = "characters" if length[1] == "str" else "items"
        told = f"must have {_COMPARISONS[length[2]]} {length[3]} {unit}"
    elif bound := _BOUND.match(reason):
        told = f"must be {_kinds(bound[1])}, {_COMPARISONS[bound[2]]} {bound[3].removesuffix('.0')}"
    elif allowed := _allowed(path, choices):
        told = f"must be one of {', '.join(allowed)}"
    else:
        told = reason[0].lower() + reason[1:]
    return InvalidRequest(f"{path or 'body'}: {told}.", param=path or None)


def _allowed(path: str, choices: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    names = _ITEM.sub("", path).split(".")
    endings = (".".join(names[start:]) for start in range(len(names)))
    return next((choices[ending] for ending in endings if ending in choices), ())


def _kinds(union: str) -> str:
    names = [name for name in union.split(" | ") if name != "null" or union == "null"]
    return " or ".join(_KINDS.get(name, name) for name in names)
