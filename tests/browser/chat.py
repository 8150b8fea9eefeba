"""What a person does on the page, and what they see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

expect.set_options(timeout=60_000)

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Chat:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def short(self, tokens: int = 12) -> None:
        """Answers have so many tokens at most, in all new conversations; to be called before the page is opened."""
        self.prepare(defaults=json.dumps({"system": "", "parameters": {"max_tokens": tokens, "temperature": 0}}))

    def prepare(self, **device: str) -> None:
        """Put something where the page keeps what is the device's, unless it is there already."""
        for name, value in device.items():
            stored = f"localStorage.getItem({json.dumps(f'headrace.{name}')})"
            put = f"localStorage.setItem({json.dumps(f'headrace.{name}')}, {json.dumps(value)})"
            self.page.add_init_script(f"if ({stored} === null) {put}")

    def sign_in(self, key: str) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.box).to_be_visible()
        expect(self.page.locator(".model-name")).to_be_visible()

    @property
    def box(self) -> Locator:
        return self.page.locator(".composer textarea")

    @property
    def questions(self) -> Locator:
        return self.page.locator(".message-user")

    @property
    def answers(self) -> Locator:
        return self.page.locator(".message-assistant")

    @property
    def stop(self) -> Locator:
        return self.page.get_by_role("button", name="Stop", exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def text(self, index: int = -1) -> str:
        """The text of an answer, as it is now."""
        body = self.answers.nth(index).locator(".markdown, :scope > .text")
        return body.inner_text() if body.count() else ""

    def ask(self, text: str, *, wait: bool = True) -> None:
        self.box.fill(text)
        self.page.keyboard.press("Enter")
        if wait:
            self.wait_done()

    def wait_done(self) -> None:
        expect(self.stop).to_have_count(0)
        expect(self.answers.last.locator(".actions, .notice").first).to_be_visible()

    def wait_words(self, least: int = 20) -> str:
        """Wait until the answer on its way has so many letters; its text."""
        self.page.wait_for_function(
            "([least, where]) => (document.querySelector(where)?.textContent ?? '').length >= least",
            arg=[least, ".message-assistant:last-of-type .markdown"],
        )
        return self.text()

    def drop(self, name: str, text: str) -> None:
        """Drop a text file on the composer."""
        transfer = self.page.evaluate_handle(
            "([name, text]) => { const t = new DataTransfer(); t.items.add(new File([text], name)); return t; }",
            [name, text],
        )
        self.page.dispatch_event(".composer", "drop", {"dataTransfer": transfer})

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA, with its best practices."""
        self.page.evaluate(AXE.read_text())
        found: list[dict[str, Any]] = self.page.evaluate(
            "async rules => (await axe.run(document, { runOnly: rules })).violations", RULES
        )
        return [f"{item['id']}: {node['html'][:200]}" for item in found for node in item["nodes"]]
