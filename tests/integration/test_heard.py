"""A silence counts only up to the newest stamp: until then nobody is known to have listened."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from collecting import Collector, collecting, dumps, sign
from waiting import wait_until
from watching import NothingWaits, beaten, now_ms, running, status

from services.collector import listening, registration
from services.collector.app import create_app
from services.collector.listening import keep_stamping
from services.watchdog import sweep
from services.watchdog.transitions import declare
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.settings import load

SECRET = "the heartbeat secret"


async def passed(store: Store, monitor_id: str) -> bool:
    return bool(await store.redis.zscore(keys.deadlines(0), monitor_id) < await now_ms(store))


async def test_a_deadline_after_the_newest_stamp_is_no_death(store: Store) -> None:
    """However fresh the stamp is: a collector killed a moment ago has heard nothing since. The next stamp decides."""
    await scripts.stamp(store.redis, 0, None)
    monitor_id = await beaten(store, timeout=30)
    await wait_until(
        lambda: passed(store, monitor_id), "the deadline, within the second that the stamp is fresh"
    )
    assert not (await scripts.due(store.redis, 0, 10)).stale
    assert (await scripts.due(store.redis, 0, 10)).ids == []
    assert (await scripts.declare(store.redis, 0, {monitor_id: ""}))[1] == [scripts.UNHEARD]
    assert (await scripts.perish(store.redis, 0, [monitor_id]))[1] == [scripts.UNHEARD]
    assert await status(store, monitor_id) == "alive"
    await scripts.stamp(store.redis, 0, None)
    assert (await scripts.due(store.redis, 0, 10)).ids == [monitor_id]
    assert await declare(store, 0, [monitor_id]) == 1


async def test_a_hint_waits_for_the_stamp_and_not_for_ever(store: Store) -> None:
    """Who asks for a death that no stamp has reached gets it with the next one, or nothing once the stamp is stale."""
    await scripts.stamp(store.redis, 0, None)
    late, never = await beaten(store, timeout=30), await beaten(store, timeout=60)
    await wait_until(lambda: passed(store, never), "both deadlines")
    asked = asyncio.create_task(declare(store, 0, [late], by="hint"))
    await asyncio.sleep(0.02)
    assert not asked.done()
    await scripts.stamp(store.redis, 0, None)
    assert await asked == 1
    await store.redis.set(keys.ingest(0), int(await store.redis.zscore(keys.deadlines(0), never)) - 1)
    assert await asyncio.wait_for(declare(store, 0, [never], by="hint"), 2) == 0


async def test_the_sweep_neither_sleeps_nor_spins_until_the_stamp(store: Store) -> None:
    """It looks again in a few milliseconds while a deadline has passed and no stamp has reached it."""
    await scripts.stamp(store.redis, 0, None)
    monitor_id = await beaten(store, timeout=30)
    await wait_until(lambda: passed(store, monitor_id), "the deadline")
    assert 0.002 <= await sweep.step(store, 0, 0.1) <= 0.01


async def test_a_collector_stamps_right_after_each_deadline(store: Store) -> None:
    """So waiting for the stamp costs a death no time: most of ten in a row are declared within 50 ms."""
    stamping = asyncio.create_task(keep_stamping(store, load(), NothingWaits()))
    async with running(store, expiry_hints=False):
        ids = [await beaten(store, timeout=700 + 60 * number) for number in range(10)]
        armed = {one: await store.redis.zscore(keys.deadlines(0), one) for one in ids}
        await wait_until(lambda: all_dead(store, ids), "all deaths")
    stamping.cancel()
    lags = sorted([one.since - armed[one.id] for one in await monitors.get_many(store, ids)])
    assert lags[5] < 50, lags


async def all_dead(store: Store, ids: list[str]) -> bool:
    return all(monitor.status == "dead" for monitor in await monitors.get_many(store, ids))


async def test_a_stamp_says_until_when_and_takes_nothing_back(store: Store) -> None:
    """Another collector may know of a later moment; a time that is still to come is no such moment."""
    now = await now_ms(store)
    for heard, stands in ((now - 500, now - 500), (now - 800, now - 500), (now - 200, now - 200)):
        await scripts.stamp(store.redis, 0, None, heard)
        assert int(await store.redis.get(keys.ingest(0))) == stands
    await scripts.stamp(store.redis, 0, None, now + 60_000)
    assert now <= int(await store.redis.get(keys.ingest(0))) <= await now_ms(store)


async def test_a_stamp_names_the_deadline_that_none_has_reached(store: Store) -> None:
    """Also one that passed while the collector recorded what was there: it has to stamp again at once."""
    now = await now_ms(store)
    await scripts.stamp(store.redis, 0, None, now - 100)
    await store.redis.zadd(keys.deadlines(0), {"passed": now - 50, "ahead": now + 60_000})
    following = (await scripts.stamp(store.redis, 0, None, now - 100)).following
    assert following is not None
    assert following <= -50
    following = (await scripts.stamp(store.redis, 0, None, now)).following
    assert following == pytest.approx(60_000, abs=2_000)


async def test_after_a_gap_the_stamp_is_its_end(store: Store) -> None:
    """Whatever the collector knew: the gap excuses until now, and must not be found once more."""
    now = await now_ms(store)
    await store.redis.set(keys.ingest(0), now - 20_000)
    assert (await scripts.stamp(store.redis, 0, None, now - 15_000)).gap >= 20_000
    assert (await scripts.stamp(store.redis, 0, None, now - 15_000)).gap == 0
    assert await store.redis.zcard(keys.gaps(0)) == 1


WAYS = ["a known token", "a token", "ping by slug", "run by slug", "telemetry"]


async def request_of(collector: Collector, way: str, token: str) -> bytes:
    """A heartbeat of the monitor `worker`, which has that token, or of the shop of this name."""
    headers = "Host: x\r\nConnection: keep-alive\r\n"
    if way == "telemetry":
        body = dumps({"domain": "worker", "timestamp": int(time.time()), "nonce": time.time_ns()})
        headers += f"X-Pulse-Signature: {sign(body, SECRET)}\r\nContent-Length: {len(body)}\r\n"
        return f"POST /heartbeat HTTP/1.1\r\n{headers}\r\n".encode() + body
    key = await collector.token("ping")
    path = {"ping by slug": f"/ping/{key}/worker", "run by slug": f"/p/{key}/worker"}
    return f"GET {path.get(way, f'/api/heartbeat/{token}')} HTTP/1.1\r\n{headers}\r\n".encode()


@pytest.mark.parametrize("way", WAYS)
async def test_what_arrived_while_the_collector_stood_still_is_recorded_before_it_stamps(
    store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The loop is held up across a deadline; the heartbeat that came in time is in a socket all the while."""
    real, held = scripts.stamp, [0]
    seen: list[int] = []

    async def stamp(redis: object, shard: int, blind_after: int | None, heard: int | None) -> scripts.Stamped:
        if held[0] and (heard or 0) > held[0] + 150:  # one that was under way before says nothing of it
            found = [monitor async for page in monitors.pages(store) for monitor in page]
            seen.append(max((monitor.seen or 0 for monitor in found), default=0))
        return await real(store.redis, shard, blind_after, heard)

    monkeypatch.setattr(scripts, "stamp", stamp)
    monkeypatch.setattr(scripts, "beat", slowly(scripts.beat))
    for module, name in ((monitors, "find_by_token"), (registration, "by_slug"), (registration, "shop")):
        monkeypatch.setattr(module, name, slowly(getattr(module, name)))
    async with collecting(store, heartbeat_secret=SECRET) as collector:
        token = "" if way == "telemetry" else (await collector.monitor("worker", timeout=60_000))[1]
        request = await request_of(collector, way, token)
        await wait_until(lambda: store.redis.exists(keys.ingest(0)), "the first stamp")
        with socket.socket() as client:
            client.connect((urlsplit(collector.url).hostname, urlsplit(collector.url).port))
            client.setblocking(False)
            if way in ("a known token", "telemetry"):
                await asyncio.get_running_loop().sock_sendall(client, request)
                assert b" 200 " in await asyncio.get_running_loop().sock_recv(client, 1_000)
                request = await request_of(collector, way, token)
            await asyncio.sleep(0.05)
            held[0] = await now_ms(store)
            late = threading.Timer(0.1, client.send, (request,))
            late.start()
            time.sleep(2 * listening.STAMP_EVERY)  # noqa: ASYNC251 - the loop stands still: that is what this is about
            late.join()
            await wait_until(lambda: seen, "a stamp after it")
    assert seen[0] > held[0], "the stamp came before the heartbeat"


