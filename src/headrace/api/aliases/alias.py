"""One alias: which models stand behind a name, and what it adds to a request."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from msgspec import Meta, Struct
from xxhash import xxh3_64_intdigest

from headrace.errors import ConfigError, InvalidRequest
from headrace.openai.chat import ChatRequest
from headrace.openai.request import GenerationRequest, Name, Request
from headrace.openai.rules import FORBIDDEN, Rules
from headrace.openai.tokens import TokenizeRequest

_FIXED = frozenset({"model", "messages", "prompt", "stream", "stream_options", "tools"})
"""Fields that no default may set."""
_CAPS = ("max_tokens", "max_completion_tokens")

Limit = Annotated[int, Meta(ge=1)]
Edge = Annotated[float, Meta(ge=-1e300, le=1e300)]
"""A finite number."""


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """A model, and its share of the requests beside the other targets'."""

    model: Name
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1


class Bound(Struct, frozen=True, forbid_unknown_fields=True):
    """What a field may be."""

    min: Edge | None = None
    max: Edge | None = None

    def check(self, name: str, value: Any) -> None:
        """Raises InvalidRequest; what was left out is not checked."""
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRequest(f"{name}: must be a number.", param=name)
        if self.min is not None and value < self.min:
            raise InvalidRequest(f"{name}: must be at least {self.min:g} for this model.", param=name)
        if self.max is not None and value > self.max:
            raise InvalidRequest(f"{name}: must be at most {self.max:g} for this model.", param=name)


class Moderation(Struct, frozen=True, forbid_unknown_fields=True):
    """The classifier that reads a prompt first, and from which score on it is refused."""

    model: Name
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.5


class AliasFields(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An alias as the file has it."""

    model: Name | None = None
    """Short for one target."""
    targets: list[Target] = []
    fallbacks: list[Name] = []
    patience: Annotated[float, Meta(gt=0)] | None = None
    """Seconds that a model gets to begin its answer while there is a fallback; None: as long as any request."""
    system: str = ""
    defaults: dict[str, Any] = {}
    bounds: dict[str, Bound] = {}
    allow: list[str] = []
    media_hosts: list[str] = []
    n: Limit | None = None
    logprobs: Limit | None = None
    stop: Limit | None = None
    inputs: Limit | None = None
    moderation: Moderation | None = None


class Alias:
    """A checked alias."""

    def __init__(self, name: str, fields: AliasFields, rules: Rules) -> None:
        """``rules`` are the gateway's, from which the alias's own are derived. Raises ConfigError."""
        self.name = name
        self.rules = _rules(name, fields, rules)
        self.patience = fields.patience
        self.moderation = fields.moderation
        self._targets = _targets(name, fields)
        self._total = sum(target.weight for target in self._targets)
        self._fallbacks = fields.fallbacks
        self._system = fields.system
        self._defaults = fields.defaults
        self._bounds = {field: bound for field, bound in fields.bounds.items() if field not in _CAPS}
        self._cap = next((fields.bounds[field] for field in _CAPS if field in fields.bounds), None)
        self._try_out()

    @property
    def models(self) -> list[str]:
        """All that may answer, each once: the targets, then the fallbacks."""
        return list(dict.fromkeys([*(target.model for target in self._targets), *self._fallbacks]))

    def order(self, key: str, user: str, draw: Callable[[], float] = random.random) -> list[str]:
        """The models of one request, in the order in which they are tried.

        A request that names its ``user`` gets the same target each time, as long as the weights stay: a person does
        not talk to two models by turns. ``key`` is the API key's id.
        """
        if len(self._targets) == 1:
            chosen = self._targets[0].model
        else:
            point = xxh3_64_intdigest(f"{self.name}\0{key}\0{user}".encode()) / 2**64 if user else draw()
            chosen = self._pick(point)
        return list(dict.fromkeys([chosen, *self._fallbacks]))

    def shape(self, request: Request[Any]) -> None:
        """Apply defaults, check the rules and bounds, and put the system prompt in front. Raises InvalidRequest."""
        if isinstance(request, GenerationRequest):
            request.apply_defaults(self._defaults)
            if self._cap is not None and self._cap.max is not None:
                request.apply_defaults({"max_tokens": int(self._cap.max)})
        request.check(self.rules)
        if isinstance(request, GenerationRequest):
            self._check_bounds(request)
        if self._system:
            self._instruct(request)

    def _pick(self, point: float) -> str:
        """The target at ``point`` (from 0 to 1) of the line that the weights make up."""
        place = point * self._total
        for target in self._targets:
            place -= target.weight
            if place < 0:
                return target.model
        return next(target.model for target in reversed(self._targets) if target.weight)

    def _check_bounds(self, request: GenerationRequest[Any]) -> None:
        for name, bound in self._bounds.items():
            bound.check(name, request.document.get(name))
        if self._cap is not None:
            self._cap.check(request.cap_name, request.output_cap)

    def _instruct(self, request: Request[Any]) -> None:
        if isinstance(request, ChatRequest) or (isinstance(request, TokenizeRequest) and request.fields.messages):
            request.instruct(self._system)
        elif isinstance(request, GenerationRequest):
            raise InvalidRequest(
                f"The model {self.name} has a system prompt, which a plain completion cannot carry; "
                "use /v1/chat/completions.",
                param="model",
            )

    def _try_out(self) -> None:
        """Find out now, and not with the first request, whether the defaults make sense."""
        wrong = next((field for field in self._defaults if field in _FIXED), None)
        if wrong is not None:
            raise ConfigError(f"{self.name}: defaults.{wrong}: cannot have a default")
        message = {"role": "user", "content": "x"}
        try:
            request = ChatRequest({"model": self.name, "messages": [message]})
            self.shape(request)
            request.encode(self.name)
        except InvalidRequest as error:
            raise ConfigError(f"{self.name}: defaults.{error.message}") from None


def _targets(name: str, fields: AliasFields) -> Sequence[Target]:
    if (fields.model is None) == (not fields.targets):
        raise ConfigError(f"{name}: give either model or targets")
    targets = [Target(fields.model)] if fields.model is not None else fields.targets
    if not any(target.weight for target in targets):
        raise ConfigError(f"{name}: targets: one of them must have a weight")
    return targets


def _rules(name: str, fields: AliasFields, rules: Rules) -> Rules:
    unknown = [field for field in fields.allow if field not in FORBIDDEN]
    if unknown:
        raise ConfigError(
            f"{name}: allow: {unknown[0]!r} needs no permission; there are {', '.join(sorted(FORBIDDEN))}"
        )
    given: Mapping[str, int | None] = {
        "n": fields.n,
        "logprobs": fields.logprobs,
        "stop": fields.stop,
        "inputs": fields.inputs,
    }
    counts: dict[str, Any] = {field: count for field, count in given.items() if count is not None}
    hosts = rules.media_hosts.union(host.lower() for host in fields.media_hosts)
    return replace(rules, forbidden=rules.forbidden.difference(fields.allow), media_hosts=hosts, **counts)
