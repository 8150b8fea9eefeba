"""How fast bert-worker is: the bare backend, the worker over HTTP, its peers, and a short request among bulk ones.

    python -m benchmarks.bert [MODEL_FOLDER] [--texts 2000] [--rounds 3] [--peers FOLDER] [--single 400] [--short 200]

The texts are words of the model's own vocabulary in mixed lengths (log-normal, seeded). The bare backend gets them
tokenised and sorted by length, in batches of the worker's budget, all streams busy: the most that it can do. The matrix
products alone, with nothing between them, are the most that the processor can do. Over HTTP the servers are processes
of their own, and the clients and their JSON share the machine with them; CPU is that of the process under test alone.
The parts take turns in each round; ratios are taken within a round. ``--peers`` names the folder that
``scripts/peers.sh`` makes: sentence-transformers, which encodes the texts in one call as a library, and infinity, over
HTTP. ``--single`` is how many of the texts the parts of one text a call take; ``--short`` how often one short text is
sent, alone and behind bulk calls.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bert import texts as making
from benchmarks.bert.latency import short_among_bulk
from benchmarks.bert.library import sentence_transformers
from benchmarks.bert.products import products
from benchmarks.bert.report import table
from benchmarks.bert.server import Server, Timing, bert_worker, infinity
from headrace.workers.bert import folder
from headrace.workers.bert.backend import Batch
from headrace.workers.bert.openvino import OpenVinoBackend

_BUDGET = 1024
_CALL = 32
_CLIENTS, _SINGLE_CLIENTS = 8, 64

Parts = dict[str, Callable[[], Timing]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=Path(".headrace/models/all-minilm-l6-v2"))
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--single", type=int, default=400)
    parser.add_argument("--short", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="the folder of scripts/peers.sh")
    arguments = parser.parse_args()
    model = folder.read(arguments.model)
    tokenizer = making.tokenizer(model)
    texts = making.texts(tokenizer, arguments.texts, seed=1)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    print(f"{len(texts)} texts, seed 1, {sum(map(len, rows))} tokens; budget {_BUDGET}; median (least-most) of rounds")
    backend = OpenVinoBackend(model)
    batches = making.batches(rows, _BUDGET)
    single = making.batches(rows[: arguments.single], _BUDGET)
    with ExitStack() as stack:
        servers = {"worker": stack.enter_context(bert_worker(arguments.model, _BUDGET))}
        bulk: Parts = {"bare": lambda: _bare(backend, batches)}
        alone: Parts = {"bare": lambda: _bare(backend, single)}
        references = {"bare": "bare"}
        if model.encoder is not None:
            bulk["matrix products alone"] = products(model.encoder, backend.precision, sum(map(len, rows)), _BUDGET)
        if arguments.peers:
            peer = arguments.peers / "sentence-transformers" / "bin" / "python"
            library = stack.enter_context(sentence_transformers(peer, arguments.model, texts))
            bulk["sentence-transformers, f32"] = library.encode
            references["sentence-transformers, f32"] = "s-t"
            python = arguments.peers / "infinity" / "bin" / "python"
            servers["infinity, f32"] = stack.enter_context(infinity(python, arguments.model))
        for name, server in servers.items():
            bulk |= _bulk(name, server, texts)
            alone |= _alone(name, server, texts[: arguments.single])
        print(f"\nAll texts ({backend.precision}, {backend.streams} streams)")
        print(table(_measure(bulk, arguments.rounds), len(texts), references))
        print(f"\nThe first {arguments.single}, one text a call")
        print(table(_measure(alone, arguments.rounds), arguments.single, {"bare": "bare"}))
        print("\nOne short text at a time, ms")
        for name, server in servers.items():
            count = arguments.short if server.ops_port else 10  # behind bulk a call may take seconds
            print(f"{name:16}{short_among_bulk(server, texts, count)}", flush=True)


def _bulk(name: str, server: Server, texts: list[str]) -> Parts:
    calls = making.cut(texts, _CALL)
    parts: Parts = {f"{name}, calls of {_CALL} by {_CLIENTS}": lambda: server.calls(calls, _CLIENTS)}
    if server.ops_port:
        parts[f"{name}, the same, float"] = lambda: server.calls(calls, _CLIENTS, "float")
        parts[f"{name}, one call"] = lambda: server.calls([texts], 1)
    return parts


def _alone(name: str, server: Server, texts: list[str]) -> Parts:
    calls = making.cut(texts, 1)
    return {f"{name}, single texts by {_SINGLE_CLIENTS}": lambda: server.calls(calls, _SINGLE_CLIENTS)}


def _measure(parts: Parts, rounds: int) -> dict[str, list[Timing]]:
    measured: dict[str, list[Timing]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            measured[name].append(part())
    return measured


def _bare(backend: OpenVinoBackend, batches: list[Batch]) -> Timing:
    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(backend.streams) as pool:
        list(pool.map(backend.infer, batches))
    return Timing(time.perf_counter() - began, time.process_time() - cpu)


if __name__ == "__main__":
    main()
