"""What everybody may see: the status pages, their feed, and badges."""

import asyncio
import json
import re
from xml.etree import ElementTree as ET

import httpx
from admin_api import ADMIN_TOKEN, settings
from hostile import HOSTILE
from waiting import wait_until

from services.admin.app import create_app
from services.admin.pages.badges import draw
from services.admin.pages.feed import xml
from shared import keys, monitors, presence, scripts
from shared.connection import Store
from shared.monitors import NewMonitor
from shared.scripts import Beat, MonitorKeys

SVG = "{http://www.w3.org/2000/svg}"


def client(store: Store, token: str = "", **changes) -> httpx.AsyncClient:
    app = create_app(store, settings(**changes))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://pulse.test", headers=headers)


async def heard(store: Store, name: str, kind: str = "ok", message: str = "", **wishes) -> MonitorKeys:
    """A monitor that was heard once, with this."""
    made, _ = await monitors.create(store, NewMonitor(name, **wishes))
    target = scripts.monitor_keys(store, made.id, made.token_hash)
    await scripts.beat(store.redis, target.shard, [Beat(target, kind, message=message)])
    return target


async def test_the_status_page_says_how_things_stand_and_nothing_private(store: Store):
    """Names, statuses and incidents; no message, tag, id, token or shop."""
    await heard(store, "api-worker", tags=["inner-circle"])
    target = await heard(store, "checkout", "error", "password is hunter2")
    await heard(store, "shop.example", tags=["telemetry"])
    async with client(store) as anyone:
        page = await anyone.get("/status")
    assert page.status_code == 200
    for shown in ("api-worker", "checkout", "Some services have problems", "Open incidents"):
        assert shown in page.text
    for hidden in ("hunter2", "inner-circle", "shop.example", target.monitor_id, target.token_hash, "csrf"):
        assert hidden not in page.text
    assert page.headers["cache-control"].startswith("public, max-age=10")
    assert "<script" not in page.text


async def test_a_page_of_tags_shows_those_monitors_alone(store: Store):
    """At `/status/<slug>`; one that does not exist is a 404, and one that is deleted becomes one."""
    await heard(store, "api-worker", tags=["prod"])
    await heard(store, "secret-project")
    async with client(store, ADMIN_TOKEN) as admin, client(store) as anyone:
        page = {"slug": "prod", "title": "Production", "tags": ["prod"]}
        assert (await admin.post("/api/status-pages", json=page)).status_code == 201
        assert (await admin.post("/api/status-pages", json=page)).status_code == 409
        shown = await anyone.get("/status/prod")
        assert "api-worker" in shown.text
        assert "secret-project" not in shown.text
        assert "Everything works" in shown.text
        await admin.patch("/api/status-pages/prod", json={"title": "Changed"})
        assert "Changed" in (await anyone.get("/status/prod")).text
        assert (await admin.get("/api/status-pages")).json()["total"] == 1
        assert (await admin.delete("/api/status-pages/prod")).status_code == 204
        assert (await anyone.get("/status/prod")).status_code == 404


async def test_a_private_status_is_for_those_who_are_signed_in(store: Store):
    """With PULSE_PUBLIC_STATUS=false the page of everything, its feed and the badges are nobody else's."""
    await heard(store, "api-worker")
    async with client(store, public_status=False) as anyone:
        for path in ("/status", "/status/feed", "/badge/api-worker.svg", "/badge/api-worker.json"):
            assert (await anyone.get(path)).status_code == 404


async def test_the_feed_tells_of_incidents_and_recoveries(store: Store):
    """RSS 2.0: an item when one begins and one when it is over, each with an id of its own."""
    target = await heard(store, "api-worker", "error", "not for the public")
    await scripts.beat(store.redis, target.shard, [Beat(target, "ok")])
    async with client(store) as anyone:
        answer = await anyone.get("/status/feed")
    assert answer.headers["content-type"] == "application/rss+xml"
    feed = ET.fromstring(answer.content)
    titles = [item.findtext("title") for item in feed.iter("item")]
    assert len(titles) == 2
    assert titles[1] == "api-worker: error"
    assert titles[0].startswith("api-worker: recovered")
    assert len({item.findtext("guid") for item in feed.iter("item")}) == 2
    assert "not for the public" not in answer.text


async def test_a_badge_says_the_status_as_picture_and_as_json(store: Store):
    """`.svg` for pages, `.json` for shields.io; an unknown slug is a 404."""
    await heard(store, "api-worker")
    async with client(store) as anyone:
        picture = await anyone.get("/badge/api-worker.svg")
        assert picture.headers["content-type"] == "image/svg+xml"
        assert [one.text for one in ET.fromstring(picture.text).iter(f"{SVG}text")] == [
            "api-worker",
            "alive",
        ]
        shields = (await anyone.get("/badge/api-worker.json")).json()
        assert shields == {
            "schemaVersion": 1,
            "label": "api-worker",
            "message": "alive",
            "color": "brightgreen",
            "cacheSeconds": 60,
        }
        uptime = (await anyone.get("/badge/api-worker.json?kind=uptime")).json()
        assert re.fullmatch(r"\d+\.\d\d %", uptime["message"])
        for path in ("/badge/none.svg", "/badge/api-worker", "/badge/..svg", "/badge/api-worker.png"):
            assert (await anyone.get(path)).status_code == 404


def test_hostile_texts_stay_texts_in_badges_and_feeds():
    """Whatever a monitor is called, the documents are well-formed and hold it as text."""
    for text in HOSTILE:
        picture = ET.fromstring(draw(text, "alive", "#1f7a3d"))
        assert {one.tag for one in picture.iter()} <= {
            f"{SVG}{name}" for name in ("svg", "title", "clipPath", "rect", "g", "text")
        }
        item = ET.fromstring(f"<item><title>{xml(text)}</title></item>".encode())
        assert len(list(item.iter())) == 2


async def test_the_system_says_what_runs(store: Store):
    """Server, streams, deliveries and blind windows; processes once they have announced themselves."""
    await heard(store, "api-worker")
    async with client(store, ADMIN_TOKEN) as admin:
        state = (await admin.get("/api/system")).json()
    assert state["monitors"] == 1
    assert state["server"]["name"] in ("Redis", "Valkey")
    assert state["streams"][0]["length"] >= 2
    assert state["deliveries"] == {"pending": 0, "due_targets": 0, "dead_letters": 0}
    assert state["processes"] == []


async def test_processes_are_seen_while_they_run(store: Store):
    """One that announces itself is alive, one that ended is gone from the list, one that vanished is shown as gone."""
    async with client(store, ADMIN_TOKEN) as admin:

        async def seen() -> dict[str, bool]:
            found = (await admin.get("/api/system")).json()["processes"]
            return {one["service"]: one["alive"] for one in found}

        running = asyncio.create_task(presence.announce(store, "watchdog"))
        await wait_until(seen, "the process")
        assert await seen() == {"watchdog": True}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await seen() == {}
        whole, _ = await store.redis.time()
        lost = {"service": "notifier", "host": "h", "pid": 1, "version": "0", "python": "3", "started": 0}
        record = json.dumps({**lost, "seen": whole * 1000 - presence.LIVES_MS - 1000})
        await store.redis.hset(keys.PROCESSES, "notifier@h:1", record)
        assert await seen() == {"notifier": False}
