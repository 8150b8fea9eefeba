"""Long answers and long conversations stay smooth; the figures are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.browser.conftest import Figure
from tests.browser.scripted import Reply, ScriptedApi

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

TOKENS = 20_000
MESSAGES = 500
HITCH = 250.0
"""Milliseconds: half of all frames may not take longer even on a machine that is busy with other things."""

PARAGRAPH = "Water runs **down** the race and turns the wheel, `all` day long, as [they](https://example.org) say. "
SECTION = [
    *("## The wheel\n\n", PARAGRAPH, PARAGRAPH, "\n\n- one\n- two\n  - three\n\n"),
    *("```python\n", "def turn(wheel: int) -> int:\n", "    return wheel + 1\n", "```\n\n"),
    *("| a | b |\n|---|---|\n", "| 1 | 2 |\n", "| 3 | 4 |\n\n", "$$P = \\rho g Q H$$\n\n"),
]

WATCH = """() => {
  const frames = window.frames_ = [];
  let before = performance.now();
  const next = now => { frames.push(now - before); before = now; window.watching_ = requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""
SEEN = "() => { cancelAnimationFrame(window.watching_); return window.frames_; }"


def report(figure: Figure, what: str, frames: list[float]) -> float:
    ordered = sorted(frames[1:])

    def part(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    figure(
        f"{what}: {len(ordered)} frames, p50 {part(0.5):.1f} ms, p95 {part(0.95):.1f} ms, worst {ordered[-1]:.1f} ms"
    )
    return part(0.5)


def words(count: int) -> list[str]:
    """About one token each."""
    text = "".join(SECTION)
    pieces = text.replace(" ", " \0").split("\0")
    return (pieces * (count // len(pieces) + 1))[:count]


def test_an_answer_of_20_000_tokens(played: Chat, api: ScriptedApi, figure: Figure) -> None:
    said = words(TOKENS)
    api.chat = lambda _: Reply(["".join(said[at : at + 8]) for at in range(0, TOKENS, 8)], pause=0.004)
    played.ask("Tell me everything", wait=False)
    played.wait_words()
    played.page.evaluate(WATCH)
    played.wait_done()
    assert report(figure, "20,000 tokens as they come", played.page.evaluate(SEEN)) < HITCH
    assert played.page.locator(".message-assistant .heading").count() >= len("".join(said).split("## ")) - 1
    bottom = "() => { const b = document.querySelector('main'); return b.scrollHeight - b.scrollTop - b.clientHeight; }"
    assert played.page.evaluate(bottom) < 80, "the newest line is in sight"


def test_a_conversation_of_500_messages(played: Chat, api: ScriptedApi, figure: Figure, tmp_path: Path) -> None:
    page = played.page
    text = "".join(SECTION)
    messages: list[dict[str, Any]] = [
        {
            "id": str(index),
            "parent": str(index - 1) if index else None,
            "role": "assistant" if index % 2 else "user",
            "text": f"{index}: {text if index % 2 else PARAGRAPH}",
            "at": index,
        }
        for index in range(MESSAGES)
    ]
    conversation = {"head": {"title": "Long", "leaf": str(MESSAGES - 1)}, "messages": messages}
    file = tmp_path / "long.json"
    file.write_text(json.dumps({"format": "headrace.conversations", "version": 1, "conversations": [conversation]}))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="More", exact=True).click()
        page.get_by_role("menuitem", name="Import…").click()
    chooser.value.set_files(file)
    page.locator(".history a").click()
    expect(played.answers).to_have_count(MESSAGES // 2)
    opened = page.evaluate(
        """async () => {
          location.hash = '';
          await new Promise(done => setTimeout(done, 500));
          const begun = performance.now();
          document.querySelector('.history a').click();
          while (document.querySelectorAll('.message').length < 500) await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          return performance.now() - begun;
        }"""
    )
    figure(f"500 messages: opened in {opened:.0f} ms")
    page.evaluate(WATCH)
    page.evaluate(
        """async () => {
          const box = document.querySelector('main');
          for (let step = 0; step < 60; step++) { box.scrollTop -= 900; await new Promise(requestAnimationFrame); }
        }"""
    )
    assert report(figure, "500 messages, scrolled", page.evaluate(SEEN)) < HITCH
    api.chat = lambda _: Reply(["word "] * 200, pause=0.01)
    played.ask("And one more", wait=False)
    page.evaluate(WATCH)
    played.wait_done()
    assert report(figure, "500 messages, and one more that comes", page.evaluate(SEEN)) < HITCH
    page.evaluate(WATCH)
    played.box.press_sequentially("typing goes on as ever", delay=20)
    assert report(figure, "500 messages, typing", page.evaluate(SEEN)) < HITCH
