"""``POST /v1/responses``: from OpenAI's newer request to a chat completion's."""

from __future__ import annotations

from typing import Any, Self

from msgspec import Raw, structs

from headrace.api.dialects.extras import engine_extras
from headrace.api.dialects.items import Items
from headrace.api.dialects.response_answer import ResponseTranslator, as_messages
from headrace.errors import InvalidRequest
from headrace.openai import responses
from headrace.openai.chat import ChatRequest
from headrace.openai.document import Document, convert, decode, encode
from headrace.openai.response import Settings
from headrace.openai.responses import Format, ResponsesFields, TextConfig, Tool
from headrace.openai.rules import Rules
from headrace.store.objects.responses import StoredResponse

_REFUSED = ("conversation", "prompt", "moderation", "context_management")
_IGNORED = (
    *("access_programs", "background_options", "image", "prompt_cache_options"),
    *("prompt_cache_retention", "service_tier"),
)
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_LOGPROBS = "message.output_text.logprobs"


class ResponsesRequest(ChatRequest):
    """A chat completion that was asked for as a response."""

    __slots__ = (
        "_items",
        "_translator",
        "asked_to_store",
        "conversation",
        "given",
        "instructed",
        "previous",
        "wants_store",
    )
    _items: Items
    _translator: ResponseTranslator
    previous: str | None
    """The response that this one goes on from."""
    wants_store: bool
    asked_to_store: bool
    """In so many words."""
    given: str | list[Any]
    """``input`` as it came."""
    instructed: bool
    """Whether the first message is the client's instructions, which hold for this response alone."""
    conversation: list[dict[str, Any]]
    """All messages but the instructions, without what an alias adds."""

    @classmethod
    def decode(cls, body: bytes) -> Self:
        source = decode(body)
        fields = convert(source, ResponsesFields, responses.CHOICES)
        _refuse_state(fields)
        items = Items(fields.instructions, fields.input)
        document = engine_extras(source, fields, refused=_REFUSED, ignored=_IGNORED)
        document |= {"model": fields.model, "messages": items.messages, "stream": fields.stream is True}
        document |= {name: value for name, value in _settings(fields).items() if value is not None}
        request = cls(document)
        request._items = items
        request.previous = fields.previous_response_id
        request.wants_store, request.asked_to_store = fields.store is not False, fields.store is True
        request.given = source["input"]
        request.instructed = bool(fields.instructions)
        request.conversation = items.messages[request.instructed :]
        request.translator = request._translator = ResponseTranslator(_echo(fields))
        return request

    def resume(self, earlier: list[dict[str, Any]]) -> None:
        """Go on from these messages."""
        self.conversation = [*earlier, *self.conversation]
        self.document["messages"] = [*self.document["messages"][: self.instructed], *self.conversation]
        self.fields = self._view()

    def forget(self) -> None:
        """Nothing will be stored, and the answer says so."""
        self.wants_store = self._translator.settings.store = False

    def to_store(self, tenant: str) -> StoredResponse | None:
        """What is kept when the answer is complete; None where there is none."""
        response = self._translator.response
        if response is None or response.status not in {"completed", "incomplete"}:
            return None
        messages = [*self.conversation, *as_messages(response.output)]
        return StoredResponse(
            response.id, tenant, encode(response), encode(_items(response.id, self.given)), encode(messages)
        )

    @property
    def wants_usage(self) -> bool:
        return True  # the translator's: it goes into the last event

    @property
    def cap_name(self) -> str:
        return "max_output_tokens"

    def check(self, rules: Rules) -> None:
        self._items.check(rules)
        super().check(rules)


def _refuse_state(fields: ResponsesFields) -> None:
    """Raises InvalidRequest for what needs more than an answer that can be stored."""
    if fields.background:
        raise InvalidRequest("background: is not supported here; send false or leave it out.", param="background")
    if fields.truncation == "auto":
        raise InvalidRequest("truncation: must be disabled: nothing is cut off here.", param="truncation")


