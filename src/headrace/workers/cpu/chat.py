"""Chat messages, and the prompt that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, to_builtins

from headrace.errors import InvalidRequest
from headrace.workers.cpu.tokenizer import Tokenizer

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
PartType = Literal["text", "refusal", "image_url", "video_url", "audio_url", "input_audio", "file"]


class Part(Struct):
    type: PartType
    text: str | None = None
    refusal: str | None = None


class Message(Struct, omit_defaults=True):
    role: Role
    content: str | list[Part] | None = None
    name: str | UnsetType = UNSET
    tool_calls: list[dict[str, Any]] | UnsetType | None = UNSET
    tool_call_id: str | UnsetType = UNSET


def chat_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    add_generation_prompt: bool | None,
    continue_final_message: bool | None,
    arguments: Mapping[str, Any] | None,
) -> str:
    """The text that the model goes on from. Raises InvalidRequest."""
    continues = bool(continue_final_message)
    if continues and add_generation_prompt:
        raise InvalidRequest(
            "continue_final_message: needs add_generation_prompt: false, since a turn cannot be both "
            "continued and begun.",
            param="continue_final_message",
        )
    if continues and messages[-1].role != "assistant":
        raise InvalidRequest(
            "continue_final_message: the last message must be the assistant's.", param="continue_final_message"
        )
    return tokenizer.render(
        [_plain(message, f"messages[{index}]") for index, message in enumerate(messages)],
        add_generation_prompt=not continues if add_generation_prompt is None else add_generation_prompt,
        continue_final_message=continues,
        arguments=arguments,
    )


def _plain(message: Message, path: str) -> dict[str, Any]:
    """A message as templates expect it: content is one string."""
    plain: dict[str, Any] = to_builtins(message)
    plain["content"] = _text(message, path)
    return plain


def _text(message: Message, path: str) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    if content is None:
        if message.role == "assistant":
            return ""
        raise InvalidRequest(f"{path}.content: is required for the role {message.role}.", param=f"{path}.content")
    return "".join(_part_text(part, f"{path}.content[{index}]") for index, part in enumerate(content))


def _part_text(part: Part, path: str) -> str:
    if part.type not in {"text", "refusal"}:
        raise InvalidRequest(f"{path}: this model reads text only, not {part.type}.", param=f"{path}.type")
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise InvalidRequest(f"{path}.{part.type}: is required.", param=f"{path}.{part.type}")
    return text
