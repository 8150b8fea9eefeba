"""The texts of the benchmark, and the batches that the bare backend gets of them."""

from __future__ import annotations

import random

import numpy as np
from tokenizers import Tokenizer

from headrace.workers.bert.backend import Batch
from headrace.workers.bert.folder import ModelFolder
from headrace.workers.bert.queue import padded

_LONGEST = 300
"""Words."""


def tokenizer(folder: ModelFolder) -> Tokenizer:
    """The model's own; it cuts to what the model reads."""
    found = Tokenizer.from_file(str(folder.tokenizer))
    found.no_padding()
    found.enable_truncation(folder.context)
    return found


def texts(words: Tokenizer, count: int, seed: int) -> list[str]:
    """Words of the model's own vocabulary, in lengths that are log-normal as those of real texts are."""
    dice = random.Random(seed)
    vocabulary = sorted(word for word in words.get_vocab() if word.isalpha())
    lengths = [min(_LONGEST, max(1, int(dice.lognormvariate(3.6, 0.9)))) for _ in range(count)]
    return [" ".join(dice.choices(vocabulary, k=length)) for length in lengths]


def cut(items: list[str], size: int) -> list[list[str]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]


def batches(rows: list[list[int]], budget: int) -> list[Batch]:
    """The rows by length, in batches of at most ``budget`` tokens with padding."""
    groups: list[list[list[int]]] = [[]]
    for row in sorted(rows, key=len):
        if groups[-1] and padded(len(row)) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(row)
    return [_pad(group) for group in groups]


def _pad(rows: list[list[int]]) -> Batch:
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.zeros((len(rows), padded(int(lengths.max()))), np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    return Batch(ids, lengths, lengths)
