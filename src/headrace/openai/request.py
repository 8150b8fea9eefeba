"""What the endpoints have in common: a request keeps what the client sent and a typed view of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from msgspec import Meta, Struct

from headrace.errors import InvalidRequest
from headrace.openai.document import Document, convert, decode, encode
from headrace.openai.rules import Rules
from headrace.openai.translator import Translator

_INT32 = 2**31 - 1

Name = Annotated[str, Meta(min_length=1, max_length=512)]
Count = Annotated[int, Meta(ge=1, le=_INT32)]
Index = Annotated[int, Meta(ge=0, le=_INT32)]
TokenId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Prompt = str | list[str | int | list[TokenId]]
"""A text, texts, the token ids of one text, or those of several; ``check_prompt`` refuses mixtures."""


class Fields(Struct, gc=False):
    """The typed view; the endpoints add theirs. Only what Headrace reads or bounds is declared.

    None of these can be part of a cycle, so the collector need not look at them (``gc=False``).
    """

    model: Name


class StreamOptions(Struct, gc=False):
    include_usage: bool | None = None


class GenerationFields(Fields, gc=False):
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    min_tokens: Index | None = None
    n: Count | None = None
    best_of: Count | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[TokenId] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    prompt_logprobs: Index | None = None
    seed: Seed | None = None
    user: str | None = None


F = TypeVar("F", bound=Fields)
G = TypeVar("G", bound=GenerationFields)


class Request(Generic[F]):
    """A decoded request.

    ``document`` is what goes out: change it only through the methods here, which keep ``fields``, the typed view, in
    step. ``decode`` checks the shape, ``check`` the values: between them lies the look-up of the model, whose alias
    may bring defaults and rules of its own.
    """

    __slots__ = ("document", "fields", "translator")
    kind: ClassVar[type[Fields]]
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    served_by: ClassVar[tuple[str, ...]] = ()
    """The modalities of the models that can answer; empty: all."""

    document: Document
    fields: F
    translator: Translator | None
    """What the answer goes through on its way to the client; None: it goes as it is."""

    def __init__(self, document: Document) -> None:
        """Raises InvalidRequest, naming the field, where a type or a fixed bound is wrong."""
        self.document = document
        self.fields = convert(document, self.kind, self.choices)  # type: ignore[assignment]
        self.translator = None

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Raises InvalidRequest for what is not a JSON object of this endpoint's shape."""
        return cls(decode(body))

    @property
    def model(self) -> str:
        return self.fields.model

    def text(self) -> bytes:
        """What the model has to read, to estimate the cost from; empty where it reads nothing."""
        return b""

    def apply_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Set the fields that the client left out or sent as null (an alias's sampling, say)."""
        for name, value in defaults.items():
            if self._is_open(name):
                self.document[name] = value
        self.fields = self._view()

    def check(self, rules: Rules) -> None:
        """Raises InvalidRequest, naming the field, for values that ``rules`` do not allow."""
        if not rules.forbidden.isdisjoint(self.document):
            rules.check_names(self.document)
        for name, value in self.document.items():
            if value.__class__ is int and not -(2**63) <= value < 2**63:
                short = name[:64]  # the client's own text: an error does not repeat megabytes of it
                raise InvalidRequest(f"{short}: must be an integer of at most 64 bits.", param=short)

    def encode(self, model: str) -> bytes:
        """The body for the worker, asking for ``model`` (the resolved one)."""
        self.document["model"] = model
        return encode(self.document)

    def _is_open(self, name: str) -> bool:
        return self.document.get(name) is None

    def _view(self) -> F:
        return convert(self.document, self.kind, self.choices)  # type: ignore[return-value]


class GenerationRequest(Request[G]):
    """A request that generates text."""

    __slots__ = ()

    @property
    def stream(self) -> bool:
        return self.fields.stream is True

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the usage event of a stream; the worker is always asked for it."""
        options = self.fields.stream_options
        return options is not None and options.include_usage is True

    @property
    def n(self) -> int:
        """Sequences that are generated per prompt."""
        fields = self.fields
        return 1 if fields.n is None and fields.best_of is None else max(fields.n or 1, fields.best_of or 1)

    @property
    def output_cap(self) -> int | None:
        """Most tokens that each sequence may have; None where the client set no limit."""
        return self.fields.max_tokens

    @property
    def cap_name(self) -> str:
        """What the client calls ``output_cap``, for the messages of errors."""
        return "max_tokens"

    def check(self, rules: Rules) -> None:
        super().check(rules)
        fields = self.fields
        if fields.n is not None:
            rules.check_count("n", fields.n, rules.n)
        if fields.best_of is not None:
            rules.check_count("best_of", fields.best_of, rules.n)
            if fields.best_of < (fields.n or 1):
                raise InvalidRequest(f"best_of: must be at least n, which is {fields.n}.", param="best_of")
        if fields.prompt_logprobs is not None:
            rules.check_count("prompt_logprobs", fields.prompt_logprobs, rules.logprobs)
        if fields.stop:
            _check_stop([fields.stop] if isinstance(fields.stop, str) else fields.stop, rules)
        if fields.stop_token_ids is not None:
            rules.check_count("stop_token_ids", len(fields.stop_token_ids), rules.stop, " items")
        if fields.stream_options is not None and not self.stream:
            raise InvalidRequest("stream_options: is only allowed with stream: true.", param="stream_options")

    def encode(self, model: str) -> bytes:
        """As ``Request.encode``; a stream is always asked for its usage, which is what is metered."""
        if self.fields.stream:
            options = self.document.get("stream_options")
            self.document["stream_options"] = {**(options or {}), "include_usage": True}
        self.document["model"] = model
        return encode(self.document)


def prompt_count(prompt: Prompt) -> int:
    """How many texts ``prompt`` holds."""
    return 1 if isinstance(prompt, str) or not prompt or isinstance(prompt[0], int) else len(prompt)


def check_prompt(name: str, prompt: Prompt, rules: Rules) -> None:
    """Refuse an empty prompt, a mixture of forms, and more than ``rules.inputs`` of them."""
    if not prompt:
        raise InvalidRequest(f"{name}: must not be empty.", param=name)
    if isinstance(prompt, str):
        return
    forms = set(map(type, prompt))
    if len(forms) > 1:
        raise InvalidRequest(
            f"{name}: must hold only strings, only token ids, or only arrays of token ids.", param=name
        )
    if forms == {int}:
        _check_token_ids(name, prompt)
        return
    rules.check_count(name, len(prompt), rules.inputs, " items")
    for index, item in enumerate(prompt):
        if not item:
            raise InvalidRequest(f"{name}[{index}]: must not be empty.", param=f"{name}[{index}]")


def _check_token_ids(name: str, ids: list[Any]) -> None:
    if not 0 <= min(ids) <= max(ids) < 2**32:
        raise InvalidRequest(f"{name}: token ids must be between 0 and {2**32 - 1}.", param=name)


def _check_stop(stop: list[str], rules: Rules) -> None:
    rules.check_count("stop", len(stop), rules.stop, " strings")
    if "" in stop:
        raise InvalidRequest("stop: must not hold an empty string.", param="stop")
