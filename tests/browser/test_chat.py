"""A person's way through the page, on the real platform."""

from __future__ import annotations

import gzip
import re
import urllib.request

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.conftest import Figure, NewPage, link_of
from tests.e2e.calls import Call
from tests.e2e.patience import wait_until
from tests.e2e.stack import CPU, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

FIRST_LOAD = 60 * 1024
SECOND_CPU = "cpu-worker-2"


def test_the_first_minute(page: Page, stack: Stack, new_page: NewPage) -> None:
    """The link of `headrace up` opens the page signed in, once; nobody pastes a key."""
    link = link_of(stack)
    chat = Chat(page, link)
    chat.short()
    page.goto(link)
    expect(chat.box).to_be_focused()
    assert "sign-in" not in page.url
    chat.ask("What is a water wheel?")
    assert chat.text()
    expect(page).to_have_title("What is a water wheel? – Headrace")
    numbers = chat.answers.last.locator(".numbers")
    expect(numbers).to_contain_text(re.compile(r"first word [\d.]+ s"))
    expect(numbers).to_contain_text(re.compile(r"\d+ \+ 12 tokens"))
    expect(numbers).to_contain_text(re.compile(r"queue \d+ ms"))
    second = new_page()  # of the same browser: signed in by the first one
    second.goto(chat.url.split("#")[0])
    expect(second.locator(".model-name")).to_be_visible()


def test_a_used_link_opens_nothing(page: Page, stack: Stack) -> None:
    page.goto(link_of(stack).partition("=")[0] + "=used-or-wrong")
    expect(page.get_by_label("API key")).to_be_visible()
    expect(page.locator(".note")).to_contain_text("used already or is too old")


def test_the_first_load_is_small(web: str, page: Page, figure: Figure) -> None:
    names: list[str] = []
    page.on("request", lambda request: names.append(request.url))
    page.goto(web)
    expect(page.get_by_label("API key")).to_be_visible()
    assert {name.split("/")[2] for name in names} == {web.split("/")[2]}, "no request leaves the origin"
    sizes = {}
    for name in names:
        with urllib.request.urlopen(urllib.request.Request(name, headers={"accept-encoding": "gzip"})) as answer:
            body = answer.read()
            sizes[name] = len(body if answer.headers["content-encoding"] == "gzip" else gzip.compress(body))
    figure(f"first load: {sum(sizes.values())} bytes in {len(sizes)} requests")
    assert sum(sizes.values()) <= FIRST_LOAD


def test_stop_and_continue(chat: Chat) -> None:
    chat.page.evaluate("localStorage.setItem('headrace.defaults', '{}')")
    chat.page.reload()
    chat.ask("Tell me a very long story about a river.", wait=False)
    chat.wait_words(40)
    chat.page.keyboard.press("Escape")
    chat.wait_done()
    expect(chat.answers.last).to_contain_text("Stopped.")
    text = chat.text()
    chat.button("Continue").click()
    chat.wait_words(len(text) + 20)
    chat.stop.click()
    chat.wait_done()
    assert chat.text().startswith(text.rstrip()[:-1])
    expect(chat.answers).to_have_count(1)


def test_regenerate_keeps_both_answers(chat: Chat) -> None:
    chat.ask("Say a word.")
    first = chat.text()
    chat.page.keyboard.press("Control+Shift+E")
    chat.page.get_by_label("Longest answer, in tokens").fill("3")
    chat.page.keyboard.press("Escape")
    chat.button("Answer again").click()
    expect(chat.answers.locator(".versions")).to_contain_text("2/2")
    chat.wait_done()
    second = chat.text()
    assert second != first
    chat.button("Previous version").click()
    expect(chat.answers.locator(".versions")).to_contain_text("1/2")
    assert chat.text() == first
    chat.button("Next version").click()
    assert chat.text() == second