def slowly(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same, a while later: a stamp that did not wait would be there first."""

    async def later(*arguments: object, **named: object) -> Any:
        await asyncio.sleep(0.03)
        return await function(*arguments, **named)

    return later


class Looking(NothingWaits):
    """It takes a while to see to it that everything is recorded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.looks: list[tuple[int, int]] = []
        """When each began, and the newest stamp then, which is that of the one before."""

    async def settled(self, _shard: int) -> None:
        """Returns a while after it noted the time."""
        stamped = await self.store.redis.get(keys.ingest(0))
        self.looks.append((await now_ms(self.store), int(stamped or 0)))
        await asyncio.sleep(0.1)


async def test_a_stamp_is_of_the_time_before_it_looked(store: Store) -> None:
    """Who comes while it looks may not be recorded when the stamp is."""
    looking = Looking(store)
    stamping = asyncio.create_task(keep_stamping(store, load(), looking))
    await wait_until(lambda: len(looking.looks) > 2, "a look after two stamps")
    stamping.cancel()
    (_, _), (second, _), (_, stamped) = looking.looks[:3]
    assert 0 < stamped <= second


async def test_a_flood_keeps_no_stamp_until_it_is_stale(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for what is there, but not for ever."""
    monkeypatch.setattr(listening, "SETTLE_WITHIN", 0.05)
    stamping = asyncio.create_task(keep_stamping(store, load(), Flooded()))
    await wait_until(lambda: store.redis.exists(keys.ingest(0)), "a stamp")
    stamping.cancel()


class Flooded(NothingWaits):
    """More comes than can be recorded."""

    async def settled(self, _shard: int) -> None:
        """Never."""
        await asyncio.Event().wait()


async def test_in_a_flood_a_stamp_is_never_stale(store: Store) -> None:
    """Each waits as long as it may, and the watchdogs go on all the while."""
    stamping = asyncio.create_task(keep_stamping(store, load(), Flooded()))
    await wait_until(lambda: store.redis.exists(keys.ingest(0)), "a stamp")
    ages = []
    for _ in range(150):
        ages.append(await now_ms(store) - int(await store.redis.get(keys.ingest(0))))
        await asyncio.sleep(0.01)
    stamping.cancel()
    assert max(ages) < scripts.STALE_AFTER_MS, ages


async def test_a_stamp_waits_until_a_turn_has_let_nobody_in(store: Store) -> None:
    """One connection is accepted a turn (uvloop), and its heartbeat read some turns later."""
    crowd = Crowd()
    stamping = asyncio.create_task(keep_stamping(store, load(), crowd))
    await wait_until(lambda: store.redis.exists(keys.ingest(0)), "a stamp")
    stamping.cancel()
    assert crowd.accepted_when_settled == 40


class Crowd(NothingWaits):
    """Forty wait at the door."""

    turns = 0
    accepted_when_settled = 0

    @property
    def accepted(self) -> int:  # type: ignore[override]
        """Two looks are a turn."""
        self.turns += 1
        return min(40, self.turns // 2)

    async def settled(self, _shard: int) -> None:
        """Notes how many are in."""
        self.accepted_when_settled = min(40, self.turns // 2)


async def test_nobody_is_heard_before_the_port_is_served(store: Store) -> None:
    """Connections wait there meanwhile; a stamp would end the gap before anybody was let in."""
    app = create_app(store, load())
    async with app.router.lifespan_context(app):
        await asyncio.sleep(2 * listening.STAMP_EVERY)
        assert not await store.redis.exists(keys.ingest(0))
        app.opened()
        await wait_until(lambda: store.redis.exists(keys.ingest(0)), "the first stamp")
