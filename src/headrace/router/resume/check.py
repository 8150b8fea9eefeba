"""Which broken streams have no valid continuation."""

from __future__ import annotations

from typing import Any

from headrace.errors import NotResumable
from headrace.router.resume.sent import Sent

_STRUCTURED = (
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "guided_decoding",
    "json_schema",
    "regex",
    "ebnf",
    "grammar",
)
"""How engines are told to write in a form of which a second half is not the beginning."""


def check(document: dict[str, Any], sent: Sent) -> None:
    """Raises NotResumable for what cannot be gone on with."""
    if choices(document) > 1:
        raise NotResumable("n", "it has several choices")
    if sent.tools:
        raise NotResumable("tool_calls", "it holds more than text")
    if sent.reasoning and not sent.text:
        raise NotResumable("reasoning", "the model was still reasoning")
    if _structured(document):
        raise NotResumable("structured", "its output has a prescribed form")
    if any(_given(document.get(name)) for name in ("logprobs", "prompt_logprobs")):
        raise NotResumable("logprobs", "it has log-probabilities")
    if document.get("echo"):
        raise NotResumable("echo", "it repeats its prompt")
    if document.get("add_generation_prompt") is False and not document.get("continue_final_message"):
        raise NotResumable("raw_prompt", "its prompt opens no turn of the assistant")


def choices(document: dict[str, Any]) -> int:
    """Sequences that are generated, over all prompts."""
    prompt = document.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    return prompts * max(document.get("n") or 1, document.get("best_of") or 1)


def _given(value: Any) -> bool:
    return value is not None and value is not False  # 0 asks for the token's own


def _structured(document: dict[str, Any]) -> bool:
    form, tool = document.get("response_format"), document.get("tool_choice")
    if isinstance(form, dict) and form.get("type", "text") != "text":
        return True
    if isinstance(tool, dict) or tool == "required":
        return True
    return any(document.get(name) is not None for name in _STRUCTURED)
