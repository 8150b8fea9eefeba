"""``POST /v1/score``: the request, as vLLM has it."""

from __future__ import annotations

from headrace.errors import InvalidRequest
from headrace.openai.request import Fields, Request, check_prompt
from headrace.openai.rules import Rules

_Texts = str | list[str]


class ScoreFields(Fields, kw_only=True, gc=False):
    text_1: _Texts
    text_2: _Texts


class ScoreRequest(Request[ScoreFields]):
    """How well texts fit each other: one with each of many, or many with as many, pair by pair."""

    __slots__ = ()
    kind = ScoreFields
    served_by = ("rerank",)

    def text(self) -> bytes:
        return "\0".join((*_list(self.fields.text_1), *_list(self.fields.text_2))).encode()

    def check(self, rules: Rules) -> None:
        super().check(rules)
        for name, texts in (("text_1", self.fields.text_1), ("text_2", self.fields.text_2)):
            check_prompt(name, texts if isinstance(texts, str) else [*texts], rules)
        first, second = _list(self.fields.text_1), _list(self.fields.text_2)
        if len(first) not in {1, len(second)}:
            raise InvalidRequest(
                f"text_1: must be one text, or as many as text_2, which has {len(second)}, not {len(first)}.",
                param="text_1",
            )


def _list(texts: _Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else texts
