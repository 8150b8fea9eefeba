"""The file of the aliases: read at the start, and again when it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.api.aliases.book import AliasBook
from headrace.errors import ConfigError
from headrace.openai.rules import Rules

GOOD = "aliases:\n  a: {model: m}\n"


def replace(path: Path, text: str) -> None:
    """As editors and ConfigMaps do: another file under the same name."""
    other = path.with_suffix(".new")
    other.write_text(text, encoding="utf-8")
    os.replace(other, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "aliases.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


async def test_a_change_is_seen(path: Path) -> None:
    book = AliasBook(path, Rules())
    replace(path, "aliases:\n  b: {model: m}\n")
    await book.look()
    assert ([alias.name for alias in book.all()], book.stale) == (["b"], False)


@pytest.mark.parametrize(
    "text",
    [
        "aliases: [",
        "aliases: {a: {modle: m}}",
        "aliases: {a: {}}",
        "- x",
        "\ud800",
        "aliases: {a: {model: 2026-99-99}}",
        "aliases: {a: {model: !!bool x}}",
        "aliases: {a: {model: !!timestamp x}}",
        "aliases: {a: {model: m, bounds: {max_tokens: {max: .inf}}}}",
        "aliases: {a: {model: m, bounds: {max_tokens: {max: .nan}}}}",
        "aliases: {a: {model: m, defaults: &itself {x: *itself}}}",
    ],
)
async def test_a_bad_file_keeps_the_old_one_and_says_so(path: Path, text: str) -> None:
    book = AliasBook(path, Rules())
    before = book.find("a")
    other = path.with_suffix(".new")
    other.write_bytes(text.encode("utf-8", "surrogatepass"))
    os.replace(other, path)
    await book.look()
    assert book.find("a") is before is not None
    assert book.stale
    replace(path, GOOD)
    await book.look()
    assert not book.stale


async def test_a_file_that_is_gone_keeps_the_aliases(path: Path) -> None:
    book = AliasBook(path, Rules())
    os.unlink(path)
    await book.look()
    assert book.find("a") is not None
    assert book.stale


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aliases: [", "not valid YAML"),
        ("aliases: {a: {modle: m}}", r"unknown field `modle` - at `\$.aliases"),
        ("aliases: {a: {}}", "aliases.a: give either model or targets"),
        ("alias: {}", "unknown field"),
    ],
)
def test_a_bad_file_at_the_start_is_an_error_that_names_the_place(path: Path, text: str, words: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        AliasBook(path, Rules())
    assert str(path) in str(caught.value)


def test_a_missing_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        AliasBook(tmp_path / "absent", Rules())


def test_an_empty_file_has_no_aliases(path: Path) -> None:
    path.write_text("", encoding="utf-8")
    assert not list(AliasBook(path, Rules()).all())


async def test_without_a_file_there_is_nothing_to_watch() -> None:
    book = AliasBook(None, Rules())
    await book.look()
    await book.run()
    assert book.find("a") is None
