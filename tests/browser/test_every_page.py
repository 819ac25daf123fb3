"""Every page, in both languages, light and dark, wide and narrow: whole, accessible and silent."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import Window, axe, chromium, window
from playwright.async_api import Browser, expect
from telling import Story, telling
from waiting import wait_until

from services.admin.pages.app import ROUTES

OTHERS = {"/", "/ui/static/{name}", "/ui/sign-in", "/badge/{name}", "/status/feed", "/status/{slug}/feed"}
"""Reached otherwise, or no page that people look at."""

WISHES: dict[str, dict[str, Any]] = {
    "English, light, wide": {"locale": "en-GB", "color_scheme": "light"},
    "Russian, dark, phone": {
        "locale": "ru-RU",
        "color_scheme": "dark",
        "viewport": {"width": 360, "height": 780},
        "has_touch": True,
        "is_mobile": True,
        "reduced_motion": "reduce",
    },
}
WORDS = {"English, light, wide": "Monitors", "Russian, dark, phone": "Мониторы"}


def pages(known: dict[str, str]) -> list[str]:
    """An address for each page that the routes name; `known` fills the ids in."""
    found = []
    for route in ROUTES:
        if "GET" not in (route.methods or ()) or route.path in OTHERS:
            continue
        kind = route.path.split("/")[2] if route.path.startswith("/ui/") else "status"
        found.append(re.sub(r"\{[^}]+\}", known.get(kind, ""), route.path))
    kinds = [f"/ui/channels/new?type={kind}" for kind in ("telegram", "email", "webhook", "apprise")]
    return [*found, *kinds, "/ui?q=nothing-of-this-name", "/ui?status=dead&sort=name", "/ui/sign-in"]


async def furnished(story: Story) -> dict[str, str]:
    """Something of everything; the ids by the folder of their pages."""
    await story.channels()
    monitor = await story.monitor("api-worker", timeout=300, tags=["prod"])
    for status in ("ok", "warning", "error"):
        report = {"status": status, "message": f"this is {status}"}
        await story.admin.post(f"/api/heartbeat/{monitor['token']}", json=report)
    hook = {"name": "CRM", "url": f"{story.receiver.url}/status/500", "event_type": "ticket.created"}
    webhook = (await story.admin.post("/webhooks", json=hook)).json()
    await story.admin.post("/events", json={"type": "ticket.created", "payload": {"n": 1}})
    page = {"slug": "prod", "title": "Production", "tags": ["prod"]}
    assert (await story.admin.post("/api/status-pages", json=page)).status_code == 201
    incident = (await story.admin.get("/api/incidents")).json()["items"][0]["id"]

    async def tried() -> bool:
        answer = await story.admin.get(f"/webhooks/{webhook['id']}/deliveries")
        return any(one["response_status"] == 500 for one in answer.json()["items"])

    await wait_until(tried, "the first attempt", timeout=10)
    numbers = {"channels": "1", "webhooks": str(webhook["id"])}
    return {
        "monitors": monitor["id"],
        "incidents": incident,
        "status-pages": "prod",
        "status": "prod",
        **numbers,
    }


@dataclass
class House:
    """A furnished group and a browser, shared by the tests of this file: each start of one takes seconds."""

    story: Story
    browser: Browser
    known: dict[str, str]

    def window(self, **wishes: Any) -> AbstractAsyncContextManager[Window]:
        return window(self.browser, self.story.group, **wishes)


@pytest.fixture(scope="module")
async def house(tmp_path_factory) -> AsyncIterator[House]:
    async with telling(tmp_path_factory.mktemp("house")) as story, chromium() as browser:
        yield House(story, browser, await furnished(story))


@pytest.mark.parametrize("wish", WISHES)
async def test_page_is_whole_accessible_and_silent(house: House, wish: str) -> None:
    """No serious violation of WCAG, nothing wider than the window, nothing on the console, no outside request."""
    axe()
    wrong: list[str] = []
    async with house.window(**WISHES[wish]) as opened:
        await opened.go("/ui/sign-in")
        wrong += [f"/ui/sign-in before: {one}" for one in await opened.violations()]
        await opened.sign_in()
        await expect(opened.page.locator("h1")).to_have_text(WORDS[wish])
        for path in pages(house.known):
            await opened.go(path)
            wrong += [f"{path}: {one}" for one in await opened.violations()]
            if over := await opened.overflow():
                wrong.append(f"{path}: {over} pixels too wide")
        assert wrong == []
        assert opened.complaints == []


async def test_keyboard_alone_reaches_a_monitor_and_its_form(house: House) -> None:
    """Tab shows the skip link first; Enter on it leads into the content; the form saves by Enter."""
    async with house.window() as opened:
        await opened.sign_in()
        page = opened.page
        await opened.go("/ui")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await expect(page.locator("a.button.primary")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.focus("#f-name")
        await page.keyboard.type("by keyboard")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("by keyboard")
        assert opened.complaints == []


async def test_the_language_is_switched_and_stays(house: House) -> None:
    """The switch changes the language of this and of later pages."""
    async with house.window() as opened:
        await opened.sign_in()
        await opened.page.click("button:has-text('Русский')")
        await expect(opened.page.locator("h1")).to_have_text("Мониторы")
        await opened.go("/ui/system")
        await expect(opened.page.locator("html")).to_have_attribute("lang", "ru")
        await expect(opened.page.locator("h1")).to_have_text("Система")
        await opened.page.click("button:has-text('Выйти')")
        await expect(opened.page.locator("#token")).to_be_visible()
        assert opened.complaints == []


async def test_a_channel_is_tested_and_says_what_happened(house: House) -> None:
    """The page that shows the result stays live, and can be come back to."""
    async with house.window() as opened:
        await opened.sign_in()
        await opened.go("/ui/channels")
        await opened.page.click("td a:has-text('webhook')")
        await opened.page.click("button:has-text('Send a test')")
        await expect(opened.page.locator(".notice.good")).to_contain_text("accepted")
        await opened.connected()
        monitor = await house.story.monitor("shows itself", timeout=600)
        await house.story.admin.post(f"/api/heartbeat/{monitor['token']}", json={"status": "error"})
        await expect(opened.page.locator("#history")).to_contain_text("monitor.error")
        await opened.go(urlsplit(opened.page.url).path)
        await expect(opened.page.locator(".notice")).to_have_count(0)
        assert opened.complaints == []


async def test_toasts_are_muted_and_notices_filtered(house: House) -> None:
    """Muted, an event is only noted; the centre shows the type that was chosen, also on the next page."""
    async with house.window() as opened:
        await opened.sign_in()
        await opened.connected()
        page = opened.page
        await house.story.admin.post("/events", json={"type": "first.one", "payload": {}})
        await expect(page.locator(".toast")).to_contain_text("first.one")
        await page.click("#bell")
        await page.check("#toast-mute")
        await house.story.admin.post("/events", json={"type": "second.one", "payload": {}})
        await expect(page.locator("#centre-list .kind")).to_have_text(["second.one", "first.one"])
        assert await page.locator(".toast", has_text="second.one").count() == 0
        await page.select_option("#centre-filter", "monitor.")
        await expect(page.locator("#centre-list")).to_have_text("No events yet.")
        await page.keyboard.press("Escape")
        await expect(page.locator("#bell")).to_be_focused()
        await opened.go("/ui/system")
        await page.click("#bell")
        await page.select_option("#centre-filter", "app")
        await expect(page.locator("#centre-list .kind")).to_have_text(["second.one", "first.one"])
        assert opened.complaints == []


async def test_pages_work_without_a_script(house: House) -> None:
    """Signing in, making, pausing and deleting a monitor need no JavaScript."""
    async with house.window(java_script_enabled=False) as opened:
        page = opened.page
        await opened.sign_in()
        await page.click("text=New monitor >> nth=0")
        await page.fill("#f-name", "plain")
        await page.click("button:has-text('Create')")
        await page.click("text=To the monitor")
        await page.click("button:has-text('Pause')")
        await expect(page.locator("#head .status")).to_have_text("paused")
        await page.click("a:has-text('Delete')")
        await page.click("button:has-text('Delete')")
        await expect(page.locator(".notice")).to_have_text("Deleted.")
    found = await house.story.admin.get("/api/monitors", params={"q": "plain"})
    assert found.json()["total"] == 0


async def test_a_burst_of_events_is_one_redraw_and_few_toasts(house: House) -> None:
    """A hundred events at once: the page is asked for a few times only, and its counters are right at the end."""
    async with house.window() as opened:
        await opened.sign_in()
        await opened.connected()
        fetched: list[str] = []
        opened.page.on("request", lambda request: fetched.append(request.url))
        events = [{"type": "burst.event", "payload": {"n": n}} for n in range(100)]
        answer = await house.story.admin.post("/events", json=events)
        assert answer.status_code == 202
        await expect(opened.page.locator("#bell .count")).to_have_text("99+")
        await expect(opened.page.locator("#activity .types")).to_contain_text("burst.event 100")
        assert 1 <= len(fetched) <= 10
        assert await opened.page.locator(".toast").count() <= 5
        assert opened.complaints == []
