"""`POST /heartbeat`, `GET /api/fleet` and `/api/fleet/shops` as shops and people see them."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from collecting import Collector, collecting, dumps, sign

from services.collector import registration
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.model import new_monitor_id

SECRET = "the heartbeat secret"
DAY = 86_400


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store, heartbeat_secret=SECRET) as served:
        yield served


def report(domain: str = "shop.example", **fields: Any) -> dict[str, Any]:
    return {
        "domain": domain,
        "bot_username": "shop_bot",
        "php_version": "8.2.7",
        "module_version": "2.3.1",
        "version": "3.0.3.8",
        "version_core": "1.0",
        "timestamp": int(time.time()),
    } | fields


async def send(collector: Collector, body: bytes, **headers: str) -> httpx.Response:
    given = {"X-Pulse-Signature": sign(body, SECRET)} | headers
    return await collector.client.post("/heartbeat", content=body, headers=given)


async def shops(collector: Collector) -> list[str]:
    """The names of all monitors."""
    return [monitor.name async for page in monitors.pages(collector.store) for monitor in page]


async def kept(collector: Collector, domain: str = "shop.example") -> dict[str, Any]:
    return json.loads(await collector.store.redis.hget(keys.TELEMETRY, domain))


async def test_an_unknown_domain_becomes_a_monitor(collector: Collector) -> None:
    """Named by the domain, tagged, without channels, 26 hours of timeout, alive at once; the answer is exact."""
    answer = await send(collector, dumps(report(" Shop.Example ")))
    assert (answer.status_code, answer.text) == (200, '{"status": "ok"}')
    monitor = await collector.read((await kept(collector))["monitor"])
    assert (monitor.name, monitor.slug, monitor.status) == ("shop.example", "shop-example", "alive")
    assert (monitor.tags, monitor.channels, monitor.timeout) == (("telemetry",), "", 26 * 3_600_000)
    assert [taken.type for taken in await collector.events()] == ["monitor.created", "monitor.alive"]


async def test_the_next_report_beats_the_same_monitor_and_is_kept(collector: Collector) -> None:
    """One shop, one monitor; the newest report with all its fields, and the version header, stay."""
    await send(collector, dumps(report()))
    big = 123456789012345678901234567890
    body = dumps(report(module_version="2.4.0", orders=big))
    answer = await send(collector, body, **{"X-TELECART-VERSION": "2.4.0", "X-Other-Version": "9"})
    assert answer.status_code == 200
    assert await shops(collector) == ["shop.example"]
    entry = await kept(collector)
    assert entry["report"]["orders"] == big
    assert entry["headers"] == {"X-TELECART-VERSION": "2.4.0"}
    assert len(await collector.beats(entry["monitor"])) == 2


def php(value: dict[str, Any]) -> bytes:
    """As `json_encode` writes it: no spaces, slashes and other alphabets escaped."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


@pytest.mark.parametrize(
    "timestamp",
    [
        lambda now: now.timestamp(),
        lambda now: int(now.timestamp()),
        lambda now: str(int(now.timestamp())),
        lambda now: now.isoformat(),
        lambda now: now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda now: now.strftime("%Y-%m-%dT%H:%M:%S"),
        lambda now: now.astimezone().isoformat(),
        lambda now: (now - timedelta(minutes=9)).timestamp(),
        lambda now: (now + timedelta(minutes=9)).timestamp(),
    ],
)
async def test_times_of_every_kind_are_understood(collector: Collector, timestamp: Any) -> None:
    """ISO 8601 with and without an offset, Unix seconds whole, with a fraction, or as text."""
    body = php(report("магазин.рф", timestamp=timestamp(datetime.now(UTC)), path="a/b"))
    assert (await send(collector, body)).status_code == 200
    assert await shops(collector) == ["магазин.рф"]


@pytest.mark.parametrize("minutes", [-11, 11, -DAY])
async def test_an_old_or_early_timestamp_is_refused(collector: Collector, minutes: int) -> None:
    """401 beyond 10 minutes, and no monitor."""
    answer = await send(collector, dumps(report(timestamp=time.time() + minutes * 60)))
    assert answer.status_code == 401
    assert "more than 10 minutes off" in answer.json()["detail"]
    assert await shops(collector) == []


