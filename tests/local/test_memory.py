from __future__ import annotations

from pathlib import Path

from headrace.local.memory import available_mib

MIB = 1024 * 1024


def limits(folder: Path, maximum: str, current: int, stat: str = "anon 1\n") -> Path:
    (folder / "memory.max").write_text(maximum + "\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(stat)
    return folder


def test_without_a_control_group_the_machine_counts(tmp_path: Path) -> None:
    assert available_mib(tmp_path) > 0


def test_a_container_has_what_its_limit_leaves(tmp_path: Path) -> None:
    assert available_mib(limits(tmp_path, str(10 * MIB), 7 * MIB)) == 3


def test_file_cache_is_given_up_first(tmp_path: Path) -> None:
    assert available_mib(limits(tmp_path, str(10 * MIB), 7 * MIB, f"anon 1\ninactive_file {2 * MIB}\n")) == 5


def test_a_group_over_its_limit_has_nothing(tmp_path: Path) -> None:
    assert available_mib(limits(tmp_path, str(5 * MIB), 7 * MIB)) == 0


def test_a_group_without_a_limit_is_the_machine(tmp_path: Path) -> None:
    assert available_mib(limits(tmp_path, "max", 7 * MIB)) > 7