def test_edit_begins_another_branch(chat: Chat) -> None:
    chat.ask("one")
    chat.ask("two")
    chat.page.keyboard.press("ArrowUp")
    box = chat.page.get_by_label("Edit your message")
    expect(box).to_have_value("two")
    box.fill("three")
    chat.page.keyboard.press("Enter")
    expect(chat.questions.last).to_contain_text("three")
    chat.wait_done()
    chat.questions.last.hover()
    chat.questions.last.get_by_role("button", name="Previous version").click()
    expect(chat.questions.last.locator(".bubble")).to_have_text("two")
    expect(chat.answers).to_have_count(2)


def test_a_reload_in_the_middle_loses_nothing(chat: Chat) -> None:
    chat.page.evaluate("localStorage.setItem('headrace.defaults', '{}')")
    chat.page.reload()
    chat.ask("Tell me a very long story about a mill.", wait=False)
    text = chat.wait_words(60)
    chat.page.reload()
    expect(chat.answers.last).to_contain_text("The answer broke off.")
    assert chat.text().startswith(text.rstrip()[:-1])
    chat.button("Continue").click()
    chat.wait_words(len(text) + 20)
    chat.stop.click()
    chat.wait_done()
    assert chat.text().startswith(text.rstrip()[:-1])


def create_key(stack: Stack, *options: str) -> tuple[str, str]:
    """A key of its own: its text and id."""
    command = stack.command("keys", "keys", "create", "--config", str(stack.path / "headrace.yaml"), *options)
    command.wait()
    lines = stack.logs()["keys.log"]
    text = re.findall(r"hr-[0-9A-Za-z]+-[0-9A-Za-z]+", lines)[-1]
    return text, text.split("-")[1]


def test_rate_limited(page: Page, stack: Stack, web: str) -> None:
    key, _ = create_key(stack, "browser-limited", "--rpm", "12")
    chat = Chat(page, web)
    chat.short(4)
    chat.sign_in(key)
    chat.ask("How much is left?")
    expect(page.locator(".allowance")).to_contain_text("11 of 12 requests left")
    headers = {"authorization": f"Bearer {key}"}
    wait_until("the limit is reached", lambda: _status(web, headers) == 429)
    chat.ask("And now?")
    notice = chat.answers.last.locator(".notice")
    expect(notice).to_contain_text("You have reached your limit.")
    again = notice.get_by_role("button")
    expect(again).to_be_disabled()
    expect(again).to_have_text(re.compile(r"Try again in \d s"))
    expect(again).to_be_enabled()
    again.click()
    chat.wait_done()
    assert chat.text()


def _status(web: str, headers: dict[str, str]) -> int:
    with Call(web, "POST", "/tokenize", b'{"model": "smollm2-135m", "prompt": "x"}', headers) as call:
        call.body()
        return call.status


def test_a_worker_is_killed_in_the_middle_and_the_text_goes_on(chat: Chat, stack: Stack) -> None:
    chat.page.evaluate("localStorage.setItem('headrace.defaults', '{}')")
    chat.page.reload()
    chat.ask("Tell me a very long story about two rivers.", wait=False)
    text = chat.wait_words(30)
    busy = next(name for name in (CPU, SECOND_CPU) if stack.running(name) > 0)
    stack.kill(busy)
    chat.wait_words(len(text) + 120)
    expect(chat.page.locator(".notice")).to_have_count(0)
    chat.stop.click()
    chat.wait_done()
    assert chat.text().startswith(text.rstrip()[:-1])
    stack.wait_back()


