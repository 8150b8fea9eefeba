"""A router without its network: delivers a stream whose workers break, each at some share of its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace.router.resume.continuation import Tokenize
from headrace.router.resume.replay import ReplayMemory
from headrace.router.resume.resumption import Resumption


def whole_events(data: bytes) -> bytes:
    """What a relay has passed on when its worker breaks here."""
    ends = [data.rfind(end) + len(end) for end in (b"\n\n", b"\n\r\n") if end in data]
    return data[: max(ends, default=0)]


async def deliver(
    path: str,
    body: bytes,
    stream: Callable[[dict[str, Any] | None, int], bytes],
    breaks: Sequence[float],
    tokenize: Tokenize,
) -> bytes:
    """What the client got in the end. ``stream(asked, number)`` is what worker ``number`` answers; None: ``body``.

    Raises NotResumable.
    """
    replay = ReplayMemory(1 << 30).open(0)
    assert replay is not None
    answer = stream(None, 0)
    replay.keep(whole_events(answer[: int(len(answer) * breaks[0])]))
    if not replay.events():
        return answer  # not begun: done again
    for worker, share in enumerate([*breaks[1:], 1.0], 1):
        resumption = Resumption(path, body, replay)
        if resumption.finished:
            return replay.events() + await resumption.usage(tokenize) + resumption.end()
        planned = await resumption.plan(tokenize)
        if planned.exhausted:
            return replay.events() + resumption.cut_off(planned)
        splice = resumption.splice(planned)
        answer = stream(planned.document, worker)
        sent = whole_events(answer[: int(len(answer) * share)])
        for piece in sent.split(b"\n\n")[:-1]:
            replay.keep(splice.on_events(piece + b"\n\n"))
            if resumption.stopped:
                return replay.events() + await resumption.usage(tokenize) + resumption.end()
    return replay.events()
