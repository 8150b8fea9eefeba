"""How an engine says, over a connection that is well, that it is dead.

vLLM's HTTP server outlives its engine for a moment: it answers 500, or ends a stream with an error event and a clean
[DONE] (``EngineDeadError`` in vllm/v1/engine/exceptions.py, 0.32). To us that is the same as a connection that was cut.
"""

from __future__ import annotations

from headrace.wire.response import Answer

_EVENT = b'data: {"error"'
"""Never inside of an event: there the quotes are escaped."""
_DEAD = b"EngineCore encountered an issue"


def died_in_stream(events: bytes) -> bool:
    """Whether these events of a stream say so."""
    return events.find(_EVENT) >= 0 and _DEAD in events  # find: half the price of "in", for every chunk


def died_in_answer(answer: Answer) -> bool:
    """Whether an answer that is no stream says so."""
    return answer.status == 500 and _DEAD in answer.body[:1000]
