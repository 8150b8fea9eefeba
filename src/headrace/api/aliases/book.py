"""All aliases, from a file that is read again when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from headrace.api.aliases.alias import Alias, AliasFields
from headrace.errors import ConfigError
from headrace.openai.rules import Rules

log = logging.getLogger(__name__)

_INTERVAL = 1.0
"""Seconds between two looks at the file."""
_Stamp = tuple[int, int, int]


class AliasBook:
    """The aliases by name. A file that became wrong changes nothing: what was read last stays, and ``stale`` is set."""

    def __init__(self, path: Path | None, rules: Rules) -> None:
        """Raises ConfigError where the file cannot be used at the start. None: there are no aliases."""
        self.stale = False
        self._path = path
        self._rules = rules
        self._stamp = _stamp(path)
        self._aliases = {} if path is None else read(path, rules)

    def find(self, name: str) -> Alias | None:
        return self._aliases.get(name)

    def all(self) -> Iterable[Alias]:
        return self._aliases.values()

    async def run(self) -> None:
        """Watch the file until cancelled."""
        while self._path is not None:
            await asyncio.sleep(_INTERVAL)
            await self.look()

    async def look(self) -> None:
        """Read the file if it is not the one that was read last."""
        path = self._path
        if path is None:
            return
        stamp = await asyncio.to_thread(_stamp, path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._aliases = await asyncio.to_thread(read, path, self._rules)
        except ConfigError as error:
            self.stale = True
            log.warning("the aliases cannot be used; those from before stay", extra={"reason": str(error)})
            return
        self.stale = False
        log.info("aliases read", extra={"aliases": sorted(self._aliases)})


class _File(msgspec.Struct, forbid_unknown_fields=True):
    aliases: dict[str, AliasFields] = {}


def read(path: Path, rules: Rules) -> dict[str, Alias]:
    """The aliases in a YAML file. Raises ConfigError, which names the alias and the field."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    except (ValueError, LookupError, AttributeError):  # PyYAML's, for what only looks like a value (2026-99-99)
        raise ConfigError(f"{path}: holds a date, a number or a tag that cannot be read; quote it") from None
    try:
        file = msgspec.convert({} if document is None else document, _File)
        return {name: Alias(name, fields, rules) for name, fields in file.aliases.items()}
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: aliases.{error}") from None


def _stamp(path: Path | None) -> _Stamp | None:
    """What changes when the file does, also where it is a link that is turned to another one (a ConfigMap is)."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
