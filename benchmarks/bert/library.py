"""sentence-transformers, in a Python of its own: the model is loaded once, and each line on its input is one round."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bert.server import Timing

_PROGRAM = """
import json, sys, time
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = json.load(open(sys.argv[2]))
model.encode(texts[:64])
print("ready", flush=True)
for _ in sys.stdin:
    began, cpu = time.perf_counter(), time.process_time()
    model.encode(texts, batch_size=32)
    print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]), flush=True)
"""


class Library:
    """Encodes all texts in one call, batch 32 (its default), sorted by length as it does itself; f32."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def encode(self) -> Timing:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        wall, cpu = json.loads(self.line())
        return Timing(wall, cpu)

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("sentence-transformers ended; its messages are above")
        return line


@contextmanager
def sentence_transformers(python: Path, model: Path, texts: Sequence[str]) -> Iterator[Library]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        process = subprocess.Popen(
            [str(python), "-c", _PROGRAM, str(model), file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        library = Library(process)
        try:
            library.line()
            yield library
        finally:
            process.kill()
            process.communicate()
