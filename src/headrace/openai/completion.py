"""``POST /v1/completions``: the request."""

from __future__ import annotations

from headrace.openai.request import GenerationFields, GenerationRequest, Index, Prompt, check_prompt, prompt_count
from headrace.openai.rules import Rules


class CompletionFields(GenerationFields, kw_only=True, gc=False):
    prompt: Prompt
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Index | None = None


class CompletionRequest(GenerationRequest[CompletionFields]):
    """A text completion."""

    __slots__ = ()
    kind = CompletionFields
    served_by = ("text",)

    @property
    def n(self) -> int:
        """Sequences that are generated, over all prompts."""
        return super().n * prompt_count(self.fields.prompt)

    def check(self, rules: Rules) -> None:
        super().check(rules)
        check_prompt("prompt", self.fields.prompt, rules)
        if self.fields.logprobs is not None:
            rules.check_count("logprobs", self.fields.logprobs, rules.logprobs)
