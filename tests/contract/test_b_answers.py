"""What a worker answers when all is well."""

from __future__ import annotations

from typing import Any

from tests.contract.worker import CHAT, LiveWorker


def test_an_answer_has_usage_that_adds_up(worker: LiveWorker) -> None:
    path, body = worker.generation(5)
    reply = worker.post(path, body)
    assert reply.status == 200, reply.body
    usage = reply.json()["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage.get("completion_tokens", 0)


def test_embeddings_come_in_the_order_of_their_inputs(worker: LiveWorker) -> None:
    if worker.kind.text:
        return
    path, body = worker.generation()
    data = worker.post(path, {**body, "input": ["one", "two", "three"]}).json()["data"]
    assert [item["index"] for item in data] == [0, 1, 2]
    assert len({tuple(item["embedding"]) for item in data}) == 3


def test_an_answer_ends_at_its_limit(text_worker: LiveWorker) -> None:
    path, body = text_worker.generation(5, ignore_eos=True)
    answer = text_worker.post(path, body).json()
    assert answer["model"] == text_worker.name
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


def test_a_stream_says_the_same_as_a_whole_answer(text_worker: LiveWorker) -> None:
    path, body = text_worker.generation(8, ignore_eos=True)
    whole = text_worker.post(path, body).json()
    events = text_worker.post(path, {**body, "stream": True}).events()
    assert "".join(_content(event) for event in events) == whole["choices"][0]["message"]["content"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1


def test_a_stream_ends_with_one_finish_reason(text_worker: LiveWorker) -> None:
    path, body = text_worker.generation(4, ignore_eos=True, stream=True)
    choices = [choice for event in text_worker.post(path, body).events() for choice in event["choices"]]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
    assert choices[-1]["finish_reason"] == "length"


def test_the_last_event_tells_usage_if_it_was_asked_for(text_worker: LiveWorker) -> None:
    path, body = text_worker.generation(4, ignore_eos=True, stream=True)
    *earlier, last = text_worker.post(path, {**body, "stream_options": {"include_usage": True}}).events()
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 4
    assert not any(event.get("usage") for event in earlier)
    assert not any(event.get("usage") for event in text_worker.post(path, body).events())


def test_a_final_assistant_message_is_continued(text_worker: LiveWorker) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Count from one to ten in words."},
        {"role": "assistant", "content": "One, two, three,"},
    ]
    body = {"model": text_worker.name, "messages": messages, "max_tokens": 4, "temperature": 0}
    reply = text_worker.post(CHAT, {**body, "add_generation_prompt": False, "continue_final_message": True})
    if not text_worker.kind.continues:  # then it says so, and the router does not resume on it
        assert reply.status == 400
        return
    answer = reply.json()
    turn = text_worker.post(CHAT, body).json()
    assert answer["usage"]["prompt_tokens"] < turn["usage"]["prompt_tokens"], "a new turn was begun"
    assert answer["choices"][0]["message"]["content"].strip().lower().startswith("four")


def _content(event: Any) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
