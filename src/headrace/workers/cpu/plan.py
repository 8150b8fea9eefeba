"""From a request to what the engine is to do: prompts in tokens, sampling, bounds."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from headrace.errors import InvalidRequest
from headrace.workers.cpu.chat import chat_prompt
from headrace.workers.cpu.messages import Sampling
from headrace.workers.cpu.requests import (
    MAX_SEQUENCES,
    MAX_STOP_LENGTH,
    MAX_STOPS,
    ChatRequest,
    CompletionRequest,
    TokenizeRequest,
    refuse,
)
from headrace.workers.cpu.tokenizer import Tokenizer

_GREEDY_BELOW = 1e-5
"""Temperatures below this are rounding errors of 0."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``prompts`` are token ids; each is generated from with every one of ``samplings``."""

    prompts: list[list[int]]
    samplings: list[Sampling]
    stops: list[str]


class Planner:
    """Knows the model's tokenizer and its ``context`` (tokens of prompt and output together)."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context

    def chat(self, request: ChatRequest) -> Plan:
        """Raises InvalidRequest."""
        refuse(request)
        if request.top_logprobs and not request.logprobs:
            raise InvalidRequest("top_logprobs: needs logprobs: true.", param="top_logprobs")
        _check_alternatives(request, "top_logprobs", request.top_logprobs)
        text = chat_prompt(
            self.tokenizer,
            request.messages,
            request.add_generation_prompt,
            request.continue_final_message,
            request.chat_template_kwargs,
        )
        prompt = self._encode(text, "messages", special=bool(request.add_special_tokens))
        limit = request.max_completion_tokens or request.max_tokens
        return self._plan(request, "messages", [prompt], limit, bool(request.logprobs))

    def completion(self, request: CompletionRequest) -> Plan:
        """Raises InvalidRequest."""
        refuse(request)
        _check_alternatives(request, "logprobs", request.logprobs)
        return self._plan(request, "prompt", self._prompts(request), request.max_tokens, request.logprobs is not None)

    def tokens(self, request: TokenizeRequest) -> list[int]:
        """What ``/tokenize`` counts: the very tokens that a generation would start from. Raises InvalidRequest."""
        if (request.prompt is None) == (request.messages is None):
            raise InvalidRequest("prompt: send either prompt or messages.", param="prompt")
        if request.prompt is not None:
            return self.tokenizer.encode(request.prompt, special=request.add_special_tokens is not False)
        text = chat_prompt(
            self.tokenizer,
            request.messages or [],
            request.add_generation_prompt,
            request.continue_final_message,
            request.chat_template_kwargs,
        )
        return self.tokenizer.encode(text, special=bool(request.add_special_tokens))

    def _prompts(self, request: CompletionRequest) -> list[list[int]]:
        prompt = request.prompt
        parts = [prompt] if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)) else prompt
        special = request.add_special_tokens is not False
        return [
            self._encode(part, "prompt", special=special) if isinstance(part, str) else self._checked_ids(part)
            for part in parts
        ]

    def _checked_ids(self, part: object) -> list[int]:
        size = len(self.tokenizer.vocabulary)
        tokens: list[int] = []
        for token in part if isinstance(part, list) else [part]:
            if not isinstance(token, int) or not isinstance(part, list):
                raise InvalidRequest(
                    "prompt: must hold only strings, only token ids, or only arrays of token ids.", param="prompt"
                )
            if not 0 <= token < size:
                raise InvalidRequest(f"prompt: the model has no token {token}; ids go to {size - 1}.", param="prompt")
            tokens.append(token)
        return tokens

    def _encode(self, text: str, param: str, *, special: bool) -> list[int]:
        least = len(text.encode()) // self.tokenizer.vocabulary.longest
        if least > self.context:  # a lower bound, known without tokenizing megabytes
            raise _too_long(self.context, least, None, param)
        return self.tokenizer.encode(text, special=special)

    def _plan(
        self,
        request: ChatRequest | CompletionRequest,
        param: str,
        prompts: list[list[int]],
        limit: int | None,
        logprobs: bool,
    ) -> Plan:
        n = request.n or 1
        if not prompts or not all(prompts):
            raise InvalidRequest(f"{param}: must not be empty.", param=param)
        if len(prompts) * n > MAX_SEQUENCES:
            raise InvalidRequest(f"n: prompts times n must be at most {MAX_SEQUENCES}.", param="n")
        longest = max(map(len, prompts))
        if longest + (limit or 1) > self.context:
            raise _too_long(self.context, longest, limit, param)
        max_tokens = limit or self.context - longest
        if (request.min_tokens or 0) > max_tokens:
            raise InvalidRequest(f"min_tokens: must be at most max_tokens, which is {max_tokens}.", param="min_tokens")
        _check_stops(request.stops)
        return Plan(prompts, _samplings(request, n, max_tokens, logprobs), request.stops)


def _samplings(request: ChatRequest | CompletionRequest, n: int, max_tokens: int, logprobs: bool) -> list[Sampling]:
    """One for each of ``n`` choices; they differ in the seed alone."""
    temperature = 1.0 if request.temperature is None else request.temperature
    seed = secrets.randbits(32) if request.seed is None else request.seed
    return [
        Sampling(
            max_tokens=max_tokens,
            temperature=temperature if temperature >= _GREEDY_BELOW else 0.0,
            top_p=1.0 if request.top_p is None else request.top_p,
            top_k=max(request.top_k or 0, 0),
            min_p=request.min_p or 0.0,
            seed=(seed + index) % 2**63,
            frequency_penalty=request.frequency_penalty or 0.0,
            presence_penalty=request.presence_penalty or 0.0,
            repetition_penalty=request.repetition_penalty or 1.0,
            min_tokens=request.min_tokens or 0,
            ignore_eos=bool(request.ignore_eos),
            logprobs=logprobs,
        )
        for index in range(n)
    ]


def _check_alternatives(request: ChatRequest | CompletionRequest, param: str, count: int | None) -> None:
    """The engine tells the log-probability of the token that it took; that is the likeliest one where it is greedy."""
    penalties = (request.frequency_penalty, request.presence_penalty)
    greedy = request.temperature is not None and request.temperature < _GREEDY_BELOW
    greedy = greedy and not any(penalties) and request.repetition_penalty in (None, 1.0)
    if count and (count > 1 or not greedy):
        raise InvalidRequest(
            f"{param}: this worker tells the log-probability of each generated token, but no alternatives; "
            f"{param}: 1 is possible with temperature: 0 and no penalties.",
            param=param,
        )


def _check_stops(stops: list[str]) -> None:
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(f"stop: must be at most {MAX_STOPS} strings, not {len(stops)}.", param="stop")
    if not all(0 < len(stop) <= MAX_STOP_LENGTH for stop in stops):
        raise InvalidRequest(f"stop: each must have 1 to {MAX_STOP_LENGTH} characters.", param="stop")


def _too_long(context: int, prompt: int, limit: int | None, param: str) -> InvalidRequest:
    """OpenAI's words."""
    told = f"your {param} resulted in {prompt} tokens. Please reduce the length of the {param}."
    if limit is not None:
        told = (
            f"you requested {prompt + limit} tokens ({prompt} in the {param}, {limit} in the completion). "
            f"Please reduce the length of the {param} or completion."
        )
    return InvalidRequest(
        f"This model's maximum context length is {context} tokens. However, {told}",
        param=param,
        code="context_length_exceeded",
    )
