"""Pictures of the main pages, light and dark, into docs/screenshots: `make screenshots`."""

import asyncio
import hashlib
import hmac
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/flows"), str(Path(__file__).parent)]

from chromium import chromium, window  # noqa: E402
from telling import Story, telling  # noqa: E402

from shared import keys  # noqa: E402
from shared.connection import connect  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
SECRET = "secret of the pictures"
DAY = 86_400
SIZE = {"width": 1240, "height": 800}
NAMES = (
    *("api-gateway", "auth-service", "billing-worker", "checkout", "crm-sync", "image-resizer", "mail-queue"),
    *("ledger-export", "nightly-backup", "report-builder", "search-indexer"),
)
TAGS = (["prod", "eu"], ["prod", "payments"], ["batch"])
SAID = {
    "error": "index lag 14 min, shard eu-3 is read-only",
    "warning": "queue depth 4,812",
}
EVENTS = ("payment.completed", "payment.completed", "ticket.created", "user.created")


async def furnish(story: Story, dice: random.Random) -> dict[str, str]:
    """A company's monitors with a past, channels, webhooks, shops; the addresses of what is pictured."""
    await story.channels()
    hooks = {"CRM": "ticket.created", "Audit log": "monitor.*"}
    for name, kind in hooks.items():
        body = {"name": name, "url": f"{story.receiver.url}/{name[0]}", "event_type": kind, "secret": "s"}
        await story.admin.post("/webhooks", json=body)
    made = {}
    for i, name in enumerate(NAMES):
        made[name] = await story.monitor(
            name, timeout=2 if name == "crm-sync" else 600, tags=TAGS[i % len(TAGS)]
        )
    await past(story, [one["id"] for one in made.values()], dice)
    for name, monitor in made.items():
        if name != "ledger-export":
            await beats(story, monitor["token"], name, dice)
    for n in range(60):
        event = {"type": dice.choice(EVENTS), "payload": {"n": n}}
        await story.admin.post("/events", json=event)
    for n in range(40):
        await shop(story, n, dice)
    await asyncio.sleep(8)  # crm-sync falls silent, and the first retries are over
    incidents = (await story.admin.get("/api/incidents")).json()["items"]
    theirs = next(one for one in incidents if one["monitor"]["name"] == "search-indexer")
    return {
        "dashboard": "/ui",
        "monitor": f"/ui/monitors/{made['search-indexer']['id']}",
        "incident": f"/ui/incidents/{theirs['id']}",
        "webhook": "/ui/webhooks/2",
        "fleet": "/ui/fleet",
        "status": "/status",
    }


async def beats(story: Story, token: str, name: str, dice: random.Random) -> None:
    for n in range(28):
        status = "warning" if dice.random() < 0.04 else "ok"
        if name == "search-indexer" and n == 27:
            status = "error"
        if name == "mail-queue" and n > 24:
            status = "warning"
        await story.admin.post(
            f"/api/heartbeat/{token}", json={"status": status, "message": SAID.get(status, "")}
        )


async def past(story: Story, ids: list[str], dice: random.Random) -> None:
    """Writes what 89 days would have left, into the group's own server."""
    socket = next(path for path in story.group.data.rglob("*") if path.is_socket())
    redis = connect(f"unix://{socket}")
    today = int(time.time()) // DAY
    for one in ids:
        days: dict[str, Any] = {}
        for day in range(today - 89, today):
            down = dice.choice([0] * 18 + [240_000, 1_800_000, 9_000_000])
            days[f"{day}:alive"] = DAY * 1000 - down
            if down:
                days[f"{day}:dead"] = down
        await redis.hset(keys.history(0, one), mapping=days)
    await redis.aclose()


async def shop(story: Story, n: int, dice: random.Random) -> None:
    report = {
        "domain": f"shop-{n}.example.org",
        "module_version": dice.choice(["2.3.1", "2.3.1", "2.3.1", "2.3.0", "2.2.4"]),
        "php_version": dice.choice(["8.2.10", "8.2.10", "8.1.22", "7.4.33"]),
        "version": dice.choice(["4.0.2", "4.0.2", "3.0.3"]),
        "version_core": "1.9",
        "timestamp": int(time.time()),
    }
    body = json.dumps(report).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    await story.admin.post("/heartbeat", content=body, headers={"X-Pulse-Signature": signature})


async def main() -> None:
    """Takes the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        async with telling(Path(folder), PULSE_HEARTBEAT_SECRET=SECRET) as story, chromium() as browser:
            story.receiver.answers.append((500, "restarting", {}))
            addresses = await furnish(story, random.Random(7))
            for mode in ("light", "dark"):
                wishes = {"color_scheme": mode, "viewport": SIZE, "reduced_motion": "reduce"}
                async with window(browser, story.group, **wishes) as opened:
                    await opened.sign_in()
                    for name, address in addresses.items():
                        await opened.go(address)
                        if address != "/status":
                            await opened.connected()
                        await opened.page.screenshot(path=FOLDER / f"{name}-{mode}.png")
                        print(f"docs/screenshots/{name}-{mode}.png")  # noqa: T201 - what it made


if __name__ == "__main__":
    asyncio.run(main())
