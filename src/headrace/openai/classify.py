"""``POST /v1/classify``: the request, as vLLM has it."""

from __future__ import annotations

from typing import ClassVar

from headrace.openai.request import Fields, Request, check_prompt
from headrace.openai.rules import Rules


class ClassifyFields(Fields, kw_only=True, gc=False):
    input: str | list[str]


class ClassifyRequest(Request[ClassifyFields]):
    """The classes of one or more texts."""

    __slots__ = ()
    kind: ClassVar[type[ClassifyFields]] = ClassifyFields
    served_by = ("classification",)

    def text(self) -> bytes:
        texts = self.fields.input
        return (texts if isinstance(texts, str) else "\0".join(texts)).encode()

    def check(self, rules: Rules) -> None:
        super().check(rules)
        texts = self.fields.input
        check_prompt("input", texts if isinstance(texts, str) else [*texts], rules)
