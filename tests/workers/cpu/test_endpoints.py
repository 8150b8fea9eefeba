"""The traffic port with the real engine. Nothing here depends on what the model says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.workers.cpu.conftest import CONTEXT, NAME, LiveWorker

pytestmark = pytest.mark.e2e

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
MESSAGES = [{"role": "user", "content": "Name three rivers and a mountain."}]
GREEDY = {"temperature": 0, "max_tokens": 24, "ignore_eos": True}


@pytest.fixture(autouse=True)
def _idle(live: LiveWorker) -> Iterator[None]:
    yield
    live.wait_idle()


def content(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events for choice in event["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices)


def test_chat_answer_has_openai_s_shape(live: LiveWorker) -> None:
    answer = live.ok(CHAT, model=NAME, messages=MESSAGES, **GREEDY)
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", NAME)
    assert isinstance(answer["created"], int)
    (choice,) = answer["choices"]
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "length", None)
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    usage = answer["usage"]
    assert usage["completion_tokens"] == 24
    assert usage["total_tokens"] == usage["prompt_tokens"] + 24


def test_text_answer_has_openai_s_shape(live: LiveWorker) -> None:
    answer = live.ok(TEXT, prompt="The river", **GREEDY)
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"
    (choice,) = answer["choices"]
    assert set(choice) == {"index", "text", "logprobs", "finish_reason"}
    assert choice["finish_reason"] == "length"


def test_chat_stream_says_the_same_as_the_whole_answer(live: LiveWorker) -> None:
    whole = live.ok(CHAT, messages=MESSAGES, **GREEDY)
    events = live.events(CHAT, messages=MESSAGES, **GREEDY)
    assert content(events) == whole["choices"][0]["message"]["content"]
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1
    reasons = [event["choices"][0]["finish_reason"] for event in events]
    assert reasons == [None] * (len(events) - 1) + ["length"]
    assert all("usage" not in event for event in events)


def test_text_stream_says_the_same_as_the_whole_answer(live: LiveWorker) -> None:
    whole = live.ok(TEXT, prompt="The river", **GREEDY)
    events = live.events(TEXT, prompt="The river", **GREEDY)
    assert content(events) == whole["choices"][0]["text"]
    assert events[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(("path", "body"), [(CHAT, {"messages": MESSAGES}), (TEXT, {"prompt": "The river"})])
def test_usage_event_comes_last_and_has_no_choices(live: LiveWorker, path: str, body: dict[str, Any]) -> None:
    whole = live.ok(path, **body, **GREEDY)
    *events, last = live.events(path, **body, **GREEDY, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    assert all(event["usage"] is None for event in events)


def test_usage_counts_what_tokenize_counts(live: LiveWorker) -> None:
    chat = live.ok(CHAT, messages=MESSAGES, max_tokens=1)
    text = live.ok(TEXT, prompt="Ein Fluß 🏞", max_tokens=1)
    assert live.ok("/tokenize", messages=MESSAGES)["count"] == chat["usage"]["prompt_tokens"]
    assert live.ok("/tokenize", prompt="Ein Fluß 🏞")["count"] == text["usage"]["prompt_tokens"]


def test_tokenize_has_vllm_s_shape_and_detokenize_undoes_it(live: LiveWorker) -> None:
    answer = live.ok("/tokenize", model=NAME, prompt="Ein Fluß 🏞\n", return_token_strs=True)
    assert answer["max_model_len"] == CONTEXT
    assert len(answer["tokens"]) == len(answer["token_strs"]) == answer["count"]
    assert live.ok("/detokenize", tokens=answer["tokens"]) == {"prompt": "Ein Fluß 🏞\n"}


def test_a_prompt_of_token_ids_is_the_same_prompt(live: LiveWorker) -> None:
    tokens = live.ok("/tokenize", prompt="The river")["tokens"]
    by_ids = live.ok(TEXT, prompt=tokens, **GREEDY)
    by_text = live.ok(TEXT, prompt="The river", **GREEDY)
    assert by_ids["choices"] == by_text["choices"]
    assert by_ids["usage"] == by_text["usage"]


def test_models(live: LiveWorker) -> None:
    answer = live.get("/v1/models")
    assert answer["object"] == "list"
    (card,) = answer["data"]
    assert (card["id"], card["object"], card["max_model_len"]) == (NAME, "model", CONTEXT)


def test_stop_string_is_never_seen(live: LiveWorker) -> None:
    whole = live.ok(TEXT, prompt="The river", **GREEDY)["choices"][0]["text"]
    stop = whole[len(whole) // 2 :][:5]  # borders of tokens do not matter to where it begins
    before = whole[: whole.index(stop)]
    answer = live.ok(TEXT, prompt="The river", **GREEDY, stop=stop)
    assert answer["choices"][0]["text"] == before
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] < 24
    assert answer["choices"][0]["stop_reason"] == stop
    events = live.events(TEXT, prompt="The river", **GREEDY, stop=["never to be seen", stop])
    assert content(events) == before
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"][0]["stop_reason"] == stop


def test_text_that_only_looked_like_a_stop_string_is_not_lost(live: LiveWorker) -> None:
    whole = live.ok(TEXT, prompt="The river", **GREEDY)["choices"][0]["text"]
    events = live.events(TEXT, prompt="The river", **GREEDY, stop=[whole[-3:] + "\x00", whole[4:9] + "\x00"])
    assert content(events) == whole


def test_seed_makes_sampling_repeatable(live: LiveWorker) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 1.5, "ignore_eos": True}
    first, again, other = (live.ok(TEXT, **body, seed=seed)["choices"][0]["text"] for seed in (7, 7, 8))
    assert first == again != other


def test_without_a_seed_runs_differ(live: LiveWorker) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 2, "ignore_eos": True}
    assert len({live.ok(TEXT, **body)["choices"][0]["text"] for _ in range(3)}) > 1


def test_top_k_of_one_is_greedy(live: LiveWorker) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 12, "ignore_eos": True}
    greedy = live.ok(TEXT, **body, temperature=0)["choices"]
    assert live.ok(TEXT, **body, temperature=1.5, top_k=1)["choices"] == greedy
    assert live.ok(TEXT, **body, temperature=1.5, top_p=1e-6)["choices"] == greedy


def test_repetition_penalty_changes_the_text(live: LiveWorker) -> None:
    plain = live.ok(TEXT, prompt="la la la la la la", **GREEDY)["choices"]
    assert live.ok(TEXT, prompt="la la la la la la", **GREEDY, repetition_penalty=2)["choices"] != plain
    assert live.ok(TEXT, prompt="la la la la la la", **GREEDY, frequency_penalty=2)["choices"] != plain


def test_n_choices(live: LiveWorker) -> None:
    body = {"messages": MESSAGES, "max_tokens": 12, "temperature": 1.5, "seed": 3, "ignore_eos": True}
    answer = live.ok(CHAT, **body, n=3)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len(set(texts)) > 1
    assert answer["usage"]["completion_tokens"] == 36
    assert answer["usage"]["prompt_tokens"] == live.ok("/tokenize", messages=MESSAGES)["count"]
    events = live.events(CHAT, **body, n=3)
    assert [content(events, index) for index in range(3)] == texts
    roles = [event["choices"][0]["index"] for event in events if "role" in event["choices"][0]["delta"]]
    assert sorted(roles) == [0, 1, 2]


def test_prompts_in_a_list(live: LiveWorker) -> None:
    answer = live.ok(TEXT, prompt=["The river", "A mountain"], **GREEDY)
    alone = [live.ok(TEXT, prompt=prompt, **GREEDY)["choices"][0]["text"] for prompt in ("The river", "A mountain")]
    assert [choice["text"] for choice in answer["choices"]] == alone


def test_log_probabilities_agree_between_runs(live: LiveWorker) -> None:
    body = {"messages": MESSAGES, **GREEDY, "logprobs": True, "top_logprobs": 1}
    first = live.ok(CHAT, **body)["choices"][0]["logprobs"]["content"]
    again = live.ok(CHAT, **body)["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in first] == [entry["token"] for entry in again]
    assert [entry["logprob"] for entry in first] == pytest.approx([entry["logprob"] for entry in again], abs=1e-3)
    assert len(first) == 24
    assert all(entry["logprob"] < 0 for entry in first)
    assert all(bytes(entry["bytes"]).decode(errors="replace") == entry["token"] for entry in first)
    assert all(entry["top_logprobs"][0]["logprob"] == entry["logprob"] for entry in first)


def test_log_probabilities_of_a_stream_are_those_of_the_answer(live: LiveWorker) -> None:
    body = {"prompt": "The river", **GREEDY, "logprobs": 1}
    whole = live.ok(TEXT, **body)["choices"][0]
    pieces = [event["choices"][0]["logprobs"] for event in live.events(TEXT, **body)]
    for name in ("tokens", "text_offset"):
        assert [entry for piece in pieces for entry in piece[name]] == whole["logprobs"][name]
    assert "".join(whole["logprobs"]["tokens"]) == whole["text"]
    assert whole["logprobs"]["text_offset"][1] == len(whole["logprobs"]["tokens"][0])


def test_continued_message_goes_on_where_it_stopped(live: LiveWorker) -> None:
    whole = live.ok(CHAT, messages=MESSAGES, **GREEDY, logprobs=True)
    tokens = whole["choices"][0]["logprobs"]["content"]
    prefix, rest = ("".join(entry["token"] for entry in part) for part in (tokens[:10], tokens[10:]))
    continued = live.ok(
        CHAT,
        messages=[*MESSAGES, {"role": "assistant", "content": prefix}],
        continue_final_message=True,
        add_generation_prompt=False,
        **{**GREEDY, "max_tokens": 14},
    )
    added = live.ok("/tokenize", prompt=prefix)["count"]
    assert continued["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"] + added
    assert continued["choices"][0]["message"]["content"] == rest


def test_min_tokens_holds_the_end_off(live: LiveWorker) -> None:
    body = {"messages": [{"role": "user", "content": "Say hi."}], "temperature": 0, "max_tokens": 60}
    short = live.ok(CHAT, **body)["usage"]["completion_tokens"]
    longer = live.ok(CHAT, **body, min_tokens=short + 5)["usage"]["completion_tokens"]
    assert longer >= short + 5


def test_end_of_text_is_stop_and_not_in_the_text(live: LiveWorker) -> None:
    prompt = live.ok("/tokenize", messages=[{"role": "user", "content": "Say hi."}])["tokens"]
    body = {"prompt": prompt, "temperature": 0, "max_tokens": 200}
    answer = live.ok(TEXT, **body)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert "<|im_end|>" not in answer["choices"][0]["text"]
    ignoring = live.ok(TEXT, **body, ignore_eos=True)
    assert ignoring["usage"]["completion_tokens"] == 200


def test_without_max_tokens_the_context_is_the_limit(live: LiveWorker) -> None:
    room = 20
    answer = live.ok(TEXT, prompt=[28] * (CONTEXT - room), temperature=0, ignore_eos=True)
    assert answer["usage"] == {"prompt_tokens": CONTEXT - room, "completion_tokens": room, "total_tokens": CONTEXT}
    assert answer["choices"][0]["finish_reason"] == "length"


def test_more_than_the_cache_holds_is_generated_all_the_same(live: LiveWorker) -> None:
    prompts = [[token] * 700 for token in (100, 200, 300, 400)]
    answer = live.ok(TEXT, prompt=prompts, **GREEDY)
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length"] * 4
    assert answer["usage"] == {"prompt_tokens": 2800, "completion_tokens": 96, "total_tokens": 2896}


def test_eight_at_once_say_what_each_says_alone(live: LiveWorker) -> None:
    prompts = [f"Story number {index} is about" for index in range(8)]
    together = threading.Barrier(8)

    def ask(prompt: str) -> str:
        together.wait()
        text: str = live.ok(TEXT, prompt=prompt, **{**GREEDY, "max_tokens": 40})["choices"][0]["text"]
        return text

    before = live.load().iterations
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(ask, prompts))
    assert live.load().iterations - before < 8 * 40  # one step served several of them
    alone = [live.ok(TEXT, prompt=prompt, **{**GREEDY, "max_tokens": 40})["choices"][0]["text"] for prompt in prompts]
    assert texts == alone


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_client_that_goes_away_frees_its_place(live: LiveWorker, path: str) -> None:
    with closing(live.open(path, messages=MESSAGES, prompt="The river", max_tokens=2000, ignore_eos=True)) as stream:
        response = stream.getresponse()
        response.readline()
        assert live.load().running == 1
        response.close()
    live.wait_until("the engine let go", lambda: live.load().running == 0)
    assert live.load().kv_used == 0


def test_client_that_goes_away_before_its_answer_frees_its_place(live: LiveWorker) -> None:
    with closing(live.open(TEXT, prompt="The river", max_tokens=2000, ignore_eos=True, n=4, stream=False)):
        live.wait_until("it runs", lambda: live.load().running == 4)
    live.wait_until("the engine let go", lambda: live.load().running == 0)


def test_full_queue_is_refused_and_empties_again(live: LiveWorker) -> None:
    body = {"prompt": "The river", "max_tokens": 2000, "ignore_eos": True, "n": 16}
    with closing(live.open(TEXT, **body)) as busy:
        live.wait_until("all places are taken", lambda: live.load().waiting == 8)
        load = live.load()
        assert (load.running, load.queued_tokens) == (8, 8 * 2)
        refused = live.post(TEXT, prompt="The river")
        assert refused.status == 503
        assert refused.error["code"] == "overloaded"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        busy.close()
    live.wait_idle()
    live.ok(TEXT, prompt="The river", max_tokens=1)


def test_draining_finishes_what_runs_and_admits_nothing(live: LiveWorker) -> None:
    with closing(live.open(TEXT, prompt="The river", **GREEDY)) as running:
        live.wait_until("it runs", lambda: live.load().running == 1)
        live.worker.draining = True
        try:
            refused = live.post(CHAT, messages=MESSAGES)
            assert (refused.status, refused.error["code"]) == (503, "draining")
            assert live.load().draining
            assert live.worker.unready() == "draining"
            assert running.getresponse().read().endswith(b"data: [DONE]\n\n")
        finally:
            live.worker.draining = False
    assert live.worker.unready() is None


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        (TEXT, {"prompt": [28] * CONTEXT}, "prompt", "context_length_exceeded"),
        (TEXT, {"prompt": "x", "max_tokens": CONTEXT}, "prompt", "context_length_exceeded"),
        (TEXT, {"prompt": "a b " * 500_000}, "prompt", "context_length_exceeded"),
        (CHAT, {"messages": [{"role": "user", "content": "a " * 9000}]}, "messages", "context_length_exceeded"),
        (TEXT, {"prompt": "x", "temperature": 9}, "temperature", "invalid_request"),
        (CHAT, {"messages": MESSAGES, "top_logprobs": 3, "logprobs": True}, "top_logprobs", "invalid_request"),
        ("/tokenize", {}, "prompt", "invalid_request"),
        ("/detokenize", {"tokens": [49152]}, "tokens", "invalid_request"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]", "invalid_request"),
    ],
)
def test_bad_requests_name_the_field(live: LiveWorker, path: str, body: dict[str, Any], param: str, code: str) -> None:
    refused = live.post(path, **body)
    assert refused.status == 400
    assert (refused.error["param"], refused.error["code"]) == (param, code)


def test_overflow_tells_the_counts(live: LiveWorker) -> None:
    message = live.post(TEXT, prompt=[28] * 2000, max_tokens=500).error["message"]
    assert f"maximum context length is {CONTEXT} tokens" in message
    assert "2500 tokens (2000 in the prompt, 500 in the completion)" in message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"prompt":"\xff"}', b'{"prompt":"\\ud800"}'])
def test_bodies_that_are_no_json_object(live: LiveWorker, body: bytes) -> None:
    refused = live.post_raw(TEXT, body)
    assert (refused.status, refused.error["code"]) == (400, "invalid_json")


def test_another_model_is_not_found(live: LiveWorker) -> None:
    refused = live.post(CHAT, model="gpt-9", messages=MESSAGES)
    assert (refused.status, refused.error["code"]) == (404, "model_not_found")
    assert NAME in refused.error["message"]


def test_request_id_names_the_answer(live: LiveWorker) -> None:
    headers = {"x-request-id": "0123-abc"}
    assert live.post(TEXT, headers, prompt="x", max_tokens=1).json()["id"] == "cmpl-0123-abc"
    assert live.post(TEXT, {"x-request-id": "a b"}, prompt="x", max_tokens=1).json()["id"] != "cmpl-a b"
