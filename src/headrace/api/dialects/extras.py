"""Fields of a request that its dialect does not know: what goes to the engine, and what does not."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from headrace.errors import InvalidRequest
from headrace.openai.chat import ChatFields
from headrace.openai.document import Document

_ENGINE = frozenset(
    {"min_tokens", "stop_token_ids", "presence_penalty", "frequency_penalty", "logit_bias", "seed"}
    | {"chat_template_kwargs"}
)
"""Fields of a chat completion that mean the same in every dialect."""


def engine_extras(
    source: Document, fields: Struct, *, refused: Collection[str] = (), ignored: Collection[str] = ()
) -> Document:
    """The fields of ``source`` that pass through to the engine.

    These are the ones that neither ``fields``, the dialect's own view, nor OpenAI's chat completions declare, and a few
    of the latter. Raises InvalidRequest for the ``refused`` ones, without which the request would mean something else,
    and for those of chat completions, which the dialect expresses in another way.
    """
    extras: Document = {}
    for name, value in source.items():
        if name in fields.__struct_fields__ or name in ignored or value is None:
            continue
        if name in refused:
            raise InvalidRequest(f"{name}: is not supported here; leave it out.", param=name)
        if name in ChatFields.__struct_fields__ and name not in _ENGINE:
            raise InvalidRequest(f"{name}: is a field of /v1/chat/completions; leave it out here.", param=name)
        extras[name] = value
    return extras
