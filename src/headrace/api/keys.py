"""Who is asking: API keys, verified from memory.

The snapshot of all keys is polled each second, so that a revocation is effective within two on every replica. A key
that it does not hold may be newer than it: such a request waits for the next poll, which all of them share and which
starts at most ten times a second, and only then is told 401. While the database does not answer, known keys work on
for 24 hours, and unknown ones get 503: nobody is refused or let in by guess.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from headrace.api.oidc import MAX_TOKEN, Oidc, is_token
from headrace.errors import ConfigError, Forbidden, HeadraceError, Overloaded, StoreError, Unauthorized
from headrace.store.keys import INFERENCE, KeyStore
from headrace.store.secret import MAX_KEY
from headrace.store.snapshot import MAX_AGE, Credential, Principal, Snapshot, load, save

_GAP = 0.1  # seconds between the beginnings of two polls
_SAVE_INTERVAL = 600.0  # seconds after which an unchanged snapshot is written again, for its date
_NEVER = float("-inf")

_UNKNOWN = "This API key is not known. Check it, or ask for a new one."

_log = logging.getLogger(__name__)


class Keyring:
    """Authenticates requests. Belongs to one event loop; the database is read in a thread."""

    def __init__(
        self,
        store: KeyStore,
        path: Path,
        *,
        oidc: Oidc | None = None,
        interval: float = 1.0,
        patience: float = 6.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``path`` is the snapshot's file; ``clock`` tells seconds since 1970; ``oidc``: None for no tokens.

        ``interval`` lies between polls; ``patience`` is what one may take, more than the database's own time limits.
        """
        self._store = store
        self._oidc = oidc
        self._path = path
        self._interval = interval
        self._patience = patience
        self._clock = clock
        self._monotonic = monotonic
        self._digest = store.pepper.digest
        self._snapshot = Snapshot(0, ())
        self._revision = -1  # of the last snapshot that came from the database
        self._saved_at = _NEVER
        self._believed_until = _NEVER  # monotonic
        self._began = _NEVER  # when the last poll did; monotonic
        self._number = 0  # of polls that began
        self._failure: HeadraceError | None = StoreError("they were not read yet")
        self._poll: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[Snapshot] | None = None
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the keys: from the database, else from the file. Raises ConfigError for a wrong pepper."""
        await self.refresh()
        if isinstance(self._failure, ConfigError):
            raise self._failure
        if self._failure is not None:
            await asyncio.to_thread(self._load)
        self._polling = asyncio.create_task(self._poll_forever())

    async def close(self) -> None:
        """Stop polling; afterwards nothing of this uses the store any more."""
        tasks = [task for task in (self._polling, self._poll) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=self._patience)

    def unready(self) -> str | None:
        """Why no key can be verified; None where they can."""
        return None if self._is_believable() else f"the keys are not known: {self._failure}"

    @property
    def failing(self) -> bool:
        """Whether the database did not answer the last time that it was asked."""
        return self._failure is not None

    async def refresh(self) -> None:
        """See every change that was committed before this call; where the database fails, the snapshot stays."""
        number = self._number + 1
        while self._number < number:  # the poll under way may have begun before the change
            if self._poll is None or self._poll.done():
                self._poll = asyncio.create_task(self._poll_once())
            await asyncio.shield(self._poll)

    async def authenticate(self, headers: Mapping[bytes, bytes], *, scope: str | None = INFERENCE) -> Principal:
        """The owner of the key in ``Authorization: Bearer`` or, without that header, in ``x-api-key``.

        Raises Unauthorized for a missing, unknown, expired or revoked key, Forbidden for one without ``scope``, and
        Overloaded where the database does not answer and the key is not among the known ones.
        """
        key = _key_in(headers)
        if len(key) > MAX_KEY or (self._oidc is not None and is_token(key)):
            return await self._by_token(key, scope)
        digest = self._digest(key)
        credential = self._snapshot.find(digest)
        if credential is None or not self._is_believable():
            credential = await self._look_up(digest)
        if credential.revoked:
            raise Unauthorized("This API key was revoked. Use another one.")
        if credential.expires <= self._clock():
            reason = "was replaced by a newer one" if credential.replaced else "has expired"
            raise Unauthorized(f"This API key {reason}. Use another one.")
        principal = credential.principal
        if scope is not None and scope not in principal.scopes:
            raise Forbidden(f"This needs a key with the scope {scope}.")
        return principal

    def principal(self, key_id: str) -> Principal | None:
        """The owner of a key that may be used, by its id: for work that goes on without its text."""
        credential = self._snapshot.named(key_id)
        if credential is None or credential.revoked or credential.expires <= self._clock():
            return None
        return credential.principal

    async def _by_token(self, token: bytes, scope: str | None) -> Principal:
        if self._oidc is None or len(token) > MAX_TOKEN or not is_token(token):
            raise Unauthorized(_UNKNOWN)
        claims = await self._oidc.verify(token)
        if not self._is_believable():
            raise Overloaded("Tenants cannot be looked up right now. Try again soon.", retry_after=self._interval)
        principal = self._snapshot.principal(claims.tenant, claims.who, claims.scopes)
        if principal is None:
            raise Forbidden(f"There is no tenant {claims.tenant!r} here, which this token names. Ask for it.")
        if scope is not None and scope not in principal.scopes:
            raise Forbidden(f"This needs a token with the scope headrace:{scope}.")
        return principal

    async def _look_up(self, digest: bytes) -> Credential:
        if self._failure is None:
            await self.refresh()
        credential = self._snapshot.find(digest)
        if self._failure is not None and (credential is None or not self._is_believable()):
            raise Overloaded("API keys cannot be verified right now. Try again soon.", retry_after=self._interval)
        if credential is None:
            raise Unauthorized(_UNKNOWN)
        return credential

    def _is_believable(self) -> bool:
        return self._monotonic() < self._believed_until

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.refresh()
            except Exception:  # noqa: BLE001 - a defect must not end the polls, or revocations would no longer be seen
                _log.exception("polling the keys failed")

    async def _poll_once(self) -> None:
        await asyncio.sleep(self._began + _GAP - self._monotonic())
        began = self._began = self._monotonic()
        self._number += 1
        try:
            snapshot = await self._read_in_thread()
        except (StoreError, ConfigError) as error:
            if self._failure is None:
                _log.warning("the key store fails; known keys work on", extra={"reason": str(error)})
            self._failure = error
            return
        if self._failure is not None:
            _log.info("the key store answers", extra={"keys": len(snapshot)})
        self._failure = None
        self._snapshot, self._revision = snapshot, snapshot.revision
        self._believed_until = began + MAX_AGE

    async def _read_in_thread(self) -> Snapshot:
        """At most one thread waits for the database, however long that hangs."""
        if self._reading is not None and not self._reading.done():
            raise StoreError("the database does not answer in time")
        self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        await asyncio.wait({self._reading}, timeout=self._patience)
        if not self._reading.done():
            self._reading.add_done_callback(_forget)
            raise StoreError("the database does not answer in time")
        return self._reading.result()

    def _read(self) -> Snapshot:
        snapshot = self._snapshot
        if self._store.revision() != self._revision:
            snapshot = Snapshot(*self._store.current(), self._store.tenants())
        now = self._clock()
        if snapshot is not self._snapshot or now >= self._saved_at + _SAVE_INTERVAL:
            self._saved_at = now
            try:
                save(snapshot, now, self._path, self._store.pepper)
            except OSError as error:
                _log.warning("the keys cannot be saved for a time without the database", extra={"reason": str(error)})
        return snapshot

    def _load(self) -> None:
        try:
            self._snapshot, saved_at = load(self._path, self._store.pepper, self._clock())
        except StoreError as error:
            self._failure = StoreError(f"{self._failure}, and {error}")
            return
        self._believed_until = self._monotonic() + MAX_AGE - (self._clock() - saved_at)
        _log.warning("the key store fails; using the saved keys", extra={"reason": str(self._failure)})


def _key_in(headers: Mapping[bytes, bytes]) -> bytes:
    authorization = headers.get(b"authorization")
    if authorization is None:
        key = headers.get(b"x-api-key", b"")
    elif authorization[:7].lower() == b"bearer ":
        key = authorization[7:].strip()
    else:
        raise Unauthorized("The Authorization header must have the form: Bearer <key>.")
    if not key:
        raise Unauthorized("No API key was given: send the header Authorization: Bearer <key>.")
    return key


def _forget(reading: asyncio.Task[Snapshot]) -> None:
    """Nobody waits for it any more; its error was told as a time-out."""
    if not reading.cancelled():
        reading.exception()
