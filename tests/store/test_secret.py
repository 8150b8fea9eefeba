from __future__ import annotations

import hmac
import multiprocessing
from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.store.secret import Pepper, id_of, load_pepper, new_id, new_key


def test_a_key_names_its_id_and_holds_256_bits() -> None:
    key_id = new_id()
    key = new_key(key_id)
    assert id_of(key) == key_id
    assert key.startswith(f"hr-{key_id}-")
    assert 62 ** len(key.rpartition("-")[2]) > 2**256
    assert new_key(key_id) != key


@pytest.mark.parametrize("key", ["", "sk-abc", "hr-short-x", "hr-0123456789ab-" + "!" * 43, "x" + new_key(new_id())])
def test_other_texts_have_no_id(key: str) -> None:
    assert id_of(key) is None


def test_digests_are_hmacs_of_the_whole_key() -> None:
    """Stored digests must stay valid: when this fails, the code is wrong, never the test."""
    secret = hmac.digest(b"0123456789abcdef", b"headrace keys", "sha256")
    expected = hmac.digest(secret, b"some key", "sha256")
    pepper = Pepper("0123456789abcdef")
    assert pepper.digest(b"some key") == pepper.digest(b"some key") == expected
    assert pepper.sign(b"some key") != expected
    assert Pepper("0123456789abcdeF").digest(b"some key") != expected


def test_hashes_of_any_number_of_keys_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.store.secret._KNOWN", 3)
    secret = hmac.digest(b"0123456789abcdef", b"headrace keys", "sha256")
    pepper = Pepper("0123456789abcdef")
    for _ in range(2):
        for number in range(10):
            key = b"key %d" % number
            assert pepper.digest(key) == hmac.digest(secret, key, "sha256")
    assert len(pepper._known) <= 3


def test_a_short_pepper_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 16 characters"):
        Pepper("short")


def test_the_pepper_is_made_once_and_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = load_pepper(home)
    assert load_pepper(home).fingerprint == first.fingerprint
    assert (home / "pepper").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == ["pepper"]
    assert load_pepper(tmp_path / "other").fingerprint != first.fingerprint


def test_processes_that_start_together_share_one_pepper(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_fingerprint, [tmp_path] * 8))) == 1


def _fingerprint(home: Path) -> str:
    return load_pepper(home).fingerprint


def test_a_pepper_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_pepper(tmp_path)
    (tmp_path / "pepper").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_pepper(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64])
def test_a_broken_pepper_is_refused(tmp_path: Path, content: bytes) -> None:
    load_pepper(tmp_path)
    (tmp_path / "pepper").write_bytes(content)
    with pytest.raises(ConfigError, match="pepper"):
        load_pepper(tmp_path)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigError, match="cannot be used as the pepper"):
        load_pepper(tmp_path / "home")
