"""``POST /v1/embeddings``: the request."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from headrace.openai.request import Count, Fields, Prompt, Request, check_prompt
from headrace.openai.rules import Rules

EncodingFormat = Literal["float", "base64"]


class EmbeddingFields(Fields, kw_only=True, gc=False):
    input: Prompt
    encoding_format: EncodingFormat | None = None
    dimensions: Count | None = None
    user: str | None = None


class EmbeddingRequest(Request[EmbeddingFields]):
    """Embeddings of one or more texts, or of texts that are already token ids."""

    __slots__ = ()
    kind = EmbeddingFields
    served_by = ("embedding",)
    choices: ClassVar = {"encoding_format": get_args(EncodingFormat)}

    def check(self, rules: Rules) -> None:
        super().check(rules)
        check_prompt("input", self.fields.input, rules)
