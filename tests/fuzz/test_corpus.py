"""Inputs that were worth keeping: whatever the cuts, they come to the same, and to nothing that must not be."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from headrace.errors import ConnectionLost, WireError
from headrace.wire.exchange import Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.reader import RequestReader, Unfinished
from headrace.wire.relay import Relay
from tests.wire.test_relay_properties import HEAD, Client

CORPUS = Path(__file__).parent / "corpus"
REFUSED = {"bad-line", "two-lengths", "both-framings", "no-host", "connect"}


def files(kind: str) -> list[Path]:
    return sorted((CORPUS / kind).iterdir())


Read = tuple[str, str, bytes, tuple[tuple[bytes, bytes], ...], bytes]


def requests(*pieces: bytes) -> tuple[list[Read], bool]:
    """What was read, and whether it was refused in the end."""
    reader = RequestReader(ServerLimits(), Unfinished(), "", lambda _: None)
    for piece in pieces:
        if piece and reader.error is None:
            reader.feed(piece)
    found = [(one.method, one.path, one.query, tuple(one.headers.items()), bytes(one.body)) for one in reader.requests]
    return found, reader.error is not None


@pytest.mark.parametrize("file", files("requests"), ids=lambda file: file.stem)
def test_requests(file: Path) -> None:
    data = file.read_bytes()
    whole = requests(data)
    assert whole[1] == (file.stem in REFUSED)
    assert not any(one[1] == "/smuggled" for one in whole[0])
    assert requests(*(data[at : at + 1] for at in range(len(data)))) == whole
    for cut in range(1, len(data)):
        assert requests(data[:cut], data[cut:]) == whole, cut


def events(*pieces: bytes) -> tuple[bytes, bool]:
    """What the client got, and whether the stream is complete."""
    client, lost = Client(), list[WireError]()

    class Noted(Relay):
        def fail(self, error: WireError) -> None:
            lost.append(error)

    relay = Noted(cast(Exchange, client), lambda head: [])
    relay.on_head(HEAD)
    for piece in pieces:
        if piece:
            relay.on_data(piece, None)
    relay.on_end()
    assert all(isinstance(error, ConnectionLost) for error in lost)
    return b"".join(client.pieces), not lost


@pytest.mark.parametrize("file", files("events"), ids=lambda file: file.stem)
def test_events(file: Path) -> None:
    data = file.read_bytes()
    whole = events(data)
    assert whole[1] == (file.stem != "cut")
    assert data.startswith(whole[0].removesuffix(b"\n\n"))
    assert events(*(data[at : at + 1] for at in range(len(data)))) == whole
    for cut in range(1, len(data)):
        assert events(data[:cut], data[cut:]) == whole, cut
