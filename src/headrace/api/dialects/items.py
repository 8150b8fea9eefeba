"""The input items of a response as the messages of a chat completion."""

from __future__ import annotations

from typing import Any

from headrace.errors import InvalidRequest
from headrace.openai.responses import Item, Part
from headrace.openai.rules import Rules

_Part = dict[str, Any]
_Message = dict[str, Any]


class Items:
    """``messages`` are the chat completion's."""

    def __init__(self, instructions: str | None, items: str | list[Item]) -> None:
        """Raises InvalidRequest, naming the item or part at fault."""
        self.messages: list[_Message] = []
        self._media: list[tuple[str, str]] = []
        self._images: list[_Part] = []
        if instructions:
            self.messages.append({"role": "system", "content": instructions})
        if isinstance(items, str):
            self.messages.append({"role": "user", "content": items})
            return
        for index, item in enumerate(items):
            self._add(f"input[{index}]", item)
        self._show_images()

    def check(self, rules: Rules) -> None:
        """Raises InvalidRequest for media that ``rules`` do not allow."""
        for path, url in self._media:
            rules.check_media(path, url)

    def _add(self, path: str, item: Item) -> None:
        if item.type != "function_call_output":
            self._show_images()
        match item.type:
            case "message":
                self._add_message(path, item)
            case "reasoning":
                parts = item.content if isinstance(item.content, list) else []
                thought = "".join(part.text or "" for part in parts or item.summary or ())
                if thought:
                    self.messages.append({"role": "assistant", "content": "", "reasoning": thought})
            case "function_call":
                self._add_call(path, item)
            case "function_call_output":
                self._add_output(path, item)
            case "item_reference":
                raise InvalidRequest(
                    f"{path}.type: items are not stored here, so that none can be referred to; send the item itself.",
                    param=f"{path}.type",
                )

    def _add_message(self, path: str, item: Item) -> None:
        role = _demand(f"{path}.role", item.role)
        content = _demand(f"{path}.content", item.content)
        parts = self._parts(f"{path}.content", content)
        if role != "assistant":
            only_text = len(parts) == 1 and parts[0]["type"] == "text"
            self.messages.append({"role": role, "content": parts[0]["text"] if only_text else parts})
            return
        for index, part in enumerate(parts):
            if part["type"] != "text":
                name = f"{path}.content[{index}].type"
                raise InvalidRequest(f"{name}: a message of the assistant can only hold text.", param=name)
        text = "".join(part["text"] for part in parts)
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "assistant" and not last["content"] and "tool_calls" not in last:
            last["content"] = text
        else:
            self.messages.append({"role": "assistant", "content": text})

    def _add_call(self, path: str, item: Item) -> None:
        """The calls that follow each other, and what was said before them, are one turn."""
        function = {
            "name": _demand(f"{path}.name", item.name),
            "arguments": _demand(f"{path}.arguments", item.arguments),
        }
        call = {"id": _demand(f"{path}.call_id", item.call_id), "type": "function", "function": function}
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": ""})
        self.messages[-1].setdefault("tool_calls", []).append(call)

    def _add_output(self, path: str, item: Item) -> None:
        call_id = _demand(f"{path}.call_id", item.call_id)
        parts = self._parts(f"{path}.output", _demand(f"{path}.output", item.output))
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": text})
        self._images += [part for part in parts if part["type"] != "text"]

    def _show_images(self) -> None:
        """Chat completions take no images from tools: the user shows them, once all outputs are there."""
        if self._images:
            self.messages.append({"role": "user", "content": self._images})
            self._images = []

    def _parts(self, path: str, content: str | list[Part]) -> list[_Part]:
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        return [self._part(f"{path}[{index}]", part) for index, part in enumerate(content)]

    def _part(self, path: str, part: Part) -> _Part:
        if part.type == "input_file":
            raise InvalidRequest(f"{path}.type: files are not supported here; send text.", param=f"{path}.type")
        if part.type == "refusal":
            return {"type": "text", "text": _demand(f"{path}.refusal", part.refusal)}
        if part.type != "input_image":
            return {"type": "text", "text": _demand(f"{path}.text", part.text)}
        url = _demand(f"{path}.image_url", part.image_url)
        self._media.append((f"{path}.image_url", url))
        image = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
        return {"type": "image_url", "image_url": image}


def _demand(path: str, value: Any) -> Any:
    if value is None:
        raise InvalidRequest(f"{path}: is required.", param=path)
    return value
