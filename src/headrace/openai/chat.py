"""``POST /v1/chat/completions``: the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import Meta, Struct

from headrace.errors import InvalidRequest
from headrace.openai.request import Count, GenerationFields, GenerationRequest, Index
from headrace.openai.rules import Rules

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
PartType = Literal["text", "refusal", "thinking", "image_url", "video_url", "audio_url", "input_audio"]


class Media(Struct, gc=False):
    url: str


class InputAudio(Struct, gc=False):
    data: str
    format: str | None = None


class Part(Struct, gc=False):
    """One piece of a message's content."""

    type: PartType
    text: str | None = None
    refusal: str | None = None
    thinking: str | None = None
    image_url: Media | str | None = None
    video_url: Media | str | None = None
    audio_url: Media | str | None = None
    input_audio: InputAudio | None = None
    uuid: str | None = None
    """vLLM's name for a medium: the engine caches what it computed of the medium under it."""

    def words(self) -> str | None:
        """The part's text; None for media."""
        if self.type in {"text", "refusal", "thinking"}:
            return self.text or self.refusal or self.thinking or ""
        return None

    def media(self) -> Iterator[tuple[str, str]]:
        """The field and the URL (or the base64 data) of every medium that the part carries."""
        for name, medium in (
            ("image_url", self.image_url),
            ("video_url", self.video_url),
            ("audio_url", self.audio_url),
        ):
            if medium is not None:
                yield name, medium if isinstance(medium, str) else medium.url
        if self.input_audio is not None:
            yield "input_audio", self.input_audio.data


class FunctionCall(Struct, gc=False):
    name: str
    arguments: str | None = None


class ToolCall(Struct, gc=False):
    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None


class Message(Struct, gc=False):
    role: Role
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    name: str | None = None
    tool_call_id: str | None = None


class Function(Struct, gc=False):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Struct, gc=False):
    type: str
    function: Function | None = None


class ResponseFormat(Struct, gc=False):
    type: str
    json_schema: dict[str, Any] | None = None


class ChatFields(GenerationFields, kw_only=True, gc=False):
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Index | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


class ChatRequest(GenerationRequest[ChatFields]):
    """A chat completion.

    ``max_tokens`` and ``max_completion_tokens`` are two names of one limit. Different values are refused, as OpenAI
    does (vLLM would silently take the second, so that a limit checked on the first could be passed by); equal ones go
    out once.
    """

    __slots__ = ()
    kind = ChatFields
    served_by = ("text",)
    choices: ClassVar = {"role": get_args(Role), "type": get_args(PartType)}

    @property
    def output_cap(self) -> int | None:
        return self.fields.max_completion_tokens or self.fields.max_tokens

    @property
    def cap_name(self) -> str:
        return "max_tokens" if self.fields.max_completion_tokens is None else "max_completion_tokens"

    def check(self, rules: Rules) -> None:
        super().check(rules)
        fields = self.fields
        if fields.max_tokens is not None and fields.max_completion_tokens is not None:
            self._merge_caps(fields.max_tokens, fields.max_completion_tokens)
        if fields.top_logprobs:
            rules.check_count("top_logprobs", fields.top_logprobs, rules.logprobs)
            if not fields.logprobs:
                raise InvalidRequest("top_logprobs: needs logprobs: true.", param="top_logprobs")
        if fields.chat_template_kwargs:
            rules.check_template_arguments(fields.chat_template_kwargs)
        check_messages(fields.messages, rules)

    def instruct(self, text: str) -> None:
        """Put a system prompt in front."""
        self.document["messages"] = with_system(self.document["messages"], text)
        self.fields = self._view()

    def _merge_caps(self, max_tokens: int, max_completion_tokens: int) -> None:
        if max_tokens != max_completion_tokens:
            raise InvalidRequest(
                f"max_tokens: is {max_tokens}, but max_completion_tokens is {max_completion_tokens}; send only one.",
                param="max_tokens",
            )
        del self.document["max_tokens"]
        self.fields.max_tokens = None

    def _is_open(self, name: str) -> bool:
        if name in {"max_tokens", "max_completion_tokens"}:
            return super()._is_open("max_tokens") and super()._is_open("max_completion_tokens")
        return super()._is_open(name)


def with_system(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The messages behind a system prompt: before the conversation's own, in one message, since most templates take
    only one and only there."""
    first = messages[0]
    if first["role"] not in {"system", "developer"}:
        return [{"role": "system", "content": text}, *messages]
    own = first["content"]
    content = f"{text}\n\n{own}" if isinstance(own, str) else [{"type": "text", "text": text}, *own]
    return [{**first, "content": content}, *messages[1:]]


def check_messages(messages: list[Message], rules: Rules) -> None:
    """Raises InvalidRequest, naming the part at fault."""
    if len(messages) > rules.messages:
        rules.check_count("messages", len(messages), rules.messages, " items")
    for index, message in enumerate(messages):
        if message.content.__class__ is not str:
            _check_content(f"messages[{index}]", message, rules)


def _check_content(path: str, message: Message, rules: Rules) -> None:
    if isinstance(message.content, list):
        for index, part in enumerate(message.content):
            _check_part(f"{path}.content[{index}]", part, rules)
    elif message.content is None and message.role not in {"assistant", "function"}:
        raise InvalidRequest(f"{path}.content: is required for the role {message.role}.", param=f"{path}.content")


def _check_part(path: str, part: Part, rules: Rules) -> None:
    if getattr(part, part.type) is None:
        raise InvalidRequest(f"{path}.{part.type}: is required.", param=f"{path}.{part.type}")
    if part.uuid is not None:
        rules.check_media_name(f"{path}.uuid")
    for name, url in part.media():
        if name != "input_audio":
            rules.check_media(f"{path}.{name}", url)