def _settings(fields: ResponsesFields) -> Document:
    wants_logprobs = bool(fields.top_logprobs) or _LOGPROBS in (fields.include or ())
    tools = [_tool(f"tools[{index}]", tool) for index, tool in enumerate(fields.tools or ())]
    return {
        "max_completion_tokens": fields.max_output_tokens,
        "temperature": fields.temperature,
        "top_p": fields.top_p,
        "logprobs": wants_logprobs or None,
        "top_logprobs": fields.top_logprobs or None,
        "tools": tools or None,
        "tool_choice": _tool_choice(fields) if tools else None,
        "parallel_tool_calls": fields.parallel_tool_calls if tools else None,
        "response_format": _response_format(fields.text.format if fields.text is not None else None),
        "reasoning_effort": fields.reasoning.effort if fields.reasoning is not None else None,
        "user": fields.safety_identifier or fields.user,
    }


def _tool(path: str, tool: Tool) -> dict[str, Any]:
    if tool.type != "function":
        raise InvalidRequest(
            f"{path}.type: must be function; tools that the server runs, like {tool.type[:64]!r}, are not offered.",
            param=f"{path}.type",
        )
    if tool.name is None:
        raise InvalidRequest(f"{path}.name: is required.", param=f"{path}.name")
    function = {name: value for name, value in _plain(tool).items() if name != "type"}
    return {"type": "function", "function": function}


def _tool_choice(fields: ResponsesFields) -> str | dict[str, Any] | None:
    choice = fields.tool_choice
    if choice is None or isinstance(choice, str):
        return choice
    if choice.type != "function" or choice.name is None:
        raise InvalidRequest(
            'tool_choice: must be none, auto, required or {"type": "function", "name": ...}.', param="tool_choice"
        )
    return {"type": "function", "function": {"name": choice.name}}


def _response_format(form: Format | None) -> dict[str, Any] | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "json_object"}
    for name in ("name", "schema"):
        if getattr(form, name) is None:
            raise InvalidRequest(f"text.format.{name}: is required.", param=f"text.format.{name}")
    schema = {name: value for name, value in _plain(form).items() if name != "type"}
    return {"type": "json_schema", "json_schema": schema}


def _echo(fields: ResponsesFields) -> Settings:
    text = fields.text or TextConfig()
    form = {"type": "text"} if text.format is None else _plain(text.format)
    reasoning = fields.reasoning or responses.Reasoning()
    return Settings(
        instructions=fields.instructions,
        max_output_tokens=fields.max_output_tokens,
        max_tool_calls=fields.max_tool_calls,
        metadata=fields.metadata or {},
        parallel_tool_calls=fields.parallel_tool_calls is not False,
        reasoning={"effort": reasoning.effort, "summary": reasoning.summary},
        temperature=fields.temperature,
        text=Raw(encode({"format": form, "verbosity": text.verbosity})),
        tool_choice=fields.tool_choice or "auto",
        tools=Raw(encode([_plain(tool) for tool in fields.tools or ()])),
        top_logprobs=fields.top_logprobs,
        top_p=fields.top_p,
        user=fields.user,
        safety_identifier=fields.safety_identifier,
        store=fields.store is not False,
        previous_response_id=fields.previous_response_id,
    )


def _items(response_id: str, given: str | list[Any]) -> list[dict[str, Any]]:
    """The input as a list of items that have ids."""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_item(f"{response_id.removeprefix('resp_')}_in{index}", item) for index, item in enumerate(items)]


def _item(name: str, item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type") or "message"
    named = {"status": "completed", **item, "type": kind, "id": item.get("id") or f"{_PREFIXES.get(kind, kind)}_{name}"}
    if kind == "message" and isinstance(item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        named["content"] = [{"type": part, "text": item["content"]}]
    return named


def _plain(value: Tool | Format) -> dict[str, Any]:
    return {name: field for name, field in structs.asdict(value).items() if field is not None}
