"""The operator's view, on the real platform."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.test_chat import create_key
from tests.e2e.calls import Call
from tests.e2e.patience import wait_until
from tests.e2e.stack import CHAT_MODEL, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.browser]


def status(web: str, key: str) -> int:
    with Call(web, "GET", "/v1/models", None, {"authorization": f"Bearer {key}"}) as call:
        call.body()
        return call.status


def test_an_operators_morning(chat: Chat, web: str) -> None:
    page = chat.page
    chat.ask("Something to be counted")
    chat.button("More").click()
    page.get_by_role("menuitem", name="Operator's view").click()
    fleet = page.get_by_role("group", name="Workers and queues")
    row = fleet.get_by_role("row", name=re.compile(CHAT_MODEL))
    expect(row.locator(".dot-ready")).to_have_count(2)
    usage = page.get_by_role("group", name="Usage")

    def counted() -> bool:
        page.get_by_label("tenant", exact=True).click()  # asks again
        expect(usage.or_(page.get_by_text("Nothing was used"))).to_be_visible()
        return usage.count() > 0 and CHAT_MODEL in usage.inner_text()

    wait_until("the usage is in the ledger", counted)
    assert chat.violations() == []
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name", exact=True).fill("made in the browser")
    page.get_by_label("Requests per minute").fill("30")
    page.get_by_role("button", name="Save").click()
    first = page.locator(".made code").inner_text()
    page.get_by_role("button", name="Done").click()
    assert status(web, first) == 200
    made = page.get_by_role("group", name="Keys").get_by_role("row", name=re.compile("made in the browser"))
    expect(made).to_contain_text("Requests per minute: 30")
    made.get_by_role("button").click()
    page.get_by_role("menuitem", name="Change").click()
    page.get_by_label("Requests per minute").fill("60")
    page.get_by_role("button", name="Save").click()
    expect(made).to_contain_text("Requests per minute: 60")
    made.get_by_role("button").click()
    page.get_by_role("menuitem", name="Rotate").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    second = page.locator(".made code").inner_text()
    page.get_by_role("button", name="Done").click()
    assert second != first
    assert status(web, second) == 200
    made.get_by_role("button").click()
    page.get_by_role("menuitem", name="Revoke").click()
    assert chat.violations() == []
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(made).to_have_count(0)
    wait_until("the key is refused", lambda: status(web, second) == 401)
    page.get_by_label("Show keys that have ended").check()
    expect(made).to_contain_text("revoked")
    page.get_by_role("link", name="Back to the chat").click()
    expect(chat.box).to_be_visible()


def test_others_are_told_that_they_may_not(page: Page, stack: Stack, web: str) -> None:
    key, _ = create_key(stack, "browser-no-operator")
    chat = Chat(page, web)
    chat.sign_in(key)
    page.goto(f"{web}/#/operate")
    expect(page.locator(".notice").first).to_contain_text("Your key may not do this.")
