"""The request that goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.errors import NotResumable
from headrace.router.resume.continuation import CHAT, COMPLETIONS, Continuation, count, decode, plan
from headrace.router.resume.sent import Sent
from tests.router.resume.events import chat, says, text

USER = {"role": "user", "content": "Hi"}
RAW = b"data: {}\n\n"


class Words:
    """A tokenizer: words and line feeds; a chat's turn costs one more."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, asked: dict[str, Any]) -> list[int]:
        self.asked.append(asked)
        if "messages" in asked:
            return list(range(sum(1 + _count(message["content"]) for message in asked["messages"])))
        return list(range(_count(asked["prompt"])))


def _count(content: Any) -> int:
    if isinstance(content, list):
        return sum(_count(part["text"]) for part in content)
    return len(content.replace("\n", " \n ").replace(" \n ", " | ").split())


async def planned(path: str, document: dict[str, Any], sent: bytes) -> Continuation:
    return await plan(path, document, Sent(sent), Words())


async def test_chat_gets_what_was_sent_as_its_last_message() -> None:
    made = await planned(CHAT, {"model": "m", "messages": [USER], "max_tokens": 10, "tools": []}, says("a b", " c"))
    assert made.document == {
        "model": "m",
        "messages": [USER, {"role": "assistant", "content": "a b c"}],
        "tools": [],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "max_tokens": 10 - made.sent,
    }
    assert (made.prompt, made.sent, made.space) == (2, 4, "")
    assert json.loads(made.encode()) == made.document


async def test_what_the_client_itself_began_is_appended_to() -> None:
    begun = {"role": "assistant", "content": "The "}
    document = {"messages": [USER, begun], "continue_final_message": True, "add_generation_prompt": False}
    made = await planned(CHAT, document, says("end"))
    assert made.document["messages"] == [USER, {"role": "assistant", "content": "The end"}]
    parts = {"role": "assistant", "content": [{"type": "text", "text": "The "}]}
    made = await planned(CHAT, {**document, "messages": [USER, parts]}, says("end"))
    assert made.document["messages"][-1]["content"] == [{"type": "text", "text": "The end"}]
    picture = {"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}
    with pytest.raises(NotResumable):
        await planned(CHAT, {**document, "messages": [USER, picture]}, says("end"))


async def test_an_assistants_message_that_is_not_continued_stays() -> None:
    other = {"role": "assistant", "content": "x"}
    made = await planned(CHAT, {"messages": [USER, other]}, says("end"))
    assert made.document["messages"] == [USER, other, {"role": "assistant", "content": "end"}]


async def test_reasoning_that_is_over_goes_along() -> None:
    made = await planned(CHAT, {"messages": [USER]}, chat({"reasoning_content": "hm"}) + says("end"))
    assert made.document["messages"][-1]["reasoning_content"] == "hm"


async def test_trailing_white_space_is_not_sent() -> None:
    made = await planned(CHAT, {"messages": [USER]}, says("a", " \n"))
    assert (made.document["messages"][-1]["content"], made.space) == ("a", " \n")


@pytest.mark.parametrize("sent", [says(), says(" \n"), chat({"content": ""})])
async def test_nothing_but_white_space_begins_anew(sent: bytes) -> None:
    document = {"messages": [USER], "max_tokens": 5}
    made = await planned(CHAT, document, sent)
    assert (made.document, made.sent, made.space) == (document, 0, Sent(sent).text)


async def test_what_the_prompt_depends_on_is_counted_with_it() -> None:
    words = Words()
    document = {"model": "m", "messages": [USER], "tools": [{}], "chat_template_kwargs": {"a": 1}, "temperature": 0}
    await plan(CHAT, document, Sent(says("end")), words)
    first, second = words.asked
    kept = {"model": "m", "tools": [{}], "chat_template_kwargs": {"a": 1}}
    assert first == {**kept, "messages": [USER], "continue_final_message": False, "add_generation_prompt": True}
    assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)


async def test_prompts_of_completions() -> None:
    made = await planned(COMPLETIONS, {"prompt": "a b", "max_tokens": 9}, text(" c d "))
    assert (made.document["prompt"], made.prompt, made.sent, made.space) == ("a b c d ", 2, 2, "")
    assert made.document["max_tokens"] == 7
    made = await planned(COMPLETIONS, {"prompt": ["a"]}, text(" c"))
    assert made.document["prompt"] == "a c"
    for prompt in ([7, 8, 9], [[7, 8, 9]]):
        made = await planned(COMPLETIONS, {"prompt": prompt}, text(" c d"))
        assert (made.document["prompt"], made.prompt, made.sent) == ([7, 8, 9, 0, 1], 3, 2)
    made = await planned(COMPLETIONS, {"prompt": "a"}, text(""))
    assert (made.document, made.sent) == ({"prompt": "a"}, 0)


async def test_limits_are_lowered_and_the_seed_is_another() -> None:
    document = {"messages": [USER], "max_completion_tokens": 10, "min_tokens": 5, "seed": 7}
    made = await planned(CHAT, document, says("a b"))
    assert (made.document["max_completion_tokens"], made.document["min_tokens"]) == (7, 2)
    assert made.document["seed"] not in {7, None}
    assert (await planned(CHAT, document, says("a b"))).document["seed"] == made.document["seed"]
    made = await planned(CHAT, {**document, "seed": -(2**63)}, says("a b c d e f"))
    assert made.document["min_tokens"] == 0
    assert 0 <= made.document["seed"] < 2**31
    assert document["seed"] == 7


async def test_limit_that_is_reached() -> None:
    assert (await planned(CHAT, {"messages": [USER], "max_tokens": 3}, says("a b"))).exhausted
    assert not (await planned(CHAT, {"messages": [USER], "max_tokens": 4}, says("a b"))).exhausted


async def test_engine_that_counts_nothing_cannot_go_on() -> None:
    async def same(asked: dict[str, Any]) -> list[int]:
        return [1, 2]

    with pytest.raises(NotResumable) as caught:
        await plan(CHAT, {"messages": [USER]}, Sent(says("a")), same)
    assert caught.value.reason == "engine"


async def test_usage_of_a_finished_answer() -> None:
    words, document = Words(), {"model": "m", "messages": [USER]}
    assert await count(CHAT, document, "a b", words) == (2, 3)
    assert await count(CHAT, document, "a b\n", words) == (2, 4)
    assert await count(CHAT, document, "", words) == (2, 0)
    assert await count(COMPLETIONS, {"prompt": "x y"}, " a b", words) == (2, 2)
    assert await count(COMPLETIONS, {"prompt": "x y"}, "", words) == (2, 0)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff"])
def test_request_that_is_no_object(body: bytes) -> None:
    with pytest.raises(NotResumable):
        decode(body)
