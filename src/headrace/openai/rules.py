"""What a request may ask for: bounds, fields that are not for clients, and where media may come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.errors import InvalidRequest

FORBIDDEN = frozenset(
    {
        "priority",  # would overtake other tenants
        "cache_salt",  # would share or poison another tenant's prefix cache
        "kv_transfer_params",  # would read another request's KV cache
        "ec_transfer_params",
        "disaggregated_params",
        "chat_template",  # a program that runs inside the engine
        "vllm_xargs",
        "lora_request",  # a path on the worker's disk
        "prompt_embeds",  # a serialised tensor, loaded by the engine
        "request_id",  # could name another request
        "mm_processor_kwargs",  # how large a picture becomes, and so how much of the worker's memory it takes
        "media_io_kwargs",  # how many frames of a video are read
    }
)
"""Engine extras that hand a tenant somebody else's power."""

_TEMPLATE_ARGUMENTS = frozenset({"chat_template", "tokenize"})  # these override the engine's own call of the template
_HTTP_URL = re.compile(r"https?://([A-Za-z0-9.-]+)(?::\d{1,5})?(?:/[^\s\\]*)?")


@dataclass(frozen=True, slots=True)
class Rules:
    """The bounds of one alias or of the whole gateway; an alias derives its own by ``dataclasses.replace``."""

    n: int = 16
    """Most choices, ``best_of`` included."""
    logprobs: int = 20
    """Most alternatives per token; ``prompt_logprobs`` included."""
    stop: int = 16
    """Most stop strings, and most stop token ids."""
    messages: int = 8192
    inputs: int = 2048
    """Most prompts or texts in one request."""
    forbidden: frozenset[str] = FORBIDDEN
    media_hosts: frozenset[str] = frozenset()
    """Host names, in lower case, that media may be fetched from; ``data:`` URLs are always allowed."""

    def check_names(self, document: Mapping[str, object]) -> None:
        """Refuse fields that are not for clients."""
        for name in document:
            if name in self.forbidden:
                raise InvalidRequest(f"{name}: is not allowed here; remove it.", param=name)

    def check_template_arguments(self, arguments: Mapping[str, object]) -> None:
        """The back door to a forbidden ``chat_template``."""
        for name in _TEMPLATE_ARGUMENTS & arguments.keys():
            if name in self.forbidden or "chat_template" in self.forbidden:
                path = f"chat_template_kwargs.{name}"
                raise InvalidRequest(f"{path}: is not allowed here; remove it.", param=path)

    def check_media_name(self, path: str) -> None:
        """The back door to a forbidden ``cache_salt``: another tenant's medium could be cached under the same name."""
        if "cache_salt" in self.forbidden:
            raise InvalidRequest(f"{path}: is not allowed here; remove it.", param=path)

    def check_count(self, name: str, count: int, limit: int, unit: str = "") -> None:
        if count > limit:
            raise InvalidRequest(f"{name}: must be at most {limit}{unit}, not {count}.", param=name)

    def check_media(self, path: str, url: str) -> None:
        """Allow ``data:`` URLs and the listed hosts.

        The form of an http URL is narrow on purpose, so that no two parsers can see different hosts in it.
        """
        if url.startswith("data:"):
            return
        match = _HTTP_URL.fullmatch(url)
        if match is None or match[1].lower() not in self.media_hosts:
            hosts = f", or be on one of these hosts: {', '.join(sorted(self.media_hosts))}" if self.media_hosts else ""
            raise InvalidRequest(f"{path}: must be a data: URL{hosts}.", param=path)
