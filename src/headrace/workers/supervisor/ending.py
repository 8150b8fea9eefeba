"""Why an engine ended, as an exit code and one sentence.

The exit code is the worker's own, so that an operator (and Kubernetes) sees the cause without the log. Codes below 64
are left to the command line (1: any other error, 2: wrong settings or an unusable model folder).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """The worker's exit codes; those of the BSD ``sysexits.h`` where one fits."""

    OK = 0
    BAD_MODEL = 65
    """EX_DATAERR: the engine refuses the model's files."""
    NO_GPU = 69
    """EX_UNAVAILABLE: the engine finds no GPU that it can use."""
    ENGINE_FAILED = 70
    """EX_SOFTWARE: it ended for another reason, again and again."""
    OUT_OF_MEMORY = 71
    """EX_OSERR: of the GPU or of the machine."""
    CUT = 75
    """EX_TEMPFAIL: the drain ran out of time and requests were cut."""
    WEDGED = 76
    """It stopped making progress, again and again."""
    BAD_ARGUMENTS = 78
    """EX_CONFIG: the engine refuses its command line."""


@dataclass(frozen=True, slots=True)
class Ending:
    """``reason`` is one sentence; ``final`` is whether starting the engine again cannot help."""

    exit: Exit
    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Clue:
    """A line in an engine's log that tells why it ended."""

    pattern: re.Pattern[str]
    exit: Exit
    advice: str


def clue(pattern: str, exit_: Exit, advice: str) -> Clue:
    return Clue(re.compile(pattern), exit_, advice)


COMMON_CLUES = (
    clue(
        r"CUDA out of memory|OutOfMemoryError|DefaultCPUAllocator: (can't|not enough)|Cannot allocate memory",
        Exit.OUT_OF_MEMORY,
        "lower the context length, the KV cache or max_running, spread the model over more GPUs, or quantise it",
    ),
    clue(
        r"No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device|CUDA driver version is insufficient"
        r"|No GPU devices found",
        Exit.NO_GPU,
        "give the container a GPU (nvidia.com/gpu, or --gpus) and a driver that fits the engine's CUDA",
    ),
    clue(
        r"SafetensorError|HeaderTooLarge|InvalidHeaderDeserialization|MetadataIncompleteBuffer|incomplete metadata"
        r"|UnpicklingError|PytorchStreamReader",
        Exit.BAD_MODEL,
        "a weight file is damaged: run `headrace models verify`, delete the model and pull it again",
    ),
    clue(
        r"does not appear to have a file named|Cannot find any model weights|No such file or directory: '.*(safetensors"
        r"|config\.json|tokenizer)|Unrecognized model in|is not a local folder and is not a valid model identifier",
        Exit.BAD_MODEL,
        "the model's folder is incomplete: delete it and pull the model again",
    ),
    clue(r"[Aa]ddress already in use", Exit.BAD_ARGUMENTS, "another program has the port: stop it or choose another"),
)
"""What torch, CUDA, safetensors and transformers say, whatever engine uses them."""


def explain(code: int, log: Sequence[str], clues: Iterable[Clue]) -> Ending:
    """The first clue that a line of the log fits, the earliest line first: later ones are consequences."""
    clues = tuple(clues)
    for line in log:
        for known in clues:
            if known.pattern.search(line):
                return Ending(known.exit, f"{line.strip()[:300]}: {known.advice}", final=True)
    last = _last_words(log)
    return Ending(Exit.ENGINE_FAILED, f"the engine {describe_code(code)}" + (f": {last}" if last else ""))


def describe_code(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def oom_kills(events: Path = Path("/sys/fs/cgroup/memory.events")) -> int:
    """How many processes of this container the kernel has killed for memory (cgroup v2); 0 where nothing tells."""
    with contextlib.suppress(OSError, ValueError):
        for line in events.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def leave_note(ending: Ending, path: Path = Path("/dev/termination-log")) -> None:
    """Tell Kubernetes: the file that it made for the container becomes the pod's termination message."""
    if ending.exit is Exit.OK:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY)  # never created: elsewhere there is none
        try:
            os.write(descriptor, ending.reason.encode()[:4096])
        finally:
            os.close(descriptor)


def _last_words(log: Sequence[str]) -> str:
    errors = [line for line in log if re.search(r"\b\w*(Error|Exception)\b:", line)]
    return errors[-1].strip()[:300] if errors else ""
