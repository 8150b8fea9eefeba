"""How fast an engine is and how much it holds: frozen numbers, measured or assumed, each set a file in ``engines/``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import msgspec

from headrace.errors import ConfigError

_SETS = resources.files("headrace.simulate") / "engines"


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """One engine. A step takes ``step + prefill · chunk + sequence · decoding + context · KV tokens`` seconds."""

    name: str
    measured: bool
    """False: assumed, by scaling a measured set or from data sheets; ``source`` says how."""
    source: str
    step: float
    """Seconds of a step, whatever is in it."""
    prefill: float
    """Seconds for each prompt token that it computes."""
    sequence: float
    """Seconds for each sequence that gets its next token."""
    context: float
    """Seconds for each token of these sequences' KV cache."""
    chunk: int
    """Tokens in one step at most, of prompts and of sequences together."""
    max_running: int
    kv_tokens: int
    """Tokens that the KV cache holds, those of past requests included."""
    slo_first: float
    """Seconds to a first token that count as good."""
    slo_token: float
    """Seconds for each further token, on average over an answer, that count as good."""

    def request_seconds(self, prompt: float, output: float) -> float:
        """Of an engine, for one request of a full batch without any cached prompt: what its capacity is."""
        batch = max(1.0, min(self.max_running, self.kv_tokens / (prompt + output)) / 2)
        token = self.step / batch + self.sequence + self.context * (prompt + output / 2)
        return self.prefill * prompt + token * output


def load(name: str) -> Constants:
    """A set by name, or from a file. Raises ConfigError."""
    known = names()
    path = _SETS / f"{name}.json" if name in known else Path(name)
    if not path.is_file():
        raise ConfigError(f"simulate: there are no constants {name!r}; there are {', '.join(known)}, or name a file")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Constants)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{name}: these are no engine's constants: {error}") from None


def names() -> list[str]:
    """The sets that are there."""
    return sorted(file.name.removesuffix(".json") for file in _SETS.iterdir() if file.name.endswith(".json"))