def test_a_key_is_revoked(page: Page, stack: Stack, web: str) -> None:
    key, key_id = create_key(stack, "browser-revoked")
    chat = Chat(page, web)
    chat.short()
    chat.sign_in(key)
    chat.ask("Hello?")
    stack.command("revoke", "keys", "revoke", "--config", str(stack.path / "headrace.yaml"), key_id).wait()
    wait_until("the key is refused", lambda: _status(web, {"authorization": f"Bearer {key}"}) == 401)
    chat.ask("Still there?", wait=False)
    expect(page.get_by_label("API key")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("Your key is not valid here.")
    page.get_by_label("API key").fill(stack.key)
    page.keyboard.press("Enter")
    expect(chat.questions.last).to_contain_text("Still there?")
    chat.answers.last.get_by_role("button", name="Try again").click()
    chat.wait_done()
    assert chat.text()


def test_a_question_over_a_dropped_file(chat: Chat) -> None:
    filler = "\n".join(f"Line {number} tells of gates, gravel and geese." for number in range(200))
    chat.drop("mill.md", f"# The mill\n\nThe miller of Ooldorp is called Berend.\n\n{filler}")
    expect(chat.page.locator(".chip")).to_contain_text("mill.md")
    expect(chat.page.locator(".chip .pulse")).to_have_count(0)
    chat.ask("Who is the miller of Ooldorp?")
    sources = chat.answers.last.locator(".sources > summary")
    expect(sources).to_contain_text("put in order by similarity")
    sources.click()
    first = chat.answers.last.locator(".sources li").first
    expect(first).to_contain_text("mill.md")
    first.locator("summary").click()
    expect(first.locator("pre")).to_contain_text("is called Berend")


def test_sign_out_leaves_nothing(chat: Chat) -> None:
    chat.ask("Forget me.")
    chat.button("More").click()
    chat.page.get_by_role("menuitem", name="Sign out").click()
    chat.button("Sign out and remove everything").click()
    expect(chat.page.get_by_label("API key")).to_be_visible()
    left = chat.page.evaluate(
        """async () => {
          const open = indexedDB.open('headrace');
          await new Promise(done => open.onsuccess = done);
          const counts = [];
          for (const name of open.result.objectStoreNames) {
            const count = open.result.transaction(name).objectStore(name).count();
            await new Promise(done => count.onsuccess = done);
            counts.push(count.result);
          }
          return [counts, Object.keys(sessionStorage), Object.keys(localStorage)];
        }"""
    )
    assert left[0] == [0, 0, 0]
    assert left[1] == []
    assert {name for name in left[2] if name.startswith("headrace.")} <= {"headrace.language", "headrace.theme"}


def test_history_is_found_renamed_pinned_and_exported(chat: Chat) -> None:
    chat.ask("Where do herons sleep?")
    chat.page.get_by_role("link", name="New chat").click()
    chat.ask("Another talk")
    chat.page.keyboard.press("Control+k")
    search = chat.page.get_by_label("Search conversations")
    expect(search).to_be_focused()
    search.fill("HERONS")
    entries = chat.page.locator(".history li")
    expect(entries).to_have_count(1)
    entries.get_by_role("button").click()
    chat.page.get_by_role("menuitem", name="Rename").click()
    chat.page.get_by_label("Title").fill("Birds")
    chat.page.keyboard.press("Enter")
    search.fill("")
    birds = entries.filter(has_text="Birds")
    birds.hover()
    birds.get_by_role("button").click()
    chat.page.get_by_role("menuitem", name="Pin", exact=True).click()
    expect(chat.page.locator(".history section").first).to_contain_text("Pinned")
    expect(chat.page.locator(".history section").first).to_contain_text("Birds")
    birds.hover()
    birds.get_by_role("button").click()
    with chat.page.expect_download() as download:
        chat.page.get_by_role("menuitem", name="Export as Markdown").click()
    assert download.value.suggested_filename == "Birds.md"
    text = download.value.path().read_text()
    assert text.startswith("# Birds\n\n## You\n\nWhere do herons sleep?\n\n## smollm2-135m\n")
    birds.hover()
    birds.get_by_role("button").click()
    chat.page.get_by_role("menuitem", name="Delete").click()
    expect(birds).to_have_count(0)
    chat.button("Undo").click()
    expect(birds).to_have_count(1)
