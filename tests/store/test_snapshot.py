from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.errors import StoreError
from headrace.store.keys import Key
from headrace.store.secret import Pepper
from headrace.store.snapshot import MAX_AGE, Snapshot, load, save

NOW = 1_800_000_000.0


def key(text: str, pepper: Pepper, **fields: Any) -> Key:
    values = {
        "id": "k",
        "tenant": "t",
        "name": "n",
        "scopes": ["inference"],
        "created_at": NOW,
        "limits": {"concurrency": 5},
    }
    return Key(**{**values, "digest": pepper.digest(text.encode()), **fields})


def test_a_key_is_found_by_its_digest(pepper: Pepper) -> None:
    snapshot = Snapshot(1, [key("a", pepper, id="1"), key("b", pepper, id="2", scopes=["admin"], models=["m"])])
    first, second = snapshot.find(pepper.digest(b"a")), snapshot.find(pepper.digest(b"b"))
    assert first is not None
    assert second is not None
    assert (first.principal.key_id, first.principal.admin, first.principal.limits) == ("1", False, {"concurrency": 5})
    assert (second.principal.key_id, second.principal.admin) == ("2", True)
    assert first.principal.allows("anything")
    assert second.principal.allows("m")
    assert not second.principal.allows("anything")
    assert snapshot.find(pepper.digest(b"c")) is None


def test_the_whole_digest_counts(pepper: Pepper) -> None:
    digest = pepper.digest(b"a")
    assert Snapshot(1, [key("a", pepper)]).find(digest[:16] + bytes(16)) is None


def test_a_replaced_secret_has_an_end_of_its_own(pepper: Pepper) -> None:
    old = pepper.digest(b"old")
    rotated = key("new", pepper, previous_digest=old, previous_until=NOW + 60, expires_at=NOW + 1000)
    snapshot = Snapshot(1, [rotated])
    before, after = snapshot.find(old), snapshot.find(rotated.digest)
    assert before is not None
    assert after is not None
    assert (before.expires, before.replaced) == (NOW + 60, True)
    assert (after.expires, after.replaced) == (NOW + 1000, False)
    assert before.principal == after.principal


def test_a_replaced_secret_does_not_outlive_its_key(pepper: Pepper) -> None:
    old = pepper.digest(b"old")
    rotated = key("new", pepper, previous_digest=old, previous_until=NOW + 60, expires_at=NOW + 10)
    before = Snapshot(1, [rotated]).find(old)
    assert before is not None
    assert before.expires == NOW + 10


def test_what_is_saved_is_loaded(pepper: Pepper, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "keys.snapshot"
    keys = (
        key("a", pepper),
        key("b", pepper, id="2", revoked_at=NOW, models=[], previous_digest=b"x", previous_until=NOW),
    )
    save(Snapshot(7, keys), NOW, path, pepper)
    snapshot, saved_at = load(path, pepper, NOW + MAX_AGE)
    assert (snapshot.revision, snapshot.keys, saved_at) == (7, keys, NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["keys.snapshot"]


def test_a_day_later_it_is_refused(pepper: Pepper, tmp_path: Path) -> None:
    save(Snapshot(7, []), NOW, tmp_path / "s", pepper)
    with pytest.raises(StoreError, match="older than 24 hours"):
        load(tmp_path / "s", pepper, NOW + MAX_AGE + 1)


@pytest.mark.parametrize("position", [0, 63, 70, -2])
def test_a_changed_file_is_refused(pepper: Pepper, tmp_path: Path, position: int) -> None:
    path = tmp_path / "s"
    save(Snapshot(7, [key("a", pepper)]), NOW, path, pepper)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is not signed with this pepper"):
        load(path, pepper, NOW)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"\xff\xfe\n{}"])
def test_a_broken_file_is_refused(pepper: Pepper, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(StoreError, match="is not signed with this pepper"):
        load(tmp_path / "s", pepper, NOW)


def test_another_pepper_is_refused(pepper: Pepper, tmp_path: Path) -> None:
    save(Snapshot(7, []), NOW, tmp_path / "s", pepper)
    with pytest.raises(StoreError, match="is not signed with this pepper"):
        load(tmp_path / "s", Pepper("another pepper altogether"), NOW)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"format": 2, "revision": 1, "saved_at": NOW, "keys": []}, "has the format 2; this version reads 1"),
        ({"format": 1}, "a version that this one cannot read"),
    ],
)
def test_another_format_is_refused(pepper: Pepper, tmp_path: Path, document: Any, words: str) -> None:
    content = msgspec.json.encode(document)
    (tmp_path / "s").write_bytes(pepper.sign(content).hex().encode() + b"\n" + content)
    with pytest.raises(StoreError) as caught:
        load(tmp_path / "s", pepper, NOW)
    assert words in str(caught.value)


def test_a_missing_file_is_told(pepper: Pepper, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        load(tmp_path / "none", pepper, NOW)


def test_a_failed_save_leaves_no_litter(pepper: Pepper, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(OSError, match="directory"):
        save(Snapshot(1, []), NOW, tmp_path / "s", pepper)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_key_knows_what_limits_it(pepper: Pepper) -> None:
    whole = {"tokens_per_minute": 100}
    snapshot = Snapshot(
        1,
        [
            key("a", pepper, id="1", tenant_limits=whole),
            key("b", pepper, id="2", limits={}, tenant_limits=whole),
            key("c", pepper, id="3", limits={}, tenant="other"),
        ],
    )
    found = [snapshot.find(pepper.digest(text)) for text in (b"a", b"b", b"c")]
    first, second, third = (one.principal.subjects for one in found if one is not None)
    assert [subject.name for subject in first] == ["key:1", "tenant:t"]
    assert second == first[1:]
    assert second[0] is first[1]
    assert third == ()
