"""How much a key and its tenant may use: admission before a request is sent on, and the bill when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.api.cost import Cost
from headrace.api.metrics import ApiMetrics
from headrace.errors import InvalidRequest, RateLimited
from headrace.openai.request import GenerationRequest, Request
from headrace.store.limits.limiter import SECOND, Lease, Limiter, Refusal, Standing
from headrace.store.limits.quota import Subject
from headrace.wire.exchange import Exchange


class Limits:
    """Applies the limits of the key and of the tenant."""

    def __init__(self, limiter: Limiter, metrics: ApiMetrics) -> None:
        self._limiter = limiter
        self._refused = metrics.limited

    async def admit(self, exchange: Exchange, subjects: Sequence[Subject], cost: Cost, request: Request[Any]) -> Lease:
        """Reserve what the request is expected to take; from here on its answer tells how the limits stand.

        Raises InvalidRequest for a request that no waiting would let through, and RateLimited.
        """
        tokens = cost.prompt + cost.output if request.served_by else 0
        for subject in subjects:
            if subject.largest and tokens:
                _check_size(subject, cost, request)
        outcome = await self._limiter.reserve(subjects, tokens)
        exchange.lines = rate_lines(outcome.requests, outcome.tokens)
        if isinstance(outcome, Refusal):
            self._refused.labels(outcome.subject.kind, outcome.limit).inc()
            raise _refused(outcome)
        return outcome


def rate_lines(requests: Standing | None, tokens: Standing | None) -> bytes:
    """OpenAI's ``x-ratelimit-*`` headers, as lines."""
    if requests is None:
        return b"" if tokens is None else _TOKENS % (tokens[0], tokens[1], duration(tokens[2]))
    if tokens is None:
        return _REQUESTS % (requests[0], requests[1], duration(requests[2]))
    return _BOTH % (
        requests[0],
        requests[1],
        duration(requests[2]),
        tokens[0],
        tokens[1],
        duration(tokens[2]),
    )


def duration(microseconds: int) -> bytes:
    """As Go writes it, which is what OpenAI sends: ``12ms``, ``1.5s``, ``6m0s``; rounded up to milliseconds."""
    ms = -(-microseconds // 1000)
    if 0 < ms < 1000:
        return b"%dms" % ms
    seconds, ms = divmod(ms, 1000)
    fraction = b".%03d" % ms if ms else b""
    if ms:
        fraction = fraction.rstrip(b"0")
    if seconds < 60:
        return b"%d%bs" % (seconds, fraction)
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return b"%dm%d%bs" % (minutes, seconds, fraction)
    return b"%dh%dm%d%bs" % (*divmod(minutes, 60), seconds, fraction)


_KIND = b"x-ratelimit-limit-%b: %%d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%b\r\n"
_REQUESTS = _KIND % ((b"requests",) * 3)
_TOKENS = _KIND % ((b"tokens",) * 3)
_BOTH = _REQUESTS + _TOKENS


def _check_size(subject: Subject, cost: Cost, request: Request[Any]) -> None:
    """Refuse a request that may take more than the subject can ever have at once.

    Where the client bounded the output, that bound counts; where not, only the prompt does, for nobody knows the rest.
    """
    cap = request.output_cap if isinstance(request, GenerationRequest) else None
    output = 0 if cap is None or not isinstance(request, GenerationRequest) else cap * request.n
    if cost.prompt + output <= subject.largest:
        return
    limit, most = min(subject.quota.token_limits(), key=lambda pair: pair[1])
    name = f"{limit} of your {subject.kind}, which is {most:,}"
    if cost.prompt >= most or not isinstance(request, GenerationRequest):
        raise InvalidRequest(
            f"The prompt has about {cost.prompt:,} tokens, more than {name}. Shorten it, or ask for a higher limit.",
            code="larger_than_limit",
        )
    field = request.cap_name
    raise InvalidRequest(
        f"{field}: about {cost.prompt:,} tokens of prompt and up to {output:,} of output are more than {name}. "
        f"Set {field} to at most {max(1, (most - cost.prompt) // request.n):,}.",
        param=field,
        code="larger_than_limit",
    )


def _refused(refusal: Refusal) -> RateLimited:
    value = getattr(refusal.subject.quota, refusal.limit)
    wait = refusal.wait / SECOND
    return RateLimited(
        f"Rate limit reached: {refusal.limit} of your {refusal.subject.kind} is {value:,}. "
        f"Try again in {duration(refusal.wait).decode()}.",
        code="rate_limit_exceeded",
        retry_after=wait,
    )
