"""What is said where something is missing, slow or hostile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import Chat
from tests.browser.conftest import NewPage
from tests.browser.issuer import Issuer
from tests.browser.scripted import MODELS, Reply, ScriptedApi, served

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

HOSTILE = Path(__file__).parents[2] / "web" / "tests" / "samples" / "hostile.ts"


def test_waiting_tells_how_long(played: Chat, api: ScriptedApi) -> None:
    api.models = [{**MODELS[0], "headrace": {"status": "ready", "wait_ms": 12_000}}]
    api.chat = lambda _: Reply(["done"], before=5)
    played.ask("Hello", wait=False)
    waiting = played.page.locator(".waiting")
    expect(waiting).to_contain_text(re.compile(r"Waiting for the first word… [1-9] s"))
    expect(waiting).to_contain_text("The queue is about 12 s long now.")
    played.wait_done()


def test_a_model_that_loads_says_so(played: Chat, api: ScriptedApi) -> None:
    played.page.locator(".model-picker").click()
    played.page.get_by_role("menuitemradio", name="late").click()
    api.chat = lambda _: Reply(["done"], before=3)
    played.ask("Hello", wait=False)
    expect(played.page.locator(".waiting")).to_contain_text("late is loading.")
    played.wait_done()


def test_offline_and_back(played: Chat, context: BrowserContext) -> None:
    context.set_offline(True)
    played.ask("Anybody there?", wait=False)
    expect(played.answers.last).to_contain_text("The server cannot be reached.")
    context.set_offline(False)
    played.answers.last.get_by_role("button", name="Try again").click()
    played.wait_done()
    assert played.text() == "Hello there."
    expect(played.page.locator(".notice")).to_have_count(0)


def test_overloaded_counts_down(played: Chat, api: ScriptedApi) -> None:
    api.chat = lambda _: Reply(status=503, message="No worker is free.", headers={"retry-after": "3"})
    played.ask("Hello")
    again = played.answers.last.locator(".notice").get_by_role("button")
    expect(again).to_have_text(re.compile("Try again in [123] s"))
    api.chat = lambda _: Reply(["now"])
    expect(again).to_have_text("Try again")
    again.click()
    played.wait_done()
    assert played.text() == "now"


def test_a_broken_answer_goes_on(played: Chat, api: ScriptedApi) -> None:
    api.chat = lambda _: Reply(["The first ", "half"], breaks=True)
    played.ask("Hello")
    expect(played.answers.last).to_contain_text("The worker was lost in the middle of the answer.")
    api.chat = lambda _: Reply([" and the rest."])
    played.button("Continue").click()
    expect(played.answers.last).to_contain_text("The first half and the rest.")
    assert api.requests[-1]["continue_final_message"] is True


def test_reasoning_is_folded(played: Chat, api: ScriptedApi) -> None:
    api.chat = lambda _: Reply(["<think>secret ", "thoughts</think>", "The answer."])
    played.ask("Hello")
    assert played.text() == "The answer."
    expect(played.answers.last.locator(".reasoning .text")).to_be_hidden()
    played.answers.last.locator(".reasoning summary").click()
    expect(played.answers.last.locator(".reasoning .text")).to_have_text("secret thoughts")


def test_images_go_to_models_that_take_them(played: Chat, api: ScriptedApi) -> None:
    page = played.page
    paste = """async () => {
      const canvas = new OffscreenCanvas(40, 30);
      canvas.getContext('2d').fillRect(0, 0, 40, 30);
      const data = new DataTransfer();
      data.items.add(new File([await canvas.convertToBlob()], 'a.png', { type: 'image/png' }));
      const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
      document.querySelector('.composer textarea').dispatchEvent(event);
    }"""
    page.evaluate(paste)
    expect(page.locator(".note")).to_contain_text("does not take images")
    page.locator(".model-picker").click()
    page.get_by_role("menuitemradio", name="seeing").click()
    page.evaluate(paste)
    expect(page.locator(".thumb img")).to_be_visible()
    played.ask("What is this?")
    text, image = api.requests[-1]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    expect(played.questions.last.locator("img")).to_be_visible()
    expect(page.locator(".thumb")).to_have_count(0)


def test_two_tabs(played: Chat, api: ScriptedApi, new_page: NewPage) -> None:
    api.chat = lambda _: Reply(["word "] * 100, pause=0.05)
    played.ask("Hello", wait=False)
    played.wait_words()
    other = Chat(new_page(), played.url)
    other.page.goto(played.page.url)
    expect(other.page.locator("main")).to_contain_text("Another tab is writing an answer here.")
    other.box.fill("wait for me")
    expect(other.button("Send")).to_be_disabled()
    played.wait_done()
    expect(other.button("Send")).to_be_enabled()
    expect(other.answers.last.locator(".markdown")).to_have_text(("word " * 100).strip())
    api.chat = lambda _: Reply(["second"])
    other.ask("wait for me")
    expect(played.answers.last).to_contain_text("second")


def test_a_full_storage_is_told_and_costs_nothing(played: Chat, context: BrowserContext) -> None:
    session = context.new_cdp_session(played.page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": played.url, "quotaSize": 1})
    played.ask("Do you keep this?")
    expect(played.page.locator(".hint")).to_contain_text("This browser's storage is full.")
    assert played.text() == "Hello there."
    session.send("Storage.overrideQuotaForOrigin", {"origin": played.url})
    played.ask("And now?")
    expect(played.page.locator(".hint")).to_have_count(0)
    played.page.reload()
    expect(played.questions).to_have_count(2)


def test_what_is_typed_survives_a_crash(played: Chat, context: BrowserContext, new_page: NewPage) -> None:
    played.box.fill("a long thought, half ty")
    played.page.close()
    again = Chat(new_page(), played.url)
    again.sign_in("hr-x")
    expect(again.box).to_have_value("a long thought, half ty")


def test_hostile_conversations_stay_text(played: Chat, tmp_path: Path) -> None:
    """Import, show, export: with the policy of the real server, and an eye on what the page asks for."""
    page = played.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    messages = [
        {"id": str(index), "parent": str(index - 1) if index else None, "role": role, "text": text}
        for index, text in enumerate(_hostile())
        for role in ["assistant"]
    ]
    head = {"title": "<img src=x onerror=alert(1)>", "leaf": str(len(messages) - 1)}
    file = tmp_path / "hostile.json"
    document = {"head": head, "messages": messages}
    file.write_text(json.dumps({"format": "headrace.conversations", "version": 1, "conversations": [document]}))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="More", exact=True).click()
        page.get_by_role("menuitem", name="Import…").click()
    chooser.value.set_files(file)
    page.locator(".history a").click()
    expect(played.answers).to_have_count(len(messages))
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    for element in page.locator("main a").all():
        assert re.match("https?://|mailto:", element.get_attribute("href") or "")
    page.wait_for_timeout(500)
    assert page.evaluate("'pwned' in window") is False
    assert page.locator("main :is(script, iframe, object, embed, style, link, meta, base, form, template)").count() == 0
    assert [url for url in asked if not url.startswith(played.url) and not url.startswith("data:image/")] == []
    assert page.locator(".history a").inner_text() == head["title"]


def _hostile() -> list[str]:
    source = HOSTILE.read_text()
    found = [json.loads(line.strip().rstrip(",")) for line in source.splitlines() if line.startswith('  "')]
    assert len(found) > 60
    return found


def test_plain_http_on_another_machine(page: Page, api: ScriptedApi, stage: str) -> None:
    """Where crypto.subtle, crypto.randomUUID and the clipboard do not exist."""
    chat = Chat(page, stage.replace("127.0.0.1", "plain.test"))
    chat.sign_in("hr-x")
    assert page.evaluate("[isSecureContext, typeof navigator.clipboard, typeof crypto.subtle]") == [
        False,
        "undefined",
        "undefined",
    ]
    chat.ask("Hello")
    chat.button("Copy").last.click()
    expect(chat.button("Copied")).to_be_visible()
    chat.box.fill("")
    chat.box.press("Control+v")
    expect(chat.box).to_have_value("Hello there.")
    page.reload()
    expect(chat.answers).to_have_count(1)


def test_sign_in_by_an_issuer(page: Page, api: ScriptedApi, tmp_path: Path) -> None:
    with Issuer().running() as issuer:
        config = {"oidc": {"issuer": issuer.url, "client_id": "page"}}
        with served(api, tmp_path, config, connect=issuer.url) as url:
            api.keys = issuer.tokens
            issuer.page = f"{url}/"
            page.goto(f"{url}/#/operate")
            page.get_by_role("button", name="Sign in with your organisation").click()
            expect(page.locator(".app")).to_be_visible()
            assert page.url == f"{url}/#/operate"
            assert len(issuer.tokens) == 1
            plain = url.replace("127.0.0.1", "plain.test")
            page.goto(plain)
            expect(page.locator(".hint")).to_contain_text("needs HTTPS")


def test_an_issuers_no_is_told(page: Page, api: ScriptedApi, tmp_path: Path) -> None:
    with Issuer().running() as issuer:
        config = {"oidc": {"issuer": issuer.url, "client_id": "page"}}
        with served(api, tmp_path, config, connect=issuer.url) as url:
            issuer.page, issuer.refuses = f"{url}/", "You are not in the group."
            page.goto(url)
            page.get_by_role("button", name="Sign in with your organisation").click()
            expect(page.locator(".note")).to_contain_text("You are not in the group.")
            page.goto(f"{url}/?code=stolen&state=guessed")
            expect(page.locator(".note")).to_contain_text("sign-in did not work")
            assert "stolen" not in page.url


def test_files_are_there_from_the_first_question_on(played: Chat, api: ScriptedApi) -> None:
    played.drop("mill.md", "The miller of Ooldorp is called Berend.")
    expect(played.page.locator(".chip")).to_contain_text("mill.md")
    expect(played.page.locator(".chip .pulse")).to_have_count(0)
    api.chat = lambda _: Reply(["Berend, says [1]."])
    for count in (1, 2):
        played.ask("Who is the miller?")
        expect(played.page.locator(".sources")).to_have_count(count)
        assert "called Berend" in api.requests[-1]["messages"][-1]["content"]
    played.answers.last.locator(".citation").click()
    expect(played.answers.last.locator(".sources pre")).to_be_visible()
    played.drop("picture.txt", "\0\1\2")
    expect(played.page.locator(".chip.wrong")).to_contain_text("picture.txt is no text.")
