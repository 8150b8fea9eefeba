"""Bodies that are nested as deeply as they can be: refused or answered, at every depth."""

from __future__ import annotations

import json

import pytest

from headrace.api.dialects.message_answer import MessageTranslator
from headrace.api.dialects.messages import CountTokensRequest, MessagesRequest
from headrace.api.dialects.responses import ResponsesRequest
from headrace.errors import InvalidRequest
from headrace.openai.chat import ChatRequest
from headrace.openai.rules import Rules
from headrace.openai.tokens import TokenizeRequest
from tests.api.dialects.conftest import chat

DEPTHS = range(900, 1010)
"""Around the depth at which decoders give up, which depends on the version of Python."""

TURN = '"messages":[{"role":"user","content":"x"}]'


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (MessagesRequest, TURN + ',"max_tokens":1,"tools":[{"name":"f","input_schema":%s}]'),
        (MessagesRequest, TURN + ',"max_tokens":1,"output_format":{"type":"json_schema","schema":%s}'),
        (MessagesRequest, TURN + ',"max_tokens":1,"guided_json":%s'),
        (
            MessagesRequest,
            '"max_tokens":1,"messages":[{"role":"assistant","content":'
            '[{"type":"tool_use","id":"t","name":"f","input":%s}]}]',
        ),
        (CountTokensRequest, TURN + ',"tools":[{"name":"f","input_schema":%s}]'),
        (ResponsesRequest, '"input":"x","tools":[{"type":"function","name":"f","parameters":%s}]'),
        (ResponsesRequest, '"input":"x","text":{"format":{"type":"json_schema","name":"s","schema":%s}}'),
    ],
)
def test_requests(kind: type[ChatRequest | TokenizeRequest], fields: str) -> None:
    outcomes: set[str | None] = set()
    for depth in DEPTHS:
        try:
            request = kind.decode(('{"model":"m",' + fields % nested(depth) + "}").encode())
            request.check(Rules())
            request.encode("m")
            assert request.translator is not None
            if kind is not CountTokensRequest:
                request.translator.answer(json.dumps(chat(content="x")).encode())
            outcomes.add("answered")
        except InvalidRequest as error:
            outcomes.add(error.code)
    assert outcomes <= {"answered", "invalid_json"}


def test_answers() -> None:
    for depth in DEPTHS:
        calls = [{"id": "c", "function": {"name": "f", "arguments": nested(depth)}}]
        body = MessageTranslator([]).answer(json.dumps(chat(tool_calls=calls)).encode())
        assert b'"type":"tool_use","id":"c","name":"f","input":{' in body
