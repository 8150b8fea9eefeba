"""API keys as text (``hr-<id>-<secret>``) and the pepper that they are hashed with."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import string
import tempfile
from pathlib import Path

from headrace.errors import ConfigError

MAX_KEY = 512
"""Longest key, in bytes."""

_BASE62 = string.digits + string.ascii_letters
_ID_LENGTH = 12
_SECRET_LENGTH = 43  # 256 bits
_KEY = re.compile(r"hr-([0-9A-Za-z]{12})-[0-9A-Za-z]{43}")
_LEAST_PEPPER = 16
_KNOWN = 16_384
"""Hashes that are kept, about 3 MB."""


def new_id() -> str:
    """12 random base62 digits: 71 bits."""
    return _random(_ID_LENGTH)


def new_key(key_id: str) -> str:
    """A key with a fresh secret of 256 bits."""
    return f"hr-{key_id}-{_random(_SECRET_LENGTH)}"


def id_of(key: str) -> str | None:
    """The id inside a key; None for a key of another form, such as one that somebody chose."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


class Pepper:
    """The secret beside the database: whoever has only one of the two can neither test nor forge a key.

    Keys are hashed and snapshots signed with HMAC-SHA-256 (RFC 2104), each under a secret of its own. Keys have 256
    random bits, so a slow hash would only slow us.
    """

    def __init__(self, secret: str) -> None:
        if len(secret) < _LEAST_PEPPER:
            raise ConfigError(
                f"the pepper must have at least {_LEAST_PEPPER} characters; `openssl rand -hex 32` makes one"
            )
        root = secret.encode()
        self._keys = hmac.new(hmac.digest(root, b"headrace keys", "sha256"), digestmod="sha256")
        self._files = hmac.new(hmac.digest(root, b"headrace files", "sha256"), digestmod="sha256")
        # OpenSSL takes longer for one HMAC than blake2b for three: what was hashed lately is found by a keyed blake2b,
        # so that no key itself is kept in memory.
        self._seal = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._known: dict[bytes, bytes] = {}
        self.fingerprint = hmac.digest(root, b"headrace fingerprint", "sha256").hex()
        """Tells peppers apart and says nothing about them."""

    def digest(self, key: bytes) -> bytes:
        """The hash of an API key, 32 bytes."""
        seal = self._seal.copy()
        seal.update(key)
        name = seal.digest()
        known = self._known.get(name)
        if known is None:
            keyed = self._keys.copy()  # keying again would cost as much as the hash
            keyed.update(key)
            known = keyed.digest()
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[name] = known
        return known

    def sign(self, content: bytes) -> bytes:
        """The signature of a file, 32 bytes."""
        keyed = self._files.copy()
        keyed.update(content)
        return keyed.digest()


def load_pepper(home: Path) -> Pepper:
    """The pepper in ``home/pepper``; the first caller makes it, readable by its owner alone.

    Raises ConfigError where the file cannot be used, or where others may read it.
    """
    path = home / "pepper"
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others may read it; run: chmod 600 {path}")
        return Pepper(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be used as the pepper: {error}") from None


def _make(path: Path) -> None:
    """Write the whole file first and link it into place, so that of two processes both read the same one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".pepper-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        os.unlink(temporary)


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))
