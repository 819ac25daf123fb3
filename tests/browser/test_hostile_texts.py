"""Texts that somebody sends to see what happens: they appear as they are, and nothing of them runs."""

import asyncio
import json
from pathlib import Path
from typing import Any

from chromium import Window, chromium, window
from hostile import HOSTILE
from telling import Story, telling
from waiting import wait_until

AT_ONCE = 8
NAME = 255
JSON = {"Content-Type": "application/json"}

READ = """() => [...document.querySelectorAll("bdi")].map((one) => one.textContent)"""
FOREIGN = """() => [...document.querySelectorAll("main *, #toasts *, #centre *")].filter((one) =>
    ["SCRIPT", "IMG", "IFRAME", "OBJECT", "B-EVIL"].includes(one.tagName) ||
    [...one.attributes].some((attribute) => attribute.name.startsWith("on") || attribute.name === "style") ||
    /^\\s*javascript:/i.test(one.getAttribute("href") ?? "")).map((one) => one.outerHTML.slice(0, 200))"""


def shown(text: str) -> str:
    """A text as a page shows it: what HTML cannot carry as its picture, lone surrogates as `?`."""
    pictured = "".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\t\n" else c for c in text)
    return pictured.replace("\x7f", "\u2421").encode("utf-8", "replace").decode()


async def poured(story: Story) -> dict[str, str]:
    """A monitor for each text, named and beaten with it; what was accepted, by the monitor's id."""
    gate = asyncio.Semaphore(AT_ONCE)
    taken: dict[str, str] = {}

    async def one(text: str) -> None:
        async with gate:
            body: dict[str, Any] = {"name": text[:NAME], "timeout": 3600, "tags": []}
            answer = await story.admin.post("/api/monitors", content=json.dumps(body), headers=JSON)
            name = text[:NAME] if answer.status_code == 201 else "refused"
            if answer.status_code != 201:
                assert answer.status_code == 422, answer.text
                answer = await story.admin.post("/api/monitors", json={"name": "refused", "timeout": 3600})
            made = answer.json()
            taken[made["id"]] = name.strip()
            report = json.dumps({"status": "error", "message": text})
            beat = await story.admin.post(f"/api/heartbeat/{made['token']}", content=report, headers=JSON)
            assert beat.status_code in (200, 422), beat.text

    await asyncio.gather(*(one(text) for text in HOSTILE))
    return taken


async def quiet(opened: Window, path: str) -> list[str]:
    """The untrusted texts of a page; fails when any of them became markup."""
    await opened.go(path)
    assert await opened.page.evaluate(FOREIGN) == [], path
    found: list[str] = await opened.page.evaluate(READ)
    return found


async def test_two_hundred_texts_appear_and_none_runs(tmp_path: Path) -> None:
    """As names and messages, in lists, pages, timelines, toasts, the status page, badges and the feed."""
    async with telling(tmp_path) as story, chromium() as browser, window(browser, story.group) as opened:
        await opened.sign_in()
        await opened.connected()  # so that every event also becomes a toast and a notice
        taken = await poured(story)
        assert len(taken) >= 200
        await opened.page.click("#bell")
        await opened.page.wait_for_selector("#centre-list li bdi")
        assert await opened.page.evaluate(FOREIGN) == []
        seen: set[str] = set()
        for number in range(1, 2 + len(taken) // 50):
            seen |= set(await quiet(opened, f"/ui?page={number}"))
        expected = {shown(name)[:200] for name in taken.values()}
        missing = expected - {text.removesuffix("…") for text in seen}
        assert missing == set()
        await each_stands_on_its_page(story, opened, taken)
        for path in ("/ui/incidents", "/status", "/ui/system", "/ui/channels"):
            await quiet(opened, path)
        assert opened.complaints == []


async def each_stands_on_its_page(story: Story, opened: Window, taken: dict[str, str]) -> None:
    """Name and message stand on the monitor's own page as they were recorded."""
    for monitor_id, name in list(taken.items())[::6]:
        beats = (await story.admin.get(f"/api/monitors/{monitor_id}/heartbeats")).json()["items"]
        texts = await quiet(opened, f"/ui/monitors/{monitor_id}")
        assert shown(name) in texts, name
        for beat in beats:
            if beat["message"]:
                assert shown(beat["message"]) in texts, name


async def test_an_injection_would_be_noticed(tmp_path: Path) -> None:
    """Markup that got into a page is found as markup, and the policy's report of it is heard."""
    async with telling(tmp_path) as story, chromium() as browser, window(browser, story.group) as opened:
        await opened.sign_in()
        await opened.page.evaluate(
            """document.getElementById("main").insertAdjacentHTML("beforeend", "<img src=x onerror=alert(1)>")"""
        )
        assert len(await opened.page.evaluate(FOREIGN)) == 1
        await wait_until(lambda: any("CSP: script-src" in one for one in opened.complaints), "the report")
