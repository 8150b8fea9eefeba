"""``POST /v1/responses``: from a chat completion, whole or in chunks, to a response and its typed events."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from headrace.errors import ApiError, BadGateway, ProtocolError
from headrace.openai import usage
from headrace.openai.answer import Call, ChatAnswer, Choice, Logprob, Said, read_answer, read_events
from headrace.openai.response import (
    Failure,
    FunctionCallItem,
    Incomplete,
    MessageItem,
    OutputItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    Response,
    Settings,
    Usage,
)
from headrace.openai.translator import Translator

_encoder = msgspec.json.Encoder()


class _Open(Struct):
    """The item that is being written, as it will be at its end."""

    item: OutputItem
    call: int = -1
    """Which tool call it is."""
    pieces: list[str] = []
    logprobs: list[Logprob] = []


class ResponseTranslator(Translator):
    """One response. Items of a stream follow each other, never two at a time."""

    __slots__ = ("_calls", "_choice", "_number", "_open", "response", "settings")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._number = 0
        self._calls: set[int] = set()
        self._choice = Choice()
        self._open: _Open | None = None
        self.response: Response | None = None
        """As far as it was written."""

    def answer(self, body: bytes) -> bytes:
        answer, choice, said = read_answer(body)
        response = self._begin(answer)
        _finish(response, choice.finish_reason, answer.usage)
        if said.thought:
            response.output.append(ReasoningItem(self._id("rs"), [ReasoningText(said.thought)], "completed"))
        if said.text:
            text = OutputText(said.text, logprobs=_logprobs(choice))
            response.output.append(MessageItem(self._id("msg"), [text], "completed"))
        for call in said.tool_calls or ():
            if call.function is None or not call.function.name:
                raise BadGateway("The worker's answer has a tool call without a name.")
            response.output.append(self._function_call(call, call.function.name, call.function.arguments or ""))
        if response.status == "incomplete" and response.output:
            response.output[-1].status = "incomplete"
        return _encoder.encode(response)

    def on_events(self, events: bytes) -> bytes:
        return b"".join(self._chunk(chunk) if chunk is not None else self._end() for chunk in read_events(events))

    def broken(self, error: ApiError) -> bytes:
        if self.response is None:
            return self._event("error", code=error.code, message=error.message, param=error.param)
        self.response.status, self.response.error = "failed", Failure(error.message)
        return self._event("response.failed", response=self.response)

    # ---- inside ----

    def _begin(self, answer: ChatAnswer) -> Response:
        self.response = Response(
            id=f"resp_{answer.name}",
            model=answer.model,
            created_at=answer.created or int(time.time()),
            status="in_progress",
            **structs.asdict(self.settings),
        )
        self.response.output = []
        return self.response

    def _chunk(self, chunk: ChatAnswer) -> bytes:
        if chunk.error is not None:
            return self.broken(BadGateway(chunk.error.message))
        out = b""
        if self.response is None:
            response = self._begin(chunk)
            out = self._event("response.created", response=response)
            out += self._event("response.in_progress", response=response)
        if chunk.usage is not None and self.response is not None:
            self.response.usage = Usage.of(chunk.usage)
        choice = chunk.choice
        if choice is not None:
            out += self._delta(choice)
        return out

    def _delta(self, choice: Choice) -> bytes:
        out = b""
        said = choice.delta or Said()
        if said.thought:
            out += self._write("reasoning", said.thought, [])
        logprobs = _logprobs(choice)
        if said.text or (logprobs and not said.tool_calls and not said.thought):
            out += self._write("message", said.text, logprobs)
        for call in said.tool_calls or ():
            out += self._call(call)
        if choice.finish_reason is not None:
            self._choice = choice
        return out

    def _write(self, kind: Literal["reasoning", "message"], text: str, logprobs: list[Logprob]) -> bytes:
        out = b""
        wanted = MessageItem if kind == "message" else ReasoningItem
        if self._open is None or not isinstance(self._open.item, wanted):
            out = self._leave()
            item: OutputItem
            part: OutputText | ReasoningText
            if kind == "message":
                item, part = MessageItem(self._id("msg"), [], "in_progress"), OutputText()
            else:
                item, part = ReasoningItem(self._id("rs"), [], "in_progress"), ReasoningText()
            out += self._enter(item)
            out += self._event("response.content_part.added", **self._place(), content_index=0, part=part)
        assert self._open is not None
        self._open.pieces.append(text)
        if kind == "reasoning":
            return out + self._event("response.reasoning_text.delta", **self._place(), content_index=0, delta=text)
        self._open.logprobs += logprobs
        return out + self._event(
            "response.output_text.delta", **self._place(), content_index=0, delta=text, logprobs=logprobs
        )

    def _call(self, call: Call) -> bytes:
        name = (call.function.name if call.function is not None else None) or ""
        arguments = (call.function.arguments if call.function is not None else None) or ""
        out = b""
        if call.index not in self._calls:
            if not name:
                raise ProtocolError("a tool call begins without a name")
            self._calls.add(call.index)
            out = self._leave()
            out += self._enter(self._function_call(call, name, "", "in_progress"), call.index)
        if self._open is None or self._open.call != call.index:
            raise ProtocolError("a tool call goes on after another one began")
        if arguments:
            self._open.pieces.append(arguments)
            out += self._event("response.function_call_arguments.delta", **self._place(), delta=arguments)
        return out

    def _enter(self, item: OutputItem, call: int = -1) -> bytes:
        self._open = _Open(item, call)
        return self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _leave(self, status: Literal["completed", "incomplete"] = "completed") -> bytes:
        """Close the open item with what was written."""
        if self._open is None:
            return b""
        item, text = self._open.item, "".join(self._open.pieces)
        item.status = status
        if isinstance(item, FunctionCallItem):
            item.arguments = text
            out = self._event(
                "response.function_call_arguments.done", **self._place(), name=item.name, arguments=item.arguments
            )
        elif isinstance(item, ReasoningItem):
            item.content = [ReasoningText(text)]
            out = self._event("response.reasoning_text.done", **self._place(), content_index=0, text=text)
            out += self._event("response.content_part.done", **self._place(), content_index=0, part=item.content[0])
        else:
            part = OutputText(text, logprobs=self._open.logprobs)
            item.content = [part]
            out = self._event(
                "response.output_text.done", **self._place(), content_index=0, text=text, logprobs=part.logprobs
            )
            out += self._event("response.content_part.done", **self._place(), content_index=0, part=part)
        out += self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._open = None
        return out

    def _end(self) -> bytes:
        response = self.response
        if response is None:
            raise ProtocolError("the stream has an end, but nothing before it")
        _finish(response, self._choice.finish_reason, None)
        out = self._leave("incomplete" if response.status == "incomplete" else "completed")
        return out + self._event(f"response.{response.status}", response=response)

    @property
    def _output(self) -> list[OutputItem]:
        assert self.response is not None
        return self.response.output

    def _place(self) -> dict[str, Any]:
        assert self._open is not None
        return {"item_id": self._open.item.id, "output_index": len(self._output)}

    def _id(self, kind: str) -> str:
        """An id for the next item."""
        assert self.response is not None
        return f"{kind}_{self.response.id.removeprefix('resp_')}_{len(self._output)}"

    def _function_call(
        self, call: Call, name: str, arguments: str, status: Literal["in_progress", "completed"] = "completed"
    ) -> FunctionCallItem:
        return FunctionCallItem(self._id("fc"), call.id or self._id("call"), name, arguments, status)

    def _event(self, kind: str, **content: Any) -> bytes:
        data = _encoder.encode({"type": kind, **content, "sequence_number": self._number})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _finish(response: Response, finish: str | None, told: usage.Usage | None) -> None:
    response.status = "completed"
    if told is not None:
        response.usage = Usage.of(told)
    if finish == "length":
        response.status, response.incomplete_details = "incomplete", Incomplete("max_output_tokens")
    elif finish == "content_filter":
        response.status, response.incomplete_details = "incomplete", Incomplete("content_filter")
    else:
        response.completed_at = int(time.time())


def as_messages(output: list[OutputItem]) -> list[dict[str, Any]]:
    """What was said and called, as the assistant's turn in the conversation that goes on."""
    texts, calls = [], []
    for item in output:
        if isinstance(item, MessageItem):
            texts += [part.text for part in item.content]
        elif isinstance(item, FunctionCallItem):
            function = {"name": item.name, "arguments": item.arguments}
            calls.append({"id": item.call_id, "type": "function", "function": function})
    if not texts and not calls:
        return []
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    return [message | {"tool_calls": calls} if calls else message]


def _logprobs(choice: Choice) -> list[Logprob]:
    return (choice.logprobs.content or []) if choice.logprobs is not None else []
