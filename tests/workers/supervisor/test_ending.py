from __future__ import annotations

from pathlib import Path

import pytest

from headrace.workers.supervisor.ending import COMMON_CLUES, Ending, Exit, explain, leave_note, oom_kills

HEADER = "safetensors_rust.SafetensorError: Error while deserializing header: header too large"


@pytest.mark.parametrize(
    ("line", "exit_"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", Exit.OUT_OF_MEMORY),
        ("RuntimeError: No CUDA GPUs are available", Exit.NO_GPU),
        (HEADER, Exit.BAD_MODEL),
        ("OSError: [Errno 98] Address already in use", Exit.BAD_ARGUMENTS),
        ("OSError: /model/x does not appear to have a file named config.json.", Exit.BAD_MODEL),
    ],
)
def test_a_line_of_the_log_tells_why(line: str, exit_: Exit) -> None:
    ending = explain(1, ["INFO loading", line, "RuntimeError: engine core failed"], COMMON_CLUES)
    assert ending.exit is exit_
    assert ending.final
    assert ending.reason.startswith(line[:100])


def test_the_earliest_clue_counts() -> None:
    ending = explain(1, [HEADER, "CUDA out of memory"], COMMON_CLUES)
    assert ending.exit is Exit.BAD_MODEL


def test_an_end_without_a_clue_may_be_tried_again_and_tells_the_last_error() -> None:
    ending = explain(3, ["ValueError: first", "KeyError: last", "bye"], COMMON_CLUES)
    assert ending == Ending(Exit.ENGINE_FAILED, "the engine ended with exit code 3: KeyError: last")


def test_signals_have_names() -> None:
    assert explain(-11, [], ()).reason == "the engine was ended by SIGSEGV"
    assert explain(-64, [], ()).reason.startswith("the engine was ended by ")


def test_the_kernel_counts_what_it_killed_for_memory(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\n")
    assert oom_kills(events) == 2
    assert oom_kills(tmp_path / "absent") == 0


def test_the_reason_becomes_the_pods_termination_message(tmp_path: Path) -> None:
    note = tmp_path / "termination-log"
    note.touch()
    leave_note(Ending(Exit.NO_GPU, "no GPU"), note)
    assert note.read_text() == "no GPU"


def test_nothing_is_written_where_there_is_no_such_file_or_nothing_to_say(tmp_path: Path) -> None:
    leave_note(Ending(Exit.NO_GPU, "no GPU"), tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    note = tmp_path / "termination-log"
    note.touch()
    leave_note(Ending(Exit.OK, "drained"), note)
    assert note.read_text() == ""
