"""``POST /v1/rerank``: the request, as Cohere, Jina and vLLM have it."""

from __future__ import annotations

from typing import Any, Self

import msgspec
from msgspec import Struct

from headrace.errors import BadGateway
from headrace.openai.document import decode
from headrace.openai.request import Count, Fields, Request, check_prompt
from headrace.openai.rules import Rules
from headrace.openai.translator import Translator


class Text(Struct, gc=False):
    text: str


class RerankFields(Fields, kw_only=True, gc=False):
    query: str
    documents: list[str | Text]
    top_n: Count | None = None
    return_documents: bool | None = None


class RerankRequest(Request[RerankFields]):
    """Documents, by how well they answer the query.

    Workers take documents as strings and always return them.
    """

    __slots__ = ()
    kind = RerankFields
    served_by = ("rerank",)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        request = cls(decode(body))
        request.document["documents"] = request.documents
        if request.document.pop("return_documents", None) is False:
            request.translator = WithoutDocuments()
        return request

    @property
    def documents(self) -> list[str]:
        return [document if isinstance(document, str) else document.text for document in self.fields.documents]

    def text(self) -> bytes:
        return "\0".join((self.fields.query, *self.documents)).encode()

    def check(self, rules: Rules) -> None:
        super().check(rules)
        check_prompt("query", self.fields.query, rules)
        check_prompt("documents", [*self.documents], rules)


class WithoutDocuments(Translator):
    """Leaves the documents out, which the client has."""

    __slots__ = ()

    def answer(self, body: bytes) -> bytes:
        try:
            ranking = msgspec.json.decode(body, type=dict[str, Any])
            for result in ranking["results"]:
                result.pop("document", None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
            raise BadGateway("The worker's answer is not a ranking.") from None
        return msgspec.json.encode(ranking)
