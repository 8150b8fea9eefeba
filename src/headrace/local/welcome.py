"""What `headrace up` prints once: the key, the addresses, and a line to try."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from headrace.local.keys import FirstKey, Origin
from headrace.local.sign_in import LASTS
from headrace.local.stack import Stack


def key_line(key: FirstKey, another: str) -> str:
    """``another``: the command that makes a key."""
    match key.origin:
        case Origin.MADE:
            return f"Your API key, shown only now: {key.text}"
        case Origin.GIVEN:
            return "Your API key is the one in HEADRACE_BOOTSTRAP_KEY."
        case Origin.EARLIER if key.ignored:
            return f"HEADRACE_BOOTSTRAP_KEY is ignored: there are keys already. Another one: {another}"
        case Origin.EARLIER:
            return f"Your API key was shown when it was made. Another one: {another}"


def another_key(program: str, home: Path) -> str:
    """The command that makes one here: as this program was called, on the same state."""
    called = program if Path(program).name == "headrace" else "headrace"
    place = "" if home == Path("~/.headrace").expanduser() else f"HEADRACE_HOME={shlex.quote(str(home))} "
    return f"{place}{shlex.quote(called)} keys create NAME"


def ready(stack: Stack, key: FirstKey, link: str, seconds: float, logs: Path) -> str:
    """``link`` opens the page signed in; ``seconds`` is how long the start took."""
    rows = [("Page", stack.web)] if stack.web else []
    rows += [("", f"{link}  (signed in; once, within {LASTS / 60:.0f} minutes)")] if link else []
    rows += [("API", f"{stack.api}/v1"), ("Logs", str(logs))]
    rows += [("Prometheus", stack.monitoring)] if stack.monitoring else []
    width = max(len(name) for name, _ in rows)
    lines = [f"Headrace is ready ({seconds:.1f} s)."]
    lines += [f"  {name:<{width}} {value}" for name, value in rows]
    if stack.chat_model:
        lines += [_try_it(key), f"  {curl(stack, key)}"]
    return "\n".join([*lines, "Ctrl-C stops it."])


def curl(stack: Stack, key: FirstKey) -> str:
    """A line that streams an answer of the stack's chat model."""
    body = {"model": stack.chat_model, "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    return (
        f"curl -N {stack.api}/v1/chat/completions -H {_bearer(key)} "
        f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
    )


def _try_it(key: FirstKey) -> str:
    return "Try it, with your key in HEADRACE_KEY:" if key.origin is Origin.EARLIER else "Try it:"


def _bearer(key: FirstKey) -> str:
    match key.origin:
        case Origin.MADE:
            return f"'Authorization: Bearer {key.text}'"
        case Origin.GIVEN:
            return '"Authorization: Bearer $HEADRACE_BOOTSTRAP_KEY"'
        case Origin.EARLIER:
            return '"Authorization: Bearer $HEADRACE_KEY"'
