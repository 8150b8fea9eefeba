"""``POST /v1/moderations``: OpenAI's shape, answered by a classifier."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

import msgspec
from msgspec import Struct

from headrace.errors import BadGateway
from headrace.openai.classify import ClassifyFields, ClassifyRequest
from headrace.openai.document import Document, convert, decode
from headrace.openai.translator import Translator

THRESHOLD = 0.5
"""From this probability on a category is flagged."""

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""OpenAI's: always in an answer, also where the classifier does not know them."""

_PLAIN = re.compile(r"[^a-z0-9]")
_HARMLESS = frozenset(
    {"safe", "ok", "okay", "none", "no", "neutral", "normal", "clean", "benign", "acceptable", "harmless", "sfw", "ham"}
    | {"nontoxic", "nottoxic", "nonhate", "nothate", "nonoffensive", "notoffensive", "nonabusive", "unharmful"}
    | {"label0"}
)
"""Labels, in small letters and digits, that say that nothing was found."""
_NAMES = {_PLAIN.sub("", category): category for category in CATEGORIES} | {
    "s": "sexual",
    "h": "hate",
    "v": "violence",
    "hr": "harassment",
    "sh": "self-harm",
    "s3": "sexual/minors",
    "h2": "hate/threatening",
    "v2": "violence/graphic",
}
"""Labels that are OpenAI's categories, also by the abbreviations of its published data set (arXiv:2208.03274)."""


class TextPart(Struct, gc=False):
    type: Literal["text"]
    text: str


class ModerationFields(Struct, gc=False):
    input: str | list[str | TextPart]
    model: str | None = None


class ChosenFields(ClassifyFields, kw_only=True, gc=False):
    model: str = ""
    """Empty: the classifier, where there is only one."""


class Classification(Struct, gc=False):
    """What a worker says of one text: ``probs`` are those of ``labels``, or at least the best one's name is known."""

    probs: list[float]
    label: str | None = None
    labels: list[str] | None = None

    def scores(self) -> dict[str, float]:
        """The probability of each category; classes without a name are called ``class_1`` and so on."""
        best = max(range(len(self.probs)), key=self.probs.__getitem__, default=0)
        found: dict[str, float] = {}
        for index, probability in enumerate(self.probs):
            label = f"class_{index}"
            if self.labels is not None and index < len(self.labels):
                label = self.labels[index]
            elif index == best and self.label is not None:
                label = self.label
            plain = _PLAIN.sub("", label.lower())
            if plain not in _HARMLESS:
                found[_NAMES.get(plain, label)] = probability
        return found


class _Classified(Struct, gc=False):
    data: list[Classification]
    id: str = ""
    model: str = ""


class Result(Struct, gc=False):
    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]
    """Empty for categories that the classifier does not know."""


class Moderation(Struct, gc=False):
    id: str
    model: str
    results: list[Result]


class ModerationRequest(ClassifyRequest):
    """Whether texts are harmful. Parts of one input are read as one text."""

    __slots__ = ()
    kind = ChosenFields

    @classmethod
    def decode(cls, body: bytes) -> Self:
        source = decode(body)
        fields = convert(source, ModerationFields, {"input.type": ("text",)})
        document: Document = {**source, "model": fields.model or "", "input": _texts(fields.input)}
        request = cls(document)
        request.translator = ModerationTranslator()
        return request


class ModerationTranslator(Translator):
    """From a classification to OpenAI's categories."""

    __slots__ = ()

    def answer(self, body: bytes) -> bytes:
        try:
            classified = msgspec.json.decode(body, type=_Classified)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadGateway("The worker's answer is not a classification.") from None
        name = classified.id.removeprefix("classify-")
        results = [_result(one.scores()) for one in classified.data]
        return msgspec.json.encode(Moderation(f"modr-{name}", classified.model, results))


def _texts(given: str | list[str | TextPart]) -> Any:
    if isinstance(given, str) or not any(isinstance(item, TextPart) for item in given):
        return given
    return ["\n".join(item if isinstance(item, str) else item.text for item in given)]


def _result(scores: dict[str, float]) -> Result:
    known = dict.fromkeys(CATEGORIES, 0.0) | scores
    flags = {name: score >= THRESHOLD for name, score in known.items()}
    applied = {name: ["text"] if name in scores else [] for name in known}
    return Result(any(flags.values()), flags, known, applied)
