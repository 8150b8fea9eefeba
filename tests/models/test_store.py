from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from headrace.errors import ModelError
from headrace.models import manifest
from headrace.models.manifest import Manifest, measure
from headrace.models.store import Store, show_size

PLENTY = 1 << 40


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models", free=lambda _: PLENTY)


def fill(folder: Path, weights: bytes) -> None:
    (folder / "m.gguf").write_bytes(weights)
    Manifest(
        pull="org/m",
        source="here",
        revision="1",
        license=None,
        architecture="llama",
        context=8192,
        files=measure(folder),
    ).write(folder)


@pytest.fixture
def filled(store: Store, llama: bytes) -> Store:
    with store.staging("m", 10) as staged:
        fill(staged, llama)
    return store


def test_staged_model_is_found(filled: Store, llama: bytes) -> None:
    model = filled.find("m")
    assert (model.path, model.format, model.engines) == (filled.directory / "m", "gguf", ("cpu",))
    assert model.size == len(llama) + (model.path / manifest.NAME).stat().st_size
    assert filled.complete("m") is not None


def test_nothing_appears_when_the_block_fails(store: Store, llama: bytes) -> None:
    def interrupted() -> None:
        with store.staging("m", 10) as staged:
            fill(staged, llama)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.models() == []
    assert not (store.directory / ".partial" / "m").exists()


def test_rest_of_a_killed_pull_is_cleared(store: Store) -> None:
    left = store.directory / ".partial" / "m"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    with store.staging("m", 10) as staged:
        assert list(staged.iterdir()) == []


def test_resuming_keeps_what_is_there(store: Store) -> None:
    def interrupted() -> None:
        with store.staging("m", 10, resume=True) as staged:
            (staged / "half").write_bytes(b"x")
            raise ModelError("later")

    with pytest.raises(ModelError, match="later"):
        interrupted()
    with store.staging("m", 10, resume=True) as staged:
        assert (staged / "half").read_bytes() == b"x"


def test_new_copy_replaces_the_old(filled: Store, llama: bytes) -> None:
    with filled.staging("m", 10) as staged:
        (staged / "new").write_bytes(b"")
        fill(staged, llama)
    assert (filled.directory / "m" / "new").exists()
    assert [path.name for path in (filled.directory / ".partial").iterdir()] == ["lock"]


def test_folder_of_somebody_else_is_not_replaced(store: Store) -> None:
    (store.directory / "m").mkdir(parents=True)
    with pytest.raises(ModelError, match="was not pulled by Headrace: move it away"), store.staging("m", 10):
        pass
    assert (store.directory / "m").is_dir()


def test_too_little_disk(tmp_path: Path) -> None:
    store = Store(tmp_path / "models", free=lambda _: 100_000_000)
    with (
        pytest.raises(ModelError, match=r"m needs 117\.1 MB in .* and 100\.0 MB are free: .* HEADRACE_HOME"),
        store.staging("m", 50_000_000),
    ):
        pass


def test_resuming_needs_only_the_rest(tmp_path: Path) -> None:
    store = Store(tmp_path / "models", free=lambda _: (64 << 20) + 5)
    (store.directory / ".partial" / "m").mkdir(parents=True)
    (store.directory / ".partial" / "m" / "half").write_bytes(b"12345")
    with store.staging("m", 10, resume=True) as staged:
        assert (staged / "half").exists()


def test_one_pull_at_a_time(store: Store) -> None:
    (store.directory / ".partial").mkdir(parents=True)
    with (store.directory / ".partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another pull is writing"), store.staging("m", 10):
            pass


def test_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelError, match="cannot be written to"), Store(tmp_path / "models").staging("m", 10):
        pass


def test_full_disk(store: Store) -> None:
    with pytest.raises(ModelError, match="cannot be written: No space left"), store.staging("m", 10):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_unknown_model_names_those_there(filled: Store) -> None:
    with pytest.raises(ModelError, match=r"no model 'x' in .* \(m there\): run `headrace models pull`"):
        filled.find("x")


def test_no_store_has_no_models(store: Store) -> None:
    assert store.models() == []
    with pytest.raises(ModelError, match="no models there"):
        store.find("m")


def test_file_that_is_cut_off_is_not_served(filled: Store, llama: bytes) -> None:
    (filled.directory / "m" / "m.gguf").write_bytes(llama[:-1])
    assert filled.complete("m") is None
    with pytest.raises(ModelError, match=r"m\.gguf is missing or cut off: delete .* `headrace models pull org/m`"):
        filled.find("m")


def test_folder_without_manifest_is_listed(store: Store, llama: bytes) -> None:
    (store.directory / "own").mkdir(parents=True)
    (store.directory / "own" / "own.gguf").write_bytes(llama)
    assert [(model.name, model.problem) for model in store.models()] == [("own", None)]


def test_listing_says_what_is_wrong(store: Store) -> None:
    (store.directory / "empty").mkdir(parents=True)
    (model,) = store.models()
    assert "holds no model" in (model.problem or "")


def test_verify_passes_a_whole_model(filled: Store) -> None:
    filled.verify("m")
    assert filled.find("m").problem is None


def test_verify_names_the_broken_file(filled: Store, llama: bytes) -> None:
    (filled.directory / "m" / "m.gguf").write_bytes(llama[:-1] + b"\x01")
    with pytest.raises(ModelError, match=r"m\.gguf was changed.*delete .* and run `headrace models pull org/m`"):
        filled.verify("m")


def test_verify_without_a_manifest_checks_what_the_files_tell(store: Store, llama: bytes) -> None:
    own = store.directory / "own"
    own.mkdir(parents=True)
    (own / "m.gguf").write_bytes(llama)
    assert store.verify("own") is False
    (own / "m.gguf").write_bytes(llama[:-1])
    with pytest.raises(ModelError, match="is not a whole GGUF file"):
        store.verify("own")


def test_a_pull_that_is_not_complete_is_told(store: Store) -> None:
    half = store.directory / ".partial" / "half"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"12345")
    assert store.partial() == {"half": 5}
    assert store.models() == []
    with pytest.raises(ModelError, match="half is fetched in part only"):
        store.find("half")


def test_verify_of_an_unknown_model(store: Store) -> None:
    with pytest.raises(ModelError, match="no model 'x'"):
        store.verify("x")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 kB"), (98_379_789, "98.4 MB"), (1_500_000_000, "1.50 GB"), (-5, "0.0 kB")]
)
def test_sizes(count: int, text: str) -> None:
    assert show_size(count) == text
