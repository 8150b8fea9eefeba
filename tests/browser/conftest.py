"""A real headless Chromium before the real platform."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedApi, served
from tests.e2e.conftest import kept, models
from tests.e2e.stack import CHAT_MODEL, EMBEDDING_MODEL, WEB, Stack

__all__ = ["models"]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name that is no loopback address: what it serves is an insecure context, as on http://<ip> of another machine.
    "--host-resolver-rules=MAP plain.test 127.0.0.1",
]
TWO_WORKERS = [{"model": CHAT_MODEL, "count": 2}, {"model": EMBEDDING_MODEL}]
PATIENCE = 60_000.0
"""Milliseconds; generous, since other programs may keep this machine busy."""

NewPage = Callable[[], Page]
Figure = Callable[[str], None]

_FIGURES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(line)


@pytest.fixture
def figure(pytestconfig: pytest.Config) -> Figure:
    """Tells a figure at the end of the run."""
    return pytestconfig.stash.setdefault(_FIGURES, []).append


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB") as context:
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture
def new_page(context: BrowserContext) -> Iterator[NewPage]:
    """Pages that must neither throw, nor break their policy, nor talk to anybody else."""
    wrong: list[str] = []

    def new() -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
        return page

    yield new
    assert wrong == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture(scope="session")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stack]:
    config = {"router": {"cold_wait": 60}, "up": {"workers": TWO_WORKERS}}
    stack = Stack(tmp_path_factory.mktemp("stack"), models, config)
    with kept(pytestconfig, stack):
        stack.start()
        yield stack


@pytest.fixture
def stack(browser: Browser, running: Stack) -> Stack:
    running.wait_ready()
    return running


@pytest.fixture
def web(stack: Stack) -> str:
    return stack.child(WEB).url


@pytest.fixture
def chat(page: Page, stack: Stack, web: str) -> Chat:
    """The page, signed in on the real platform; answers are short unless a test wants otherwise."""
    chat = Chat(page, web)
    chat.short()
    chat.sign_in(stack.key)
    return chat


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi().running() as api:
        yield api


@pytest.fixture
def stage(browser: Browser, api: ScriptedApi, tmp_path: Path) -> Iterator[str]:
    """The page before an llm-api that plays a part."""
    with served(api, tmp_path) as url:
        yield url


@pytest.fixture
def played(page: Page, stage: str) -> Chat:
    """The page, signed in on the stage."""
    chat = Chat(page, stage)
    chat.sign_in("hr-anything")
    return chat


def link_of(stack: Stack) -> str:
    """The one-time link that `headrace up` printed."""
    found = re.search(r"http://\S+/#sign-in=\S+", stack.logs()["up.log"])
    assert found is not None
    return found.group()
