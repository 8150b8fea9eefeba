from __future__ import annotations

import random
from pathlib import Path

import pytest

from headrace.workers.cpu import windows
from headrace.workers.cpu.tokenizer import Tokenizer

WORDS = [
    "The",
    " quick",
    "brown\n",
    " Ünïcode",
    "中文字符",
    " 12,345.67",
    "\n\n\tdef f(x):",
    "<|im_start|>",
    "émoji 🎉",
    "aaaa",
]


def reading(text: str) -> list[int]:
    """A tokenizer of pairs of letters: where it begins matters for an odd number of them, up to the next space."""
    tokens: list[int] = []
    for word in text.replace(" ", "\0 ").split("\0"):
        tokens += [int.from_bytes(word.encode()[at : at + 2], "big") for at in range(0, len(word.encode()), 2)]
    return tokens


def piece(token: int) -> bytes:
    return token.to_bytes(2 if token > 255 else 1, "big")


def test_windows_say_the_same_as_one_reading() -> None:
    text = " ".join("x" * random.Random(1).randint(1, 9) for _ in range(200))
    text = " ".join("abcdefgh"[: 1 + at * 7 % 8] for at in range(400)) + text
    whole = windows.encode(text, special=False, encode=lambda part, _: reading(part), piece=piece, window=200)
    assert whole == reading(text)


def test_readings_that_never_agree_are_no_reading() -> None:
    text = "x" * 1001
    assert windows.encode(text, special=False, encode=lambda part, _: reading(part), piece=piece, window=196) is None


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer(str(next(model_folder.glob("*.gguf"))))


@pytest.mark.parametrize("seed", range(5))
def test_small_windows_of_any_text_say_what_the_tokenizer_says(tokenizer: Tokenizer, seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choice(WORDS) for _ in range(1500))
    whole = tokenizer._encode(text, False)
    assert len(whole) < 8192
    parts = windows.encode(
        text,
        special=False,
        encode=tokenizer._encode,
        piece=tokenizer.vocabulary.pieces.__getitem__,
        window=700,
    )
    assert parts == whole


def test_a_text_of_more_than_8192_tokens_is_counted_whole(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("word " * 50_000, special=False)) == 50_001
    chinese = "水轮机" * 6000
    assert tokenizer.decode(tokenizer.encode(chinese, special=False)) == chinese
