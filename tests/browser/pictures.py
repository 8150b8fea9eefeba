"""The pictures of the documentation: ``python -m tests.browser.pictures`` writes docs/images anew.

The page is the real one on the real Caddy; what llm-api says is a script, so that the pictures stay the same.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.chat import Chat
from tests.browser.scripted import Reply, ScriptedApi, served

OUT = Path(__file__).parents[2] / "docs" / "images"
DESKTOP = {"width": 1200, "height": 760}
PHONE = {"width": 390, "height": 780}

QUESTION = "Compare a head race and a tail race, with a formula, a table and some code."
ANSWER = """A **head race** brings water *to* the wheel; a **tail race** carries it away. The power in between is

$$P = \\eta \\, \\rho \\, g \\, Q \\, H$$

where $Q$ is the flow in m³/s and $H$ the head in metres.

| | Head race | Tail race |
|---|---:|---:|
| Slope | 1 : 2000 | 1 : 500 |
| Velocity (m/s) | 0.6 | 1.4 |
| Lined | yes | rarely |

```python
def power(flow: float, head: float, efficiency: float = 0.85) -> float:
    return efficiency * 1000 * 9.81 * flow * head  # watts
```
"""
CHINESE_QUESTION = "请比较引水渠和尾水渠，并给出公式和表格。"
CHINESE = """**引水渠**把水引*向*水轮，**尾水渠**把水排走。两者之间的功率为

$$P = \\eta \\, \\rho \\, g \\, Q \\, H$$

其中 $Q$ 为流量（m³/s），$H$ 为水头（m）。

| | 引水渠 | 尾水渠 |
|---|---:|---:|
| 坡度 | 1 : 2000 | 1 : 500 |
| 流速（m/s） | 0.6 | 1.4 |

1. 测量上下游水位差。
2. 让引水渠的流速低一些，以减少水头损失。
"""
EARLIER = ["Where do herons sleep?", "A seal for a wooden sluice gate", "Translate the miller's contract"]


def main() -> None:
    OUT.mkdir(exist_ok=True)
    executable = shutil.which("chromium")
    assert executable is not None, "install Debian's chromium"
    with (
        tempfile.TemporaryDirectory() as state,
        ScriptedApi().running() as api,
        served(api, Path(state)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        _desktop(browser, api, url)
        _phone(browser, api, url)
        _operator(browser, url)
        browser.close()


@contextmanager
def _signed_in(browser: Browser, url: str, **options: object) -> Iterator[Chat]:
    with browser.new_context(reduced_motion="reduce", **options) as context:  # type: ignore[arg-type]
        chat = Chat(context.new_page(), url)
        chat.sign_in("hr-picture")
        yield chat


def _answer(text: str) -> Reply:
    limits = {"x-ratelimit-limit-tokens": "100000", "x-ratelimit-remaining-tokens": "99482"}
    return Reply(re.findall(r"\s*\S+", text), pause=0.01, headers={**limits, "x-headrace-queue-ms": "12"})


def _ask(chat: Chat, api: ScriptedApi, question: str, answer: str) -> None:
    api.chat = lambda _: _answer(answer)
    chat.ask(question)
    expect(chat.page.locator("math").first).to_be_visible()
    chat.page.locator("main").evaluate("main => { main.scrollTop = 0; document.activeElement.blur(); }")


def _desktop(browser: Browser, api: ScriptedApi, url: str) -> None:
    with _signed_in(browser, url, viewport=DESKTOP) as chat:
        for question in EARLIER:
            chat.page.get_by_role("link", name="New chat").click()
            chat.ask(question)
        chat.page.get_by_role("link", name="New chat").click()
        _ask(chat, api, QUESTION, ANSWER)
        _take(chat.page, "chat")
        chat.page.emulate_media(color_scheme="dark")
        _take(chat.page, "chat-dark")
    with _signed_in_chinese(browser, url) as page:
        box = page.get_by_placeholder("输入消息")
        api.chat = lambda _: _answer(CHINESE)
        box.fill(CHINESE_QUESTION)
        box.press("Enter")
        expect(page.locator(".numbers")).to_be_visible()
        expect(page.locator("math").first).to_be_visible()
        page.locator("main").evaluate("main => { main.scrollTop = 0; document.activeElement.blur(); }")
        _take(page, "chat-chinese")


@contextmanager
def _signed_in_chinese(browser: Browser, url: str) -> Iterator[Page]:
    with browser.new_context(reduced_motion="reduce", viewport=DESKTOP, locale="zh-CN") as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(url)
        page.get_by_label("API 密钥").fill("hr-picture")
        page.keyboard.press("Enter")
        yield page


def _phone(browser: Browser, api: ScriptedApi, url: str) -> None:
    with _signed_in(browser, url, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=1) as chat:
        _ask(chat, api, QUESTION, ANSWER)
        _take(chat.page, "chat-phone")


def _operator(browser: Browser, url: str) -> None:
    with _signed_in(browser, url, viewport=DESKTOP) as chat:
        chat.page.goto(f"{url}/#/operate")
        expect(chat.page.get_by_role("group", name="Keys")).to_be_visible()
        expect(chat.page.get_by_role("group", name="Usage")).to_be_visible()
        _take(chat.page, "operator")


def _take(page: Page, name: str) -> None:
    page.wait_for_timeout(300)
    page.screenshot(path=OUT / f"{name}.png")


if __name__ == "__main__":
    main()
