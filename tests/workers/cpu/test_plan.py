from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from headrace.errors import InvalidRequest
from headrace.workers.cpu.detokenize import Vocabulary
from headrace.workers.cpu.plan import Plan, Planner
from headrace.workers.cpu.requests import ChatRequest, CompletionRequest, TokenizeRequest, parse
from headrace.workers.cpu.tokenizer import Tokenizer

USER = {"role": "user", "content": "hi"}


class ByteTokenizer(Tokenizer):
    """A token a byte, and a template that trims."""

    def __init__(self, *, template: bool = True, drops_last: bool = False) -> None:
        self.vocabulary = Vocabulary([bytes([value]) for value in range(256)], {0})
        self._template = template
        self._drops_last = drops_last

    @property
    def has_chat_template(self) -> bool:
        return self._template

    def encode(self, text: str, *, special: bool) -> list[int]:
        return [0] * special + list(text.encode())

    def _apply(
        self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, arguments: Mapping[str, Any] | None
    ) -> str:
        shown = messages[:-1] if self._drops_last else messages
        text = "".join(f"<{m['role']}>{m['content'].strip()}</>" for m in shown)
        return text + f"{arguments or ''}" + "<assistant>" * add_generation_prompt


@pytest.fixture
def planner() -> Planner:
    return Planner(ByteTokenizer(), context=100)


def chat(planner: Planner, **fields: Any) -> Plan:
    return planner.chat(parse(json.dumps({"messages": [USER], **fields}).encode(), ChatRequest))


def text(planner: Planner, **fields: Any) -> Plan:
    return planner.completion(parse(json.dumps({"prompt": "hi", **fields}).encode(), CompletionRequest))


def prompt(plan: Plan) -> str:
    return bytes(plan.prompts[0]).decode()


def test_defaults(planner: Planner) -> None:
    plan = text(planner)
    (sampling,) = plan.samplings
    assert plan.prompts == [[0, *b"hi"]]
    assert plan.stops == []
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (1, 1, 0, 0)
    assert (sampling.repetition_penalty, sampling.min_tokens, sampling.logprobs) == (1, 0, False)
    assert sampling.max_tokens == 97


def test_without_a_seed_two_requests_differ(planner: Planner) -> None:
    assert text(planner).samplings[0].seed != text(planner).samplings[0].seed


def test_choices_differ_in_the_seed_alone(planner: Planner) -> None:
    plan = text(planner, n=3, seed=7, temperature=0.5)
    assert [sampling.seed for sampling in plan.samplings] == [7, 8, 9]
    assert len({sampling.temperature for sampling in plan.samplings}) == 1


def test_negative_seeds_are_seeds(planner: Planner) -> None:
    assert text(planner, seed=-1).samplings[0].seed == text(planner, seed=-1).samplings[0].seed > 0


def test_everything_is_passed_on(planner: Planner) -> None:
    plan = text(
        planner,
        temperature=0.25,
        top_p=0.5,
        top_k=40,
        min_p=0.125,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        repetition_penalty=1.5,
        max_tokens=9,
        min_tokens=3,
        ignore_eos=True,
        logprobs=0,
        stop="x",
    )
    sampling = plan.samplings[0]
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.25, 0.5, 40, 0.125)
    assert (sampling.frequency_penalty, sampling.presence_penalty, sampling.repetition_penalty) == (0.5, -0.5, 1.5)
    assert (sampling.max_tokens, sampling.min_tokens, sampling.ignore_eos, sampling.logprobs) == (9, 3, True, True)
    assert plan.stops == ["x"]


def test_temperature_that_is_a_rounding_error_is_greedy(planner: Planner) -> None:
    assert text(planner, temperature=1e-9).samplings[0].temperature == 0


@pytest.mark.parametrize("top_k", [-1, 0])
def test_top_k_that_means_all(planner: Planner, top_k: int) -> None:
    assert text(planner, top_k=top_k).samplings[0].top_k == 0


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        ("hi", [[0, *b"hi"]]),
        (["hi", "ho"], [[0, *b"hi"], [0, *b"ho"]]),
        ([104, 105], [[104, 105]]),
        ([[104], [105]], [[104], [105]]),
    ],
)
def test_forms_of_prompts(planner: Planner, given: Any, prompts: list[list[int]]) -> None:
    assert text(planner, prompt=given).prompts == prompts


def test_special_tokens_can_be_left_out_or_asked_for(planner: Planner) -> None:
    assert text(planner, add_special_tokens=False).prompts == [[*b"hi"]]
    assert chat(planner).prompts[0][0] != 0
    assert chat(planner, add_special_tokens=True).prompts[0][0] == 0


def test_chat_opens_the_assistant_s_turn(planner: Planner) -> None:
    assert prompt(chat(planner)) == "<user>hi</><assistant>"
    assert prompt(chat(planner, add_generation_prompt=False)) == "<user>hi</>"


def test_continuing_ends_with_the_last_message_s_text(planner: Planner) -> None:
    last = {"role": "assistant", "content": "The sky "}
    plan = chat(planner, messages=[USER, last], continue_final_message=True)
    assert prompt(plan) == "<user>hi</><assistant>The sky "


