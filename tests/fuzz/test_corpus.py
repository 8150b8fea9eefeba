"""Inputs that were worth keeping: whatever the cuts, they come to the same, and to nothing that must not be."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any, cast

import pytest

from headrace.errors import ConnectionLost, NotResumable, WireError
from headrace.router.resume.continuation import CHAT, COMPLETIONS
from headrace.router.resume.sent import Sent, split
from headrace.wire.exchange import Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.reader import RequestReader, Unfinished
from headrace.wire.relay import Relay
from tests.router.resume.delivery import deliver, whole_events
from tests.router.resume.events import event
from tests.wire.test_relay_properties import HEAD, Client

CORPUS = Path(__file__).parent / "corpus"
REFUSED = {"bad-line", "two-lengths", "both-framings", "no-host", "connect"}


def files(kind: str) -> list[Path]:
    return sorted((CORPUS / kind).iterdir())


Read = tuple[str, str, bytes, tuple[tuple[bytes, bytes], ...], bytes]


def requests(*pieces: bytes) -> tuple[list[Read], bool]:
    """What was read, and whether it was refused in the end."""
    reader = RequestReader(ServerLimits(), Unfinished(), "", lambda _: None)
    for piece in pieces:
        if piece and reader.error is None:
            reader.feed(piece)
    found = [(one.method, one.path, one.query, tuple(one.headers.items()), bytes(one.body)) for one in reader.requests]
    return found, reader.error is not None


@pytest.mark.parametrize("file", files("requests"), ids=lambda file: file.stem)
def test_requests(file: Path) -> None:
    data = file.read_bytes()
    whole = requests(data)
    assert whole[1] == (file.stem in REFUSED)
    assert not any(one[1] == "/smuggled" for one in whole[0])
    assert requests(*(data[at : at + 1] for at in range(len(data)))) == whole
    for cut in range(1, len(data)):
        assert requests(data[:cut], data[cut:]) == whole, cut


def events(*pieces: bytes) -> tuple[bytes, bool]:
    """What the client got, and whether the stream is complete."""
    client, lost = Client(), list[WireError]()

    class Noted(Relay):
        def fail(self, error: WireError) -> None:
            lost.append(error)

    relay = Noted(cast(Exchange, client), lambda head: [])
    relay.on_head(HEAD)
    for piece in pieces:
        if piece:
            relay.on_data(piece, None)
    relay.on_end()
    assert all(isinstance(error, ConnectionLost) for error in lost)
    return b"".join(client.pieces), not lost


@pytest.mark.parametrize("file", files("events"), ids=lambda file: file.stem)
def test_events(file: Path) -> None:
    data = file.read_bytes()
    whole = events(data)
    assert whole[1] == (file.stem != "cut")
    assert data.startswith(whole[0].removesuffix(b"\n\n"))
    assert events(*(data[at : at + 1] for at in range(len(data)))) == whole
    for cut in range(1, len(data)):
        assert events(data[:cut], data[cut:]) == whole, cut


REFUSES = {"tools": "tool_calls", "reasoning": "reasoning"}
"""Answers of which some part cannot be gone on with, and what that is called."""


async def characters(asked: dict[str, Any]) -> list[int]:
    """A tokenizer: a token is a character."""
    texts = [asked["prompt"]] if "prompt" in asked else [message["content"] for message in asked["messages"]]
    return list(range(len("".join(texts))))


@pytest.mark.parametrize("file", files("answers"), ids=lambda file: file.stem)
def test_answers_broken_anywhere_are_whole(file: Path) -> None:
    """In a file: the request, as a comment, and the answer. A second worker writes the rest of it, by characters."""
    first, _, data = file.read_bytes().partition(b"\n")
    body, data = first.removeprefix(b": ").rstrip(), data.lstrip()
    path = COMPLETIONS if "prompt" in json.loads(body) else CHAT
    whole = Sent(data)
    refused = set()

    def answers(asked: dict[str, Any] | None, worker: int) -> bytes:
        return data if asked is None else rest(asked, json.loads(body), whole, worker)

    cuts = sorted({len(whole_events(data[:at])) for at in range(len(data))})  # what a relay passes on is whole
    for cut in itertools.product(cuts, (1.0, 0.7, 0.3)):  # the second worker breaks, too
        try:
            shares = [(cut[0] + 0.5) / len(data), cut[1]]
            got = asyncio.run(deliver(path, body, answers, shares, characters))
        except NotResumable as error:
            refused.add(error.reason)
            continue
        sent = Sent(got)
        assert (sent.text, sent.reasoning) == (whole.text, whole.reasoning), cut
        assert (sent.finished, sent.done) == (whole.finished, True), cut
        assert sent.usage == whole.usage or sent.tools, cut  # what is no text the router cannot count
        assert got.count(b'"role"') == data.count(b'"role":"assistant"'), cut
        documents = [json.loads(one) for one in split(got) if one != b"[DONE]"]
        assert len({one["id"] for one in documents}) == 1, cut
        assert sum(any(choice["finish_reason"] for choice in one["choices"]) for one in documents) == 1, cut
        assert split(got).index(b"[DONE]") == len(split(got)) - 1, cut
    assert refused == ({REFUSES[file.stem]} if file.stem in REFUSES else set())


def rest(asked: dict[str, Any], request: dict[str, Any], whole: Sent, worker: int) -> bytes:
    """What a second worker answers to the continuation ``asked``."""
    if "prompt" in asked:
        begun, kind = asked["prompt"].removeprefix(request["prompt"]), "text"
    else:
        last = asked["messages"][-1]
        mine = request["messages"][-1]["content"] if request.get("continue_final_message") else ""
        begun, kind = (last["content"].removeprefix(mine) if last["role"] == "assistant" else ""), "content"
    assert whole.text.startswith(begun)
    pieces: list[dict[str, Any]] = [{kind: character} for character in whole.text[len(begun) :]]
    choices: list[dict[str, Any]] = [
        {"text": "", **piece} if kind == "text" else {"delta": piece} for piece in [*pieces, {}]
    ]
    if kind == "content":
        thoughts = [] if begun else [{"delta": {"reasoning_content": whole.reasoning}}] if whole.reasoning else []
        choices = [{"delta": {"role": "assistant", "content": ""}}, *thoughts, *choices]
    choices[-1]["finish_reason"] = "stop"
    head = {"id": f"other{worker}", "created": worker, "model": "other"}
    sent = [event({**head, "choices": [{"index": 0, "finish_reason": None, **choice}]}) for choice in choices]
    if request.get("stream_options"):
        sent.append(event({**head, "choices": [], "usage": {"prompt_tokens": 99, "completion_tokens": len(pieces)}}))
    return b"".join(sent) + b"data: [DONE]\n\n"