@pytest.mark.parametrize("form", ["{}", "sha256={}", "SHA256={}"])
async def test_a_signature_is_hex_with_or_without_its_name(collector: Collector, form: str) -> None:
    """Clients write it either way."""
    body = dumps(report())
    assert (
        await send(collector, body, **{"X-Pulse-Signature": form.format(sign(body, SECRET))})
    ).status_code == 200
    body = dumps(report(again=1))
    upper = form.format(sign(body, SECRET).upper())
    assert (await send(collector, body, **{"X-Pulse-Signature": upper})).status_code == 200


async def test_a_missing_or_wrong_signature_is_refused(collector: Collector) -> None:
    """401, and no monitor; the signature is of the raw body, so that a changed space breaks it."""
    body = dumps(report())
    cases = [
        ({}, "is missing"),
        ({"X-Pulse-Signature": ""}, "is not that of this body"),
        ({"X-Pulse-Signature": "sha256="}, "is not that of this body"),
        ({"X-Pulse-Signature": sign(body, "another")}, "is not that of this body"),
        ({"X-Pulse-Signature": sign(body + b" ", SECRET)}, "is not that of this body"),
        ({"X-Pulse-Signature": sign(b"{}", SECRET)}, "is not that of this body"),
        ({"X-Other": sign(body, SECRET)}, "is missing"),
    ]
    for headers, sentence in cases:
        answer = await collector.client.post("/heartbeat", content=body, headers=headers)
        assert answer.status_code == 401, headers
        assert sentence in answer.json()["detail"]
        assert SECRET not in answer.text
    assert await shops(collector) == []


async def test_without_a_secret_telemetry_is_off(store: Store) -> None:
    """503 that names the setting."""
    async with collecting(store) as served:
        answer = await send(served, dumps(report()))
        assert answer.status_code == 503
        assert "PULSE_HEARTBEAT_SECRET is not set" in answer.json()["detail"]


async def test_headers_of_the_settings_are_read(store: Store) -> None:
    """`PULSE_SIGNATURE_HEADERS` and `PULSE_VERSION_HEADERS` name them."""
    names = {"signature_headers": ("X-Shop-Sign",), "version_headers": ("X-Shop-Version",)}
    async with collecting(store, heartbeat_secret=SECRET, **names) as served:
        body = dumps(report())
        headers = {"x-shop-sign": sign(body, SECRET), "x-shop-version": "7"}
        assert (await served.client.post("/heartbeat", content=body, headers=headers)).status_code == 200
        assert (await kept(served))["headers"] == {"X-Shop-Version": "7"}
        assert (await served.client.get("/api/fleet")).json()["X-Shop-Version"] == {
            "7": {"total": 1, "alive": 1}
        }


async def test_a_bad_report_is_refused_with_a_sentence(collector: Collector) -> None:
    """422, signed as it is, and no monitor."""
    cases = [
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not UTF-8"),
        (b"[]", "the body must be an object"),
        (b"7", "the body must be an object"),
        (dumps({"timestamp": 1}), "domain must be a host name"),
        (dumps(report("")), "domain must be a host name"),
        (dumps(report(" ")), "domain must be a host name"),
        (dumps(report("a\nb")), "domain must be a host name"),
        (dumps(report("x" * 254)), "domain must be a host name"),
        (b'{"domain": "\\ud800", "timestamp": 1}', "domain must be a host name"),
        (dumps(report(7)), "domain must be a host name"),  # type: ignore[arg-type]
        (dumps({"domain": "shop.example"}), "timestamp must be ISO 8601"),
        (dumps(report(timestamp="soon")), "timestamp must be ISO 8601"),
        (dumps(report(timestamp=time.time() * 1000)), "a Unix time is in seconds"),
        (dumps(report(x=float("nan"))), "the report holds a number that JSON does not have"),
        (b'{"domain": "a", "domain": "b", "timestamp": 1}', "the report names a key twice"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "the report is nested more than 100"),
        (b"[" * 10_000, "nested more than 100"),
    ]
    for body, sentence in cases:
        answer = await send(collector, body)
        assert answer.status_code == 422, body[:100]
        assert sentence in answer.json()["detail"]
    assert (await send(collector, b" " * 20_000)).status_code == 413
    assert await shops(collector) == []


