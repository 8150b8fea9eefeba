"""Prompts that a classifier reads first, where an alias asks for it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from headrace.api.aliases.alias import Moderation
from headrace.api.inside import Inside
from headrace.api.prefix import PromptText
from headrace.api.record import Record
from headrace.errors import InvalidRequest, Overloaded
from headrace.openai.document import encode
from headrace.openai.moderation import Classification
from headrace.openai.request import Request

_PIECE = 1_000
"""Characters of a text that are read at a time: about 250 tokens, which every classifier takes."""
_OVERLAP = 100
_PIECES = 2_048
_EXTRAS = ("suffix", "documents", "chat_template_kwargs")
"""Fields by which more text gets into a prompt."""


class _Classified(Struct):
    data: list[Classification]


class Moderator:
    """Asks the classifier. Where it does not answer, the prompt does not pass either."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    async def check(self, moderation: Moderation, request: Request[Any], text: PromptText, record: Record) -> None:
        """Raises InvalidRequest for a prompt that is flagged, and Overloaded where nobody can tell.

        All of the prompt's texts are read, the system prompt and what the client says was answered before included:
        a client can write into any of them.
        """
        _refuse_token_ids(request)
        extras = [encode(request.document[name]).decode() for name in _EXTRAS if request.document.get(name)]
        pieces = _cut("\0".join([text.data.decode("utf-8", "replace"), *extras]))
        if len(pieces) > _PIECES:
            raise InvalidRequest(
                f"The prompt is too long to be checked; at most {_PIECES * (_PIECE - _OVERLAP):,} characters are.",
                code="content_policy_violation",
            )
        if not pieces:
            return
        body = encode({"model": moderation.model, "input": pieces, "truncate": True, "truncate_prompt_tokens": -1})
        answer = await self._inside.ask(
            moderation.model, "/classify", body, tenant=record.tenant, request_id=f"{record.id}-moderation"
        )
        if answer is None or answer.status != 200:
            raise _unavailable()
        try:
            classified = msgspec.json.decode(answer.body, type=_Classified).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _unavailable() from None
        if len(classified) != len(pieces):
            raise _unavailable()
        flagged = {
            category for one in classified for category, score in one.scores().items() if score >= moderation.threshold
        }
        if flagged:
            raise InvalidRequest(
                f"The prompt was refused by this model's content policy: {', '.join(sorted(flagged))}. Change it.",
                code="content_policy_violation",
            )


def _refuse_token_ids(request: Request[Any]) -> None:
    """A classifier reads texts: token ids would pass it unread."""
    for name in ("prompt", "input"):
        given = getattr(request.fields, name, None)
        if isinstance(given, list) and not all(isinstance(one, str) for one in given):
            raise InvalidRequest(f"{name}: token ids cannot be checked; send text to this model.", param=name)


def _cut(text: str) -> list[str]:
    """The texts in pieces that overlap, so that no phrase falls between two; what is white space alone is left out."""
    step = _PIECE - _OVERLAP
    found = []
    for part in text.split("\0"):
        if part.strip():
            found += [part[start : start + _PIECE] for start in range(0, max(1, len(part) - _OVERLAP), step)]
    return found


def _unavailable() -> Overloaded:
    return Overloaded(
        "The prompt cannot be checked right now; try again.", code="moderation_unavailable", retry_after=2
    )
