"""A log of prompts, for tenants that agreed to it, without what could tell who wrote them.

It is a file of its own, never standard output. What personal data looks like is replaced first; that finds forms, not
meanings: a name in a sentence stays.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from headrace.api.record import Record
from headrace.errors import ConfigError
from headrace.openai.request import Request

_WAITING = 1_000
"""Prompts that may wait for the disk; what comes on top is dropped and counted."""
_TEXTS = ("messages", "prompt", "input", "query", "documents")

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("media", r"data:[\w.+-]+/[\w.+-]+(?:;[\w=-]+)*;base64,[A-Za-z0-9+/=]+"),
    ("secret", r"\b(?:sk|pk|hr|ghp|gho|xox[abp]|glpat)[-_][A-Za-z0-9_-]{12,}|\bAKIA[0-9A-Z]{16}\b"),
    ("secret", r"(?i:bearer)\s+[\w.~+/-]{12,}=*"),
    ("secret", r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    ("email", r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"),
    ("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("ip", r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b"),
    ("number", r"(?<![\w.])\+?\(?\d(?:[ ()./-]{0,2}\d){6,18}(?![\w])"),
)
"""Of cards, telephones, accounts and documents only the length of their numbers is known in common."""


class Redactor:
    """Replaces what looks like personal data or a secret by what it is: ``[email]``."""

    def __init__(self, more: Sequence[str] = ()) -> None:
        """``more``: regular expressions of the operator's own. Raises ConfigError for one that is none."""
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        for name, pattern in (*_PATTERNS, *(("redacted", one) for one in more)):
            try:
                self._patterns.append((re.compile(pattern), f"[{name}]"))
            except re.error as error:
                raise ConfigError(f"api.redact: {pattern!r} is not a regular expression: {error}") from None

    def text(self, text: str) -> str:
        for pattern, name in self._patterns:
            text = pattern.sub(name, text)
        return text

    def value(self, value: Any) -> Any:
        """A copy with every string redacted, at any depth."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {name: self.value(item) for name, item in value.items()}
        return value


class PromptLog:
    """Appends to a file, in a thread."""

    def __init__(self, path: Path, tenants: Collection[str], redactor: Redactor) -> None:
        """``tenants`` by id. Raises ConfigError for a file that cannot be written."""
        self.dropped = 0
        self._tenants = frozenset(tenants)
        self._redactor = redactor
        self._waiting = 0
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"api.prompt_log: {path}: {error.strerror}") from None
        self._thread = ThreadPoolExecutor(1, "prompt-log")

    def write(self, request: Request[Any], record: Record) -> None:
        """Take a request's prompt, if its tenant agreed. Never waits."""
        if record.tenant not in self._tenants:
            return
        if self._waiting >= _WAITING:
            self.dropped += 1
            return
        self._waiting += 1
        texts = {name: request.document[name] for name in _TEXTS if name in request.document}
        line = {
            "id": record.id,
            "at": time.time(),
            "tenant": record.tenant,
            "key": record.key,
            "model": record.model,
            "path": record.path,
        }
        self._thread.submit(self._append, line, texts)

    def close(self) -> None:
        """Write what waits."""
        self._thread.shutdown()
        os.close(self._descriptor)

    def _append(self, line: dict[str, Any], texts: dict[str, Any]) -> None:
        try:
            os.write(self._descriptor, msgspec.json.encode(line | self._redactor.value(texts)) + b"\n")
        except (OSError, RecursionError):
            self.dropped += 1
        finally:
            self._waiting -= 1
