"""The model's tokenizer and chat template, as the engine has them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import openvino_genai as genai

from headrace.errors import InvalidRequest, ModelError
from headrace.workers.cpu import windows
from headrace.workers.cpu.detokenize import Vocabulary, piece_table

_LONGEST_CUT = 150_000
"""Tokens; a tokenizer of OpenVINO's that cuts at more is not known."""
_BEGINNING = 16
"""More tokens than any text begins with by itself."""


class Tokenizer:
    """Fast enough for the event loop: 7,000 tokens take about 1.5 ms."""

    def __init__(self, path: str) -> None:
        """Raises ModelError."""
        try:
            self._tokenizer = genai.Tokenizer(path)
            pieces = piece_table(self._tokenizer.get_vocab())
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{path}: its tokenizer cannot be loaded: {reason[:500]}") from None
        self.vocabulary = Vocabulary(pieces, self._special(pieces))
        self._cut = self._bound()

    @property
    def has_chat_template(self) -> bool:
        return bool(self._tokenizer.chat_template)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids; with ``special``, those that the model begins every text with come first.

        Raises InvalidRequest for a long text that cannot be read in parts.
        """
        short = self._encode(text, special)
        if not self._cut or len(short) < self._cut:
            return short
        piece = self.vocabulary.pieces.__getitem__
        window = self._cut - _BEGINNING
        tokens = windows.encode(text, special=special, encode=self._encode, piece=piece, window=window)
        if tokens is None:
            raise InvalidRequest(
                "This text is too long for the model's tokenizer to read; send a shorter one.",
                code="context_length_exceeded",
            )
        return tokens

    def _bound(self) -> int:
        """At how many tokens the tokenizer cuts; 0 if it does not."""
        text = " 0" * _LONGEST_CUT
        shorter, longer = (len(self._encode(part, False)) for part in (text, text + text))
        return shorter if shorter == longer else 0

    def _encode(self, text: str, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).input_ids.data[0].tolist()
        return [int(id_) for id_ in ids]

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.vocabulary.bytes, tokens)).decode(errors="replace")

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """The chat as the model's template writes it. ``arguments`` are further variables of the template.

        With ``continue_final_message`` the text ends with the last message's content, as it was given. Raises
        InvalidRequest where the template refuses the messages.
        """
        if not self.has_chat_template:
            raise InvalidRequest("This model has no chat template; use /v1/completions.", param="messages")
        if not continue_final_message:
            return self._apply(messages, add_generation_prompt, arguments)
        # Templates trim and close the last message. A mark at the end of its text shows where that is.
        mark = f"[{secrets.token_hex(16)}]"
        *earlier, last = messages
        text = self._apply([*earlier, {**last, "content": f"{last['content']}{mark}"}], False, arguments)
        before, found, _ = text.rpartition(mark)
        if not found:
            raise InvalidRequest(
                "This model's chat template does not write the final message out, so it cannot be continued.",
                param="continue_final_message",
            )
        return before

    def _apply(
        self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, arguments: Mapping[str, Any] | None
    ) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), add_generation_prompt, extra_context=dict(arguments) if arguments else None
            )
        except RuntimeError as error:
            raise InvalidRequest(
                f"The model's chat template refuses these messages: {_template_error(str(error))}", param="messages"
            ) from None
        return text

    def _special(self, pieces: Sequence[bytes]) -> list[int]:
        """The tokens that the detokenizer leaves out although they are text."""
        texts = self._tokenizer.decode([[token] for token in range(len(pieces))])
        return [token for token, text in enumerate(texts) if not text and pieces[token] and _is_text(pieces[token])]


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _template_error(text: str) -> str:
    _, _, reason = text.partition("Minja's error: ")
    return (reason or text).strip().splitlines()[0]
