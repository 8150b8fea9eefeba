"""Languages, sizes, themes, and everybody's way to use the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chat import Chat
from tests.browser.scripted import Reply, ScriptedApi

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

RICH = """# Title

Some **bold** text, `code`, a [link](https://example.org) and $a^2 + b^2$.

| a | b |
|---|---|
| 1 | 2 |

```python
print("hello")  # a comment
```

- [x] done
- [ ] open

> quoted
"""


def rich(api: ScriptedApi) -> None:
    api.chat = lambda _: Reply([RICH], reasoning="Let me think.")


def test_no_violation_in_any_state(api: ScriptedApi, page: Page, stage: str) -> None:
    rich(api)
    chat = Chat(page, stage)
    page.goto(stage)
    expect(page.get_by_label("API key")).to_be_visible()
    found = {"sign-in": chat.violations()}
    chat.sign_in("hr-x")
    found["empty"] = chat.violations()
    chat.ask("Show me everything")
    expect(page.locator("math").first).to_be_visible()
    expect(page.locator(".hljs-string").first).to_be_visible()
    found["answer"] = chat.violations()
    api.chat = lambda _: Reply(status=503, message="All workers are busy.", headers={"retry-after": "30"})
    chat.ask("More")
    found["failure"] = chat.violations()
    page.locator(".model-picker").click()
    found["menu"] = chat.violations()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+E")
    found["settings"] = chat.violations()
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    found["shortcuts"] = chat.violations()
    page.keyboard.press("Escape")
    page.emulate_media(color_scheme="dark")
    found["dark"] = chat.violations()
    page.set_viewport_size({"width": 390, "height": 780})
    page.get_by_role("button", name="Hide conversations").click()
    found["mobile, dark"] = chat.violations()
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_chinese(api: ScriptedApi, browser: Browser, stage: str) -> None:
    with browser.new_context(locale="zh-CN") as context:
        page = context.new_page()
        page.goto(stage)
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        page.get_by_label("API 密钥").fill("hr-x")
        page.get_by_role("button", name="登录").click()
        box = page.get_by_placeholder("输入消息")
        box.fill("你好")
        box.press("Enter")
        expect(page.locator(".numbers")).to_contain_text("词元")
        assert Chat(page, stage).violations() == []
        page.get_by_role("button", name="语言").click()
        page.get_by_role("menuitemradio", name="English").click()
        expect(page.get_by_placeholder("Write a message")).to_be_visible()
        expect(page.locator(".numbers")).to_contain_text("tokens")
        page.reload()
        expect(page.get_by_placeholder("Write a message")).to_be_visible()


def test_enter_belongs_to_the_input_method_while_it_composes(played: Chat, api: ScriptedApi) -> None:
    played.box.fill("ni hao")
    played.box.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    expect(played.box).to_have_value("ni hao")
    assert api.requests == []


def test_a_phone(api: ScriptedApi, browser: Browser, stage: str) -> None:
    rich(api)
    with browser.new_context(viewport={"width": 360, "height": 720}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        chat = Chat(page, stage)
        chat.sign_in("hr-x")
        expect(page.locator(".sidebar")).to_be_hidden()
        chat.ask("Show me everything")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Show conversations").tap()
        expect(page.locator(".sidebar")).to_be_visible()
        page.locator(".history a").tap()
        expect(page.locator(".sidebar")).to_be_hidden()
        assert chat.violations() == []


def test_everything_by_keyboard(played: Chat) -> None:
    page = played.page
    played.ask("Hello")
    page.keyboard.press("Control+Shift+O")
    expect(played.answers).to_have_count(0)
    page.keyboard.press("Control+Shift+S")
    expect(page.locator(".sidebar")).to_be_hidden()
    page.locator("main").focus()
    page.keyboard.press("/")
    expect(played.box).to_be_focused()
    page.keyboard.press("?")
    expect(played.box).to_have_value("?")
    picker = page.locator(".model-picker")
    picker.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitemradio", name="small")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".model-name")).to_have_text("seeing")
    expect(picker).to_be_focused()
    picker.press("Control+Shift+E")
    expect(page.get_by_label("System prompt")).to_be_focused()
    page.keyboard.press("Escape")
    expect(picker).to_be_focused()
    page.keyboard.press("?")
    page.get_by_label("Shortcuts of a single key").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_finished_answers_are_announced_and_words_are_not(played: Chat, api: ScriptedApi) -> None:
    api.chat = lambda _: Reply(["word "] * 30, pause=0.02)
    status = played.page.locator("main [role=status]")
    played.ask("Hello", wait=False)
    played.wait_words(10)
    expect(status).to_be_empty()
    played.wait_done()
    expect(status).to_contain_text("The answer is complete. word word")


def test_nothing_moves_for_who_wants_it_so(played: Chat, api: ScriptedApi) -> None:
    played.page.emulate_media(reduced_motion="reduce")
    api.chat = lambda _: Reply(before=2)
    played.ask("Hello", wait=False)
    pulse = played.page.locator(".waiting .pulse")
    expect(pulse).to_be_visible()
    assert pulse.evaluate("element => getComputedStyle(element).animationName") == "none"
