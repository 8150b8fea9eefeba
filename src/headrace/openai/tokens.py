"""``POST /tokenize`` and ``/detokenize``: the requests, as vLLM has them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, get_args

from msgspec import Meta

from headrace.errors import InvalidRequest
from headrace.openai.chat import Message, PartType, Role, Tool, check_messages, with_system
from headrace.openai.request import Fields, Request, TokenId
from headrace.openai.rules import Rules


class TokenizeFields(Fields, kw_only=True, gc=False):
    prompt: str | None = None
    messages: Annotated[list[Message], Meta(min_length=1)] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class TokenizeRequest(Request[TokenizeFields]):
    """The tokens of a text, or of a conversation as a generation would start from it."""

    __slots__ = ()
    kind = TokenizeFields
    choices: ClassVar = {"role": get_args(Role), "type": get_args(PartType)}

    def check(self, rules: Rules) -> None:
        super().check(rules)
        fields = self.fields
        if (fields.prompt is None) == (fields.messages is None):
            raise InvalidRequest("prompt: send either prompt or messages.", param="prompt")
        if fields.chat_template_kwargs:
            rules.check_template_arguments(fields.chat_template_kwargs)
        if fields.messages is not None:
            check_messages(fields.messages, rules)

    def instruct(self, text: str) -> None:
        """Put a system prompt in front of the messages."""
        self.document["messages"] = with_system(self.document["messages"], text)
        self.fields = self._view()


class DetokenizeFields(Fields, kw_only=True, gc=False):
    tokens: list[TokenId]


class DetokenizeRequest(Request[DetokenizeFields]):
    """The text of tokens."""

    __slots__ = ()
    kind = DetokenizeFields
