"""Any answer, broken at any bytes any number of times, is the answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.errors import NotResumable
from headrace.router.resume.continuation import CHAT, COMPLETIONS
from tests.chaos import story
from tests.chaos.fake_worker import Generation
from tests.examples import at_least
from tests.router.resume.delivery import deliver
from tests.router.resume.events import event, read

DONE = b"data: [DONE]\n\n"


async def tokenize(asked: dict[str, Any]) -> list[int]:
    text = asked["prompt"] if "prompt" in asked else story.chat_prompt(asked)
    return list(range(len(story.tokenize(text))))


def stream(document: dict[str, Any], *, chat: bool, worker: int) -> bytes:
    """What a worker answers, in events of one to three tokens."""
    generation = Generation(document, chat=chat)
    head = {"id": f"w{worker}", "created": worker, "model": "m"}
    events = []
    if chat:
        events.append({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})
    for text, finish in generation.pieces():
        content = {"delta": {"content": text} if text else {}} if chat else {"text": text}
        events.append({"index": 0, **content, "finish_reason": finish})
    body = b"".join(event({**head, "choices": [choice]}) for choice in events)
    return body + event({**head, "choices": [], "usage": generation.usage()}) + DONE


@at_least(400)
@given(
    prompt=st.text("abc ", min_size=1, max_size=5),
    count=st.integers(1, 25),
    chat=st.booleans(),
    breaks=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    stop=st.none() | st.sampled_from(["mill", "l r", "\n\n", " st", "r w", "e"]),
)
@example(prompt="c", count=11, chat=False, breaks=[0.75, 0.5, 0.75], stop="l r")
def test_broken_anywhere_is_whole(prompt: str, count: int, chat: bool, breaks: list[float], stop: str | None) -> None:
    document: dict[str, Any] = {"model": "m", "max_tokens": count, "stream_options": {"include_usage": True}}
    document |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": f"{prompt}»"}
    if stop is not None:
        document["stop"] = stop
    path = CHAT if chat else COMPLETIONS
    base = story.chat_prompt(document) if chat else document["prompt"]

    def answers(asked: dict[str, Any] | None, worker: int) -> bytes:
        return stream(asked or document, chat=chat, worker=worker)

    expected = story.answer(base, count)
    ended = stop is not None and stop in expected
    try:
        *documents, done = read(asyncio.run(deliver(path, json.dumps(document).encode(), answers, breaks, tokenize)))
    except NotResumable as error:
        raise AssertionError(error.reason) from error
    choices = [choice for one in documents for choice in one["choices"]]
    text = "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)
    assert done == "[DONE]"
    (finish,) = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    if ended and stop is not None:
        assert expected.startswith(text)
        assert stop not in text
        # A stop string that began inside of a token cut the text there: the halves of the token may count as two,
        # and as one again once they are together.
        assert finish == "stop" or (
            finish == "length" and _usage(documents)["completion_tokens"] >= count - len(breaks)
        )
        assert finish == "length" or text.startswith(expected[: expected.index(stop)])
    else:
        assert (text, finish) == (expected, "length")
    assert sum(c.get("delta", {}).get("role") == "assistant" for c in choices) == chat
    assert len({one["id"] for one in documents}) == 1
    usage = _usage(documents)
    assert usage["prompt_tokens"] == len(story.tokenize(base))
    if not ended:
        assert usage["completion_tokens"] == count


def _usage(documents: list[Any]) -> Any:
    (usage,) = [one["usage"] for one in documents if one.get("usage")]
    return usage