async def test_a_replay_changes_nothing(collector: Collector) -> None:
    """200 as the first time, but the monitor is beaten once; the digest outlives the time the body is valid in."""
    body = dumps(report())
    for _ in range(3):
        answer = await send(collector, body)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    entry = await kept(collector)
    assert len(await collector.beats(entry["monitor"])) == 1
    (replay,) = await collector.store.redis.keys(keys.replay("*").replace("{c}", "?c?"))
    assert await collector.store.redis.pttl(replay) > 20 * 60_000


async def test_first_reports_of_a_domain_that_race_make_one_monitor(collector: Collector) -> None:
    """Ten different bodies of one new shop at once."""
    bodies = [dumps(report(number=number)) for number in range(10)]
    answers = await asyncio.gather(*(send(collector, body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert await shops(collector) == ["shop.example"]
    assert len(await collector.beats((await kept(collector))["monitor"])) == 10


async def test_a_reservation_that_another_request_just_made_is_used(collector: Collector) -> None:
    """An id reserved a moment ago becomes the monitor, whoever writes it first."""
    reserved = new_monitor_id()
    await collector.store.redis.hset(keys.TELEMETRY, "shop.example", json.dumps({"monitor": reserved}))
    assert (await send(collector, dumps(report()))).status_code == 200
    assert (await collector.read(reserved)).status == "alive"


async def test_a_shop_whose_monitor_was_deleted_comes_back_as_another(collector: Collector) -> None:
    """A new id, because event ids are made of it and must never repeat."""
    await send(collector, dumps(report()))
    first = (await kept(collector))["monitor"]
    await monitors.delete(collector.store, await collector.read(first))
    assert (await send(collector, dumps(report(again=1)))).status_code == 200
    second = (await kept(collector))["monitor"]
    assert second != first
    assert (await collector.read(second)).status == "alive"
    assert await monitors.find_by_slug(collector.store, "shop-example") == [second]


async def test_a_shop_whose_token_was_rotated_is_still_beaten(collector: Collector) -> None:
    """Telemetry is authorised by its signature, whatever token the monitor has."""
    await send(collector, dumps(report()))
    monitor_id = (await kept(collector))["monitor"]
    await monitors.rotate_token(collector.store, await collector.read(monitor_id))
    await send(collector, dumps(report(again=1)))
    assert len(await collector.beats(monitor_id)) == 2


async def test_a_paused_shop_stays_paused(collector: Collector) -> None:
    """The report is kept, the monitor is not touched."""
    await send(collector, dumps(report()))
    monitor_id = (await kept(collector))["monitor"]
    await scripts.pause_monitor(collector.store, monitor_id, "pause")
    assert (await send(collector, dumps(report(module_version="9")))).status_code == 200
    assert (await collector.read(monitor_id)).status == "paused"
    assert (await kept(collector))["report"]["module_version"] == "9"


async def test_no_more_shops_register_than_the_settings_allow(store: Store) -> None:
    """403 that names the setting; known shops go on, and a deleted one makes room."""
    async with collecting(store, heartbeat_secret=SECRET, telemetry_max=2, telemetry_timeout=60) as served:
        for name in ("a", "b"):
            assert (await send(served, dumps(report(f"{name}.example")))).status_code == 200
        full = await send(served, dumps(report("c.example")))
        assert full.status_code == 403
        assert "raise PULSE_TELEMETRY_MAX" in full.json()["detail"]
        assert (await send(served, dumps(report("a.example", again=1)))).status_code == 200
        gone = await served.read((await kept(served, "b.example"))["monitor"])
        assert gone.timeout == 60_000
        await monitors.delete(store, gone)
        await store.redis.delete(keys.TELEMETRY_PRUNED)
        assert (await send(served, dumps(report("c.example", again=1)))).status_code == 200
        assert sorted(await shops(served)) == ["a.example", "c.example"]


async def test_a_shop_that_registers_while_it_is_forgotten_stays(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new monitor comes between the look at the old one and the end of the record."""
    assert (await send(collector, dumps(report("a.example")))).status_code == 200
    await monitors.delete(
        collector.store, await collector.read((await kept(collector, "a.example"))["monitor"])
    )
    real = registration.living

    async def then_it_registers(store: Store, monitor_id: str) -> object:
        found = await real(store, monitor_id)
        monkeypatch.undo()
        assert (await send(collector, dumps(report("a.example", again=1)))).status_code == 200
        return found

    monkeypatch.setattr(registration, "living", then_it_registers)
    assert await registration.prune_shops(collector.store) == 0
    assert (await collector.read((await kept(collector, "a.example"))["monitor"])).status == "alive"


async def test_the_fleet_counts_shops_by_version_and_status(collector: Collector) -> None:
    """Each version field by value, and per value by status; deleted shops do not count."""
    for number, (module, php_version) in enumerate([("2.3.1", "8.2"), ("2.3.1", "7.4"), ("2.4.0", 8.1)]):
        body = dumps(report(f"{number}.example", module_version=module, php_version=php_version))
        assert (await send(collector, body, **{"X-MEGAPAY-VERSION": "5"})).status_code == 200
    await send(
        collector, dumps({"domain": "bare.example", "timestamp": time.time(), "version": {"not": "one"}})
    )
    await scripts.pause_monitor(collector.store, (await kept(collector, "1.example"))["monitor"], "pause")
    await send(collector, dumps(report("gone.example")))
    await monitors.delete(
        collector.store, await collector.read((await kept(collector, "gone.example"))["monitor"])
    )
    fleet = (await collector.client.get("/api/fleet")).json()
    assert fleet == {
        "total": 4,
        "statuses": {"alive": 3, "paused": 1},
        "module_version": {"2.3.1": {"total": 2, "alive": 1, "paused": 1}, "2.4.0": {"total": 1, "alive": 1}},
        "php_version": {
            "8.2": {"total": 1, "alive": 1},
            "7.4": {"total": 1, "paused": 1},
            "8.1": {"total": 1, "alive": 1},
        },
        "version": {"3.0.3.8": {"total": 3, "alive": 2, "paused": 1}},
        "version_core": {"1.0": {"total": 3, "alive": 2, "paused": 1}},
        "X-MEGAPAY-VERSION": {"5": {"total": 3, "alive": 2, "paused": 1}},
    }


async def test_an_empty_fleet_has_every_field(collector: Collector) -> None:
    """Readers need not ask whether a field is there."""
    assert (await collector.client.get("/api/fleet")).json() == {
        "total": 0,
        "statuses": {},
        "module_version": {},
        "php_version": {},
        "version": {},
        "version_core": {},
    }


async def test_the_fleet_is_as_public_as_the_status_list(store: Store) -> None:
    """`PULSE_PUBLIC_STATUS=false` asks for a token with `read`."""
    async with collecting(store, public_status=False) as served:
        assert (await served.client.get("/api/fleet")).status_code == 401
        headers = {"Authorization": f"Bearer {await served.token('ping')}"}
        assert (await served.client.get("/api/fleet", headers=headers)).status_code == 403
        headers = {"Authorization": f"Bearer {await served.token('read')}"}
        assert (await served.client.get("/api/fleet", headers=headers)).status_code == 200


async def test_the_shops_show_their_success_counts(collector: Collector) -> None:
    """One row per shop by domain: versions, status, last report, and what its client counted."""
    told = {"sent": 3, "skipped": 70, "failed": 1}
    await send(collector, dumps(report("b.example", telemetry=told, bot_username="b_bot")))
    await send(collector, dumps(report("a.example", telemetry={"sent": -1, "skipped": "x"})))
    await send(collector, dumps(report("gone.example")))
    await monitors.delete(
        collector.store, await collector.read((await kept(collector, "gone.example"))["monitor"])
    )
    assert (await collector.client.get("/api/fleet/shops")).status_code == 401, (
        "versions are not for strangers"
    )
    collector.client.headers["Authorization"] = f"Bearer {await collector.token('read')}"
    answer = (await collector.client.get("/api/fleet/shops")).json()
    assert [answer[name] for name in ("total", "limit", "offset")] == [2, 50, 0]
    first, second = answer["items"]
    assert (first["domain"], first["telemetry"]) == ("a.example", None)
    assert (second["domain"], second["telemetry"], second["bot_username"]) == ("b.example", told, "b_bot")
    assert second["versions"]["module_version"] == report()["module_version"]
    assert second["status"] == "alive"
    assert second["monitor_id"] == (await kept(collector, "b.example"))["monitor"]
    assert second["last_seen"].endswith("Z")
    assert second["reported_at"].endswith("Z")


async def test_the_shops_come_in_pages(collector: Collector) -> None:
    """`limit`, `offset`, `status` and `q` choose; `total` counts what was chosen."""
    for number in range(3):
        await send(collector, dumps(report(f"{number}.example")))
    await scripts.pause_monitor(collector.store, (await kept(collector, "1.example"))["monitor"], "pause")

    collector.client.headers["Authorization"] = f"Bearer {await collector.token('read')}"

    async def chosen(**query: object) -> tuple[list[str], int]:
        answer = (await collector.client.get("/api/fleet/shops", params=query)).json()
        return [shop["domain"] for shop in answer["items"]], answer["total"]

    assert await chosen(limit=1, offset=1) == (["1.example"], 3)
    assert await chosen(status="paused") == (["1.example"], 1)
    assert await chosen(q="2.EX") == (["2.example"], 1)
    assert (await collector.client.get("/api/fleet/shops", params={"status": "ill"})).status_code == 422


CLIENT = """
from mishpulse_client import Telemetry
shop = Telemetry("{url}", "{secret}", "X-MEGAPAY-VERSION", lambda: {{"domain": "shop.example", "version": "3"}})
print(shop.send(), shop.send(), shop.run(force=True))
"""


async def test_the_counts_are_those_of_our_own_client(collector: Collector, tmp_path: Path) -> None:
    """Sent, skipped within the hour, sent again: the second report tells what became of the runs before it."""
    code = CLIENT.format(url=collector.url, secret=SECRET)
    known = {"PYTHONPATH": str(Path(__file__).parents[2] / "client"), "PULSE_STATE_DIR": str(tmp_path)}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code],
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "sent skipped sent\n", done.stderr
    headers = {"Authorization": f"Bearer {await collector.token('read')}"}
    (shop,) = (await collector.client.get("/api/fleet/shops", headers=headers)).json()["items"]
    assert shop["telemetry"] == {"sent": 1, "skipped": 1, "failed": 0}
    assert shop["versions"] == {"X-MEGAPAY-VERSION": "3", "version": "3"}


async def test_an_id_that_was_left_over_never_comes_back(collector: Collector) -> None:
    """A process died after the monitor was written and before its report was kept; the monitor was deleted since.

    The next report makes another monitor: with the old id its events would pass for those of the first life.
    """
    old = "0" * 9 + "abcde"
    await collector.store.redis.hset(keys.TELEMETRY, "shop.example", json.dumps({"monitor": old}))
    found = await registration.shop(collector.store, "shop.example", timeout_ms=DAY * 1000, at_most=10)
    assert found is not None
    assert found.monitor_id != old
    await collector.store.redis.hset(keys.slugs(1, "backup"), old, "backup")
    made, _ = await registration.create_by_slug(collector.store, "backup")
    assert [one.monitor_id for one in made] != [old]
    assert await monitors.find_by_slug(collector.store, "backup") == [made[0].monitor_id]
