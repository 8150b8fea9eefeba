"""``POST /v1/messages`` and ``/v1/messages/count_tokens``: from Anthropic's request to a chat completion's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from headrace.api.dialects.anthropic import AnthropicDialect
from headrace.api.dialects.conversation import Conversation
from headrace.api.dialects.extras import engine_extras
from headrace.api.dialects.message_answer import CountTranslator, MessageTranslator
from headrace.errors import InvalidRequest
from headrace.openai import anthropic
from headrace.openai.anthropic import MessagesFields, PromptFields, Tool, ToolChoice
from headrace.openai.chat import ChatRequest
from headrace.openai.document import Document, convert, decode
from headrace.openai.rules import Rules
from headrace.openai.tokens import TokenizeRequest

DIALECT = AnthropicDialect()

_REFUSED = ("container", "mcp_servers")
_IGNORED = ("betas", "cache_control", "context_management", "diagnostics", "inference_geo", "service_tier", "speed")
_EFFORTS = {"xhigh": "high", "max": "high"}


class MessagesRequest(ChatRequest):
    """A chat completion that was asked for as a message."""

    __slots__ = ("_conversation", "_source")
    _conversation: Conversation
    _source: MessagesFields

    @classmethod
    def decode(cls, body: bytes) -> Self:
        source = decode(body)
        fields = convert(source, MessagesFields, anthropic.CHOICES)
        conversation = Conversation(fields.system, fields.messages)
        document = engine_extras(source, fields, refused=_REFUSED, ignored=_IGNORED)
        _set_prompt(document, fields, conversation)
        _set_sampling(document, fields)
        request = cls(document)
        request._conversation, request._source = conversation, fields
        request.translator = MessageTranslator(fields.stop_sequences or [])
        return request

    @property
    def wants_usage(self) -> bool:
        return True  # the translator's: it goes into the last events

    def check(self, rules: Rules) -> None:
        stops = self._source.stop_sequences or []
        rules.check_count("stop_sequences", len(stops), rules.stop, " strings")
        if "" in stops:
            raise InvalidRequest("stop_sequences: must not hold an empty string.", param="stop_sequences")
        self._conversation.check(rules)
        super().check(rules)


class CountTokensRequest(TokenizeRequest):
    """Counts the tokens that a message would start from."""

    __slots__ = ("_conversation",)
    served_by: ClassVar = ("text",)
    _conversation: Conversation

    @classmethod
    def decode(cls, body: bytes) -> Self:
        fields = convert(decode(body), PromptFields, anthropic.CHOICES)
        conversation = Conversation(fields.system, fields.messages)
        document: Document = {}
        _set_prompt(document, fields, conversation)
        del document["tool_choice"], document["parallel_tool_calls"]
        request = cls({name: value for name, value in document.items() if value is not None})
        request._conversation = conversation
        request.translator = CountTranslator()
        return request

    def check(self, rules: Rules) -> None:
        self._conversation.check(rules)
        super().check(rules)


def _set_prompt(document: Document, fields: PromptFields, conversation: Conversation) -> None:
    document["model"] = fields.model
    document["messages"] = conversation.messages
    if conversation.continues:
        document["add_generation_prompt"], document["continue_final_message"] = False, True
    document["tools"] = [_tool(f"tools[{index}]", tool) for index, tool in enumerate(fields.tools or [])] or None
    document["tool_choice"] = document["parallel_tool_calls"] = None
    if fields.tool_choice is not None and fields.tools:
        document["tool_choice"] = _tool_choice(fields.tool_choice)
        if fields.tool_choice.disable_parallel_tool_use:
            document["parallel_tool_calls"] = False
    if fields.thinking is not None:
        given = document.get("chat_template_kwargs")
        arguments = dict(given) if isinstance(given, Mapping) else {}
        document["chat_template_kwargs"] = {"enable_thinking": fields.thinking.type != "disabled", **arguments}


def _set_sampling(document: Document, fields: MessagesFields) -> None:
    document["max_tokens"] = fields.max_tokens
    document["stream"] = fields.stream is True
    document["stop"] = fields.stop_sequences or None
    document["temperature"], document["top_p"], document["top_k"] = fields.temperature, fields.top_p, fields.top_k
    document["user"] = fields.metadata.user_id if fields.metadata is not None else None
    config = fields.output_config
    if config is not None and config.effort is not None:
        document["reasoning_effort"] = _EFFORTS.get(config.effort, config.effort)
    form = fields.output_format or (config.format if config is not None else None)
    if form is not None:
        document["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": form.schema, "strict": True},
        }
    for name in [name for name, value in document.items() if value is None]:
        del document[name]


def _tool(path: str, tool: Tool) -> dict[str, Any]:
    if tool.type not in {None, "custom"}:
        raise InvalidRequest(
            f"{path}.type: must be custom: tools that the server runs, like {tool.type[:64]!r}, are not offered here.",
            param=f"{path}.type",
        )
    if tool.input_schema is None:
        raise InvalidRequest(f"{path}.input_schema: is required.", param=f"{path}.input_schema")
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema,
        "strict": tool.strict,
    }
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.type == "tool":
        if choice.name is None:
            raise InvalidRequest("tool_choice.name: is required.", param="tool_choice.name")
        return {"type": "function", "function": {"name": choice.name}}
    return "required" if choice.type == "any" else choice.type
