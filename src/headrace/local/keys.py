"""The first API key of this machine."""

from __future__ import annotations

import enum
import hmac
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from headrace.config import ApiSettings
from headrace.store.keys import KeyStore


class Origin(enum.Enum):
    MADE = "made now"
    GIVEN = "given from outside, and valid"
    EARLIER = "made at an earlier start"


@dataclass(frozen=True, slots=True)
class FirstKey:
    """``text`` is the key in clear where it was made now; nobody keeps it."""

    origin: Origin
    text: str = ""
    ignored: bool = False
    """A key was given, but there were other keys already and it is none of them."""


def first_key(api: ApiSettings, home: Path, given: str) -> FirstKey:
    """Make the first key in the store of llm-api, unless there is one; ``given`` is taken instead of a random one."""
    with closing(KeyStore.open(home, database=api.database, pepper=api.pepper)) as store:
        made = store.bootstrap(given or None)
        if made is not None:
            return FirstKey(Origin.GIVEN) if given else FirstKey(Origin.MADE, made)
        if given and _is_valid(store, given):
            return FirstKey(Origin.GIVEN)
        return FirstKey(Origin.EARLIER, ignored=bool(given))


def _is_valid(store: KeyStore, text: str) -> bool:
    digest = store.pepper.digest(text.encode())
    _, keys = store.current()
    return any(key.revoked_at is None and hmac.compare_digest(key.digest, digest) for key in keys)