def test_an_empty_message_can_be_continued(planner: Planner) -> None:
    messages = [USER, {"role": "assistant", "content": ""}]
    plan = chat(planner, messages=messages, continue_final_message=True, add_generation_prompt=False)
    assert prompt(plan) == "<user>hi</><assistant>"


def test_text_parts_are_joined(planner: Planner) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    assert prompt(chat(planner, messages=[{"role": "user", "content": parts}])) == "<user>ab</><assistant>"


def test_assistant_without_content_is_empty(planner: Planner) -> None:
    messages = [USER, {"role": "assistant", "content": None}, USER]
    assert prompt(chat(planner, messages=messages)) == "<user>hi</><assistant></><user>hi</><assistant>"


def test_template_arguments_reach_the_template(planner: Planner) -> None:
    assert "'thinking': False" in prompt(chat(planner, chat_template_kwargs={"thinking": False}))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [USER, {"role": "user", "content": 5}]}, "messages[1].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"continue_final_message": True}, "continue_final_message"),
        (
            {
                "messages": [USER, {"role": "assistant", "content": "x"}],
                "continue_final_message": True,
                "add_generation_prompt": True,
            },
            "continue_final_message",
        ),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 2, "temperature": 0}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 1, "temperature": 0, "presence_penalty": 1}, "top_logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ],
)
def test_bad_chat_requests(planner: Planner, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat(planner, **fields)
    assert refused.value.param == param
    assert param.split("[", maxsplit=1)[0] in refused.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": 1}, "min_p"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 6, "max_tokens": 5}, "min_tokens"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": 9, "prompt": ["a", "b"]}, "n"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": "x" * 1025}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"logprobs": 2, "temperature": 0}, "logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"stop_token_ids": [1]}, "stop_token_ids"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": "", "add_special_tokens": False}, "prompt"),
        ({"prompt": [[1], []]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], "a", 2]}, "prompt"),
        ({"prompt": [256]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
    ],
)
def test_bad_completion_requests(planner: Planner, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        text(planner, **fields)
    assert refused.value.param == param
    assert refused.value.message.startswith(param)


@pytest.mark.parametrize(
    "fields",
    [
        {"unknown": {"a": 1}},
        {"tools": []},
        {"tools": [{"type": "function"}], "tool_choice": "none"},
        {"response_format": {"type": "text"}},
        {"temperature": None, "stop": None, "n": None, "seed": None},
        {"logprobs": True, "top_logprobs": 1, "temperature": 0},
        {"best_of": 1},
        {"logit_bias": {}},
    ],
)
def test_what_changes_nothing_is_let_through(planner: Planner, fields: dict[str, Any]) -> None:
    assert prompt(chat(planner, **fields)) == "<user>hi</><assistant>"


def test_prompt_and_limit_fill_the_context(planner: Planner) -> None:
    assert text(planner, prompt=[1] * 60, max_tokens=40).samplings[0].max_tokens == 40
    assert text(planner, prompt=[1] * 99).samplings[0].max_tokens == 1


def test_context_overflow_in_openai_s_words(planner: Planner) -> None:
    with pytest.raises(InvalidRequest) as refused:
        text(planner, prompt=[1] * 60, max_tokens=41)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.message == (
        "This model's maximum context length is 100 tokens. However, you requested 101 tokens "
        "(60 in the prompt, 41 in the completion). Please reduce the length of the prompt or completion."
    )


def test_prompt_that_leaves_no_room(planner: Planner) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat(planner, messages=[{"role": "user", "content": "x" * 100}])
    assert refused.value.code == "context_length_exceeded"
    assert "your messages resulted in" in refused.value.message


def test_max_completion_tokens_is_the_newer_name(planner: Planner) -> None:
    assert chat(planner, max_completion_tokens=5).samplings[0].max_tokens == 5


def test_tokens_are_what_a_generation_starts_from(planner: Planner) -> None:
    def count(**fields: Any) -> list[int]:
        return planner.tokens(parse(json.dumps(fields).encode(), TokenizeRequest))

    assert count(messages=[USER]) == chat(planner).prompts[0]
    assert count(prompt="hi") == text(planner).prompts[0]
    assert count(prompt="hi", add_special_tokens=False) == [*b"hi"]


@pytest.mark.parametrize("body", [b"{}", b'{"prompt":"a","messages":[{"role":"user","content":"a"}]}'])
def test_tokenize_takes_one_of_both(planner: Planner, body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="either prompt or messages"):
        planner.tokens(parse(body, TokenizeRequest))


def test_model_without_a_chat_template() -> None:
    with pytest.raises(InvalidRequest, match="no chat template"):
        chat(Planner(ByteTokenizer(template=False), 100))


def test_template_that_does_not_write_the_last_message() -> None:
    planner = Planner(ByteTokenizer(drops_last=True), 100)
    with pytest.raises(InvalidRequest, match="does not write the final message out"):
        chat(planner, messages=[USER, {"role": "assistant", "content": "x"}], continue_final_message=True)
