"""Anthropic's system prompt and messages as those of a chat completion."""

from __future__ import annotations

from typing import Any

from headrace.errors import InvalidRequest
from headrace.openai.anthropic import (
    Base64Source,
    Block,
    ContentSource,
    Document,
    Image,
    Message,
    RedactedThinking,
    SearchResult,
    Text,
    TextSource,
    Thinking,
    ToolResult,
    ToolUse,
    UrlSource,
)
from headrace.openai.document import encode
from headrace.openai.rules import Rules

INVALID_JSON = "INVALID_JSON"
"""The key under which Anthropic's clients hand back the input of a tool call that was not JSON."""

_Part = dict[str, Any]


class Conversation:
    """``messages`` are the chat completion's."""

    def __init__(self, system: str | list[Text] | None, messages: list[Message]) -> None:
        """Raises InvalidRequest, naming the block at fault."""
        self.messages: list[dict[str, Any]] = []
        self._media: list[tuple[str, str]] = []
        if system:
            self._add("system", [_text(system)] if isinstance(system, str) else [_text(block.text) for block in system])
        for index, message in enumerate(messages):
            path = f"messages[{index}].content"
            blocks: list[Block] = []
            blocks += [Text(message.content)] if isinstance(message.content, str) else message.content
            if message.role == "assistant":
                self._add_assistant(path, blocks)
            else:
                self._add_user(path, message.role, blocks)
        last = self.messages[-1]
        self.continues = last["role"] == "assistant" and "tool_calls" not in last
        """Whether the answer goes on from an assistant's message that the client began."""

    def check(self, rules: Rules) -> None:
        """Raises InvalidRequest for media that ``rules`` do not allow."""
        for path, url in self._media:
            rules.check_media(path, url)

    def _add(self, role: str, parts: list[_Part], **more: Any) -> None:
        only_text = len(parts) == 1 and parts[0]["type"] == "text"
        self.messages.append({"role": role, "content": parts[0]["text"] if only_text else parts, **more})

    def _add_assistant(self, path: str, blocks: list[Block]) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        for index, block in enumerate(blocks):
            if isinstance(block, Text):
                texts.append(block.text)
            elif isinstance(block, Thinking):
                thoughts.append(block.thinking)
            elif isinstance(block, ToolUse):
                function = {"name": block.name, "arguments": _arguments(block)}
                calls.append({"id": block.id, "type": "function", "function": function})
            elif not isinstance(block, RedactedThinking):
                raise _misplaced(f"{path}[{index}]", block, "assistant")
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
        if thoughts:
            message["reasoning"] = "".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)

    def _add_user(self, path: str, role: str, blocks: list[Block]) -> None:
        """What the tools said comes first, in messages of its own; chat completions take no images there."""
        parts: list[_Part] = []
        results = 0
        for index, block in enumerate(blocks):
            place = f"{path}[{index}]"
            if isinstance(block, ToolResult) and role == "user":
                parts += self._add_result(place, block)
                results += 1
            elif isinstance(block, Text) or (role == "user" and isinstance(block, Image | Document | SearchResult)):
                parts += self._parts(place, block)
            else:
                raise _misplaced(place, block, role)
        if parts or not results:
            self._add(role, parts or [_text("")])

    def _add_result(self, path: str, block: ToolResult) -> list[_Part]:
        content = [Text(block.content)] if isinstance(block.content, str) else block.content or []
        parts = [part for index, item in enumerate(content) for part in self._parts(f"{path}.content[{index}]", item)]
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        if block.is_error:
            text = f"Error: {text}"
        self.messages.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": text})
        return [part for part in parts if part["type"] != "text"]

    def _parts(self, path: str, block: Text | Image | Document | SearchResult) -> list[_Part]:
        if isinstance(block, Text):
            return [_text(block.text)]
        if isinstance(block, Image):
            return [self._image(f"{path}.source", block)]
        if isinstance(block, SearchResult):
            head = f"{block.title}\n{block.source}\n"
            return [_text(head + "\n".join(text.text for text in block.content))]
        head = "".join(f"{line}\n" for line in (block.title, block.context) if line)
        parts = [_text(head)] if head else []
        if isinstance(block.source, TextSource):
            return [_text(head + block.source.data)]
        if not isinstance(block.source, ContentSource):
            raise _bad_source(f"{path}.source", "documents must be text or content blocks")
        if isinstance(block.source.content, str):
            return [_text(head + block.source.content)]
        for index, item in enumerate(block.source.content):
            parts += self._parts(f"{path}.source.content[{index}]", item)
        return parts

    def _image(self, path: str, block: Image) -> _Part:
        source = block.source
        if isinstance(source, Base64Source):
            url = f"data:{source.media_type};base64,{source.data}"
        elif isinstance(source, UrlSource):
            url = source.url
            self._media.append((f"{path}.url", url))
        else:
            raise _bad_source(path, "files are not stored here; send base64")
        return {"type": "image_url", "image_url": {"url": url}}


def _text(text: str) -> _Part:
    return {"type": "text", "text": text}


def _arguments(block: ToolUse) -> str:
    broken = block.input.get(INVALID_JSON)
    return broken if isinstance(broken, str) else encode(block.input).decode()


def _misplaced(path: str, block: Block, role: str) -> InvalidRequest:
    kind = type(block).__struct_config__.tag
    return InvalidRequest(
        f"{path}.type: {kind} does not belong into a message of the role {role}.", param=f"{path}.type"
    )


def _bad_source(path: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{path}.type: {reason}.", param=f"{path}.type")
