from __future__ import annotations

import asyncio

import pytest

from headrace.errors import Overloaded
from headrace.telemetry.metrics import Registry
from headrace.workers.contract import Progress
from headrace.workers.cpu.detokenize import Vocabulary
from headrace.workers.cpu.generation import Choice, EngineLost, Generation, Piece
from headrace.workers.cpu.messages import Cancel, Command, Output, Sampling, Start, Step
from headrace.workers.cpu.metrics import CpuMetrics
from headrace.workers.cpu.plan import Plan
from headrace.workers.cpu.scheduler import Scheduler

VOCABULARY = Vocabulary([bytes([value]) for value in range(256)] + [b"<end>"], {256})
SAMPLING = Sampling(max_tokens=50)


def choice(stops: list[str], min_tokens: int = 0) -> Choice:
    return Choice(0, VOCABULARY, stops, Sampling(max_tokens=50, min_tokens=min_tokens))


def feed(choice: Choice, text: str | bytes, ended: str = "") -> Piece | None:
    return choice.feed(list(text.encode() if isinstance(text, str) else text), [], ended)


def test_half_a_character_is_no_piece() -> None:
    euro = choice([])
    assert feed(euro, "€".encode()[:1]) is None
    assert feed(euro, "€".encode()[1:]) == Piece(0, "€", [*"€".encode()], [], None)


def test_end_of_text_is_a_token_but_no_text() -> None:
    ended = choice([])
    assert ended.feed([104, 256], [], "stop") == Piece(0, "h", [104, 256], [], "stop")
    assert ended.count == 2


def test_stop_string_ends_it_within_a_step() -> None:
    stopped = choice(["lo"])
    assert feed(stopped, "hello world") == Piece(0, "hel", [*b"hello"], [], "stop", "lo")
    assert stopped.count == 5


def test_held_back_text_goes_out_at_the_end() -> None:
    held = choice(["END"])
    assert feed(held, "EN") is None
    assert feed(held, "", "length") == Piece(0, "EN", [*b"EN"], [], "length")


def test_log_probabilities_stay_with_their_tokens() -> None:
    held = choice(["END"])
    assert held.feed([*b"EN"], [-1.0, -2.0], "") is None
    assert held.feed([*b"x"], [-3.0], "") == Piece(0, "ENx", [*b"ENx"], [-1.0, -2.0, -3.0], None)


def test_stop_strings_wait_for_min_tokens() -> None:
    patient = choice(["a"], min_tokens=3)
    assert feed(patient, "aaa") == Piece(0, "aaa", [*b"aaa"], [], None)
    assert feed(patient, "ba") == Piece(0, "b", [*b"ba"], [], "stop", "a")


class Bench:
    def __init__(self, max_running: int = 4, max_waiting: int = 1) -> None:
        self.sent: list[Command] = []
        self.scheduler = Scheduler(max_running, max_waiting, Progress(), CpuMetrics(Registry()))
        self.scheduler.attach(self.sent.append)

    def generate(self, prompts: int = 1, n: int = 1, stops: list[str] | None = None) -> Generation:
        plan = Plan([[1, 2]] * prompts, [SAMPLING] * n, stops or [])
        return Generation(self.scheduler, VOCABULARY, plan)

    def ids(self) -> list[int]:
        return [command.id for command in self.sent if isinstance(command, Start)]

    def step(self, *outputs: Output) -> None:
        self.scheduler.stepped(Step(0, list(outputs)))


async def collect(generation: Generation) -> list[tuple[int, str, str | None]]:
    return [(piece.index, piece.text, piece.finish) async for piece in generation.pieces()]


async def test_choices_are_interleaved_and_counted() -> None:
    bench = Bench()
    generation = bench.generate(prompts=2, n=2)
    reading = asyncio.create_task(collect(generation))
    a, b, c, d = bench.ids()
    bench.step(*(Output(id_, [65 + id_], [], "") for id_ in (a, b, c, d)))
    await asyncio.sleep(0)
    bench.step(*(Output(id_, [256], [], "stop") for id_ in (d, c, b, a)))
    pieces = await reading
    assert sorted(pieces[:4]) == [(index, chr(66 + index), None) for index in range(4)]
    assert sorted(pieces[4:]) == [(index, "", "stop") for index in range(4)]
    assert (generation.prompt_tokens, generation.completion_tokens) == (4, 8)


async def test_steps_that_come_faster_than_they_are_read_become_one_piece() -> None:
    bench = Bench()
    generation = bench.generate()
    (id_,) = bench.ids()
    for byte in b"hello":
        bench.step(Output(id_, [byte], [], ""))
    bench.step(Output(id_, [], [], "length"))
    assert await collect(generation) == [(0, "hello", "length")]


async def test_stop_string_cancels_the_engine() -> None:
    bench = Bench()
    generation = bench.generate(stops=["\n"])
    (id_,) = bench.ids()
    bench.step(Output(id_, [*b"a\n"], [], ""))
    assert await collect(generation) == [(0, "a", "stop")]
    assert bench.sent[-1] == Cancel(id_)


async def test_close_cancels_what_is_open() -> None:
    bench = Bench()
    generation = bench.generate(n=2)
    a, b = bench.ids()
    bench.step(Output(a, [65], [], "stop"))
    async for _ in generation.pieces():
        break
    generation.close()
    assert bench.sent[-1] == Cancel(b)
    assert Cancel(a) not in bench.sent


async def test_engine_that_dies_is_told() -> None:
    bench = Bench()
    generation = bench.generate()
    bench.scheduler.detach()
    with pytest.raises(EngineLost):
        await collect(generation)


async def test_no_choice_starts_unless_all_fit() -> None:
    bench = Bench(max_running=2, max_waiting=1)
    with pytest.raises(Overloaded):
        bench.generate(n=4)
    assert bench.sent == []
