"""The rows that a request asks for, and how errors name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.errors import InvalidRequest
from headrace.openai.document import kind
from headrace.workers.bert.tokens import Text

MAX_INPUTS = 2048
"""Rows of one request; OpenAI's bound."""


class Inputs:
    """Either ``texts`` or ``ids``; ``name`` tells one as the client wrote it."""

    __slots__ = ("_field", "_single", "ids", "texts")

    def __init__(self, field: str, texts: Sequence[Text] = (), ids: Sequence[list[int]] = (), *, single: bool) -> None:
        """``single``: the field itself is the one input, not a list of them. Raises InvalidRequest for too many."""
        self.texts = texts
        self.ids = ids
        self._field = field
        self._single = single
        if not len(self):
            raise InvalidRequest(f"{field}: must not be empty.", param=field)
        if len(self) > MAX_INPUTS:
            raise InvalidRequest(f"{field}: must have at most {MAX_INPUTS} items, not {len(self)}.", param=field)

    @classmethod
    def of(cls, field: str, value: str | list[str]) -> Inputs:
        """One text or several."""
        return cls(field, [value] if isinstance(value, str) else value, single=isinstance(value, str))

    def __len__(self) -> int:
        return len(self.texts) or len(self.ids)

    def name(self, index: int) -> str:
        return self._field if self._single else f"{self._field}[{index}]"

    def check_length(self, index: int, tokens: int, context: int) -> None:
        """Raises InvalidRequest with the counts where an input is longer than the model reads, or of no token."""
        name = self.name(index)
        if tokens == 0:
            raise InvalidRequest(f"{name}: has no tokens, and this model adds none of its own.", param=name)
        if tokens > context:
            both = " with what it is compared to" if self.texts and isinstance(self.texts[0], tuple) else ""
            raise InvalidRequest(
                f"{name}: has {tokens} tokens{both} and this model reads at most {context}: "
                "shorten it or set truncate.",
                param=name,
                code="context_length_exceeded",
            )


def prompts(value: str | list[Any], vocabulary: int, prefix: str = "") -> Inputs:
    """The inputs of an embedding request: texts, which get ``prefix``, or token ids, which are taken as they are.

    Raises InvalidRequest, naming the input at fault.
    """
    if isinstance(value, str):
        return Inputs("input", [prefix + value], single=True)
    for index, item in enumerate(value):
        if type(item) is not type(value[0]):
            raise InvalidRequest(
                f"input[{index}]: must be {kind(value[0])} as input[0] is, not {kind(item)}.", param=f"input[{index}]"
            )
    if value and isinstance(value[0], str):
        texts = [prefix + text for text in value] if prefix else value
        return Inputs("input", texts, single=False)
    single = bool(value) and isinstance(value[0], int)
    inputs = Inputs("input", ids=[value] if single else value, single=single)
    for index, ids in enumerate(inputs.ids):
        check_ids(inputs.name(index), ids, vocabulary)
    return inputs


def check_ids(name: str, ids: list[int], vocabulary: int) -> None:
    """Raises InvalidRequest unless there are ids and the model knows all of them."""
    if not ids:
        raise InvalidRequest(f"{name}: must have at least one token.", param=name)
    if not 0 <= min(ids) <= max(ids) < vocabulary:
        raise InvalidRequest(f"{name}: token ids must be between 0 and {vocabulary - 1}.", param=name)
