"""Where a deadline stands after whatever may move it, and who may move it while others judge."""

import json
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from waiting import wait_until
from watching import beaten, deaths, listening, now_ms, running

from services.admin import past
from services.watchdog import sweep
from services.watchdog.transitions import BATCH, declare
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.events import unpacked
from shared.model import Monitor, completed


async def beat(store: Store, monitor_id: str, kind: scripts.Kind = "ok") -> None:
    monitor = await monitors.get(store, monitor_id)
    target = scripts.monitor_keys(store, monitor_id, monitor.token_hash)
    await scripts.beat(store.redis, 0, [scripts.Beat(target, kind)])


async def deadline_of(store: Store, monitor_id: str) -> float:
    return float(await store.redis.zscore(keys.deadlines(0), monitor_id))


async def test_no_deadline_that_appears_is_slept_through(store: Store) -> None:
    """However far the next known deadline is, the sweep looks again after its longest sleep."""
    await beaten(store, timeout=60_000)
    await scripts.stamp(store.redis, 0, 10_000)
    assert await sweep.step(store, 0, 0.1) == 0.1
    await beaten(store, timeout=50)
    assert 0 < await sweep.step(store, 0, 0.1) < 0.06


async def test_the_sweep_goes_on_after_any_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage, or a bug, delays a death and never hides it."""
    errors = [ValueError("a bug"), RedisConnectionError("away")]
    real = scripts.due

    async def due(*arguments: object) -> scripts.Due:
        if errors:
            raise errors.pop()
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scripts, "due", due)
    await beaten(store, timeout=1)
    async with listening(store), running(store, expiry_hints=False):
        await wait_until(lambda: deaths(store), "the death")


async def test_a_shorter_timeout_holds_for_the_silence_under_way(store: Store) -> None:
    """An edit moves the deadline to the last heartbeat and the new time, and the TTL key with it."""
    monitor_id = await beaten(store, timeout=600_000)
    await scripts.update_monitor(store, monitor_id, {"timeout": "20000", "grace": "5000"})
    monitor = await monitors.get(store, monitor_id)
    assert await deadline_of(store, monitor_id) == (monitor.seen or 0) + 25_000
    assert await store.redis.pttl(keys.pulse(0, monitor_id)) <= 25_000 + 25_000 // 16


@pytest.mark.parametrize("kind", ["ok", "warning", "error"])
async def test_a_beat_on_a_dead_cron_monitor_puts_it_back_on_watch(store: Store, kind: scripts.Kind) -> None:
    """It is due at once, so that a watchdog computes its next time."""
    monitor_id = await beaten(store, schedule="* * * * *")
    await store.redis.hset(keys.monitor(0, monitor_id), "status", "dead")  # type: ignore[misc]
    await store.redis.zadd(keys.deadlines(0), {monitor_id: "inf"})
    await beat(store, monitor_id, kind)
    assert await deadline_of(store, monitor_id) <= await now_ms(store)


async def left_by(store: Store, monitor_id: str) -> list[str]:
    """All that Redis says of a monitor and its newest event, its id, token and death written as ID, * and DIED."""
    record = completed(monitor_id, await store.redis.hgetall(keys.monitor(0, monitor_id)))  # type: ignore[misc]
    died = int(record["since"])
    event = next(
        fields
        for _, packed in await store.redis.xrevrange(keys.events(0))
        if (fields := unpacked(packed))["monitor"] == monitor_id
    )
    found = [
        {**record, "token": "*"},
        {
            field: str(died - int(ms)) if field.startswith(f"{died // 86_400_000}:") else ms
            for field, ms in (await past.history(store, monitor_id)).items()
        },
        dict(event),
        await store.redis.zscore(keys.deadlines(0), monitor_id),
        [
            await store.redis.zscore(key, record["incident"])
            for key in (keys.incidents(0), keys.open_incidents(0))
        ],
    ]
    return [
        json.dumps(one, sort_keys=True).replace(monitor_id, "ID").replace(str(died), "DIED") for one in found
    ]


@pytest.mark.parametrize("settings", [{}, {"slug": "w", "tags": ["a", "b"], "channels": "1", "grace": 5}])
@pytest.mark.parametrize(
    "well_for", [40, 3 * 86_400_000 + 40, 500 * 86_400_000], ids=["now", "days", "years"]
)
@pytest.mark.parametrize("kind", ["ok", "warning"])
async def test_the_short_way_to_die_leaves_what_the_long_way_leaves(
    store: Store, kind: scripts.Kind, settings: dict[str, object], well_for: int
) -> None:
    """Nearly every death takes the short one."""
    ids = []
    for number in range(2):
        own = {"slug": f"{settings['slug']}{number}"} if "slug" in settings else {}
        ids.append(await beaten(store, timeout=60_000, **{**settings, **own}))
        await beat(store, ids[-1], kind)
    now = await now_ms(store)
    times = {"since": now - well_for, "seen": now - 30}
    for monitor_id in ids:
        await store.redis.hset(keys.monitor(0, monitor_id), mapping=times)  # type: ignore[misc]
        await store.redis.delete(keys.history(0, monitor_id))
    await scripts.stamp(store.redis, 0, 10_000)
    await store.redis.zadd(keys.deadlines(0), dict.fromkeys(ids, now - 1))
    (one,), (other,) = (
        (await scripts.perish(store.redis, 0, ids[:1]))[1],
        (await scripts.declare(store.redis, 0, {ids[1]: ""}))[1],
    )
    assert min(one, other) >= 0
    short, long = [await left_by(store, monitor_id) for monitor_id in ids]
    assert short == [one.replace('"w1', '"w0') for one in long]


@pytest.mark.parametrize("kind", ["ok", "error"])
async def test_what_a_death_owes_is_written_when_it_ends(store: Store, kind: scripts.Kind) -> None:
    """A death by the short way is only noted in the status; nobody who reads sees a difference."""
    monitor_id = await beaten(store, timeout=60_000)
    await beat(store, monitor_id, "ok")
    alive_since = await now_ms(store) - 40
    await store.redis.hset(keys.monitor(0, monitor_id), "since", alive_since)  # type: ignore[misc]
    await scripts.stamp(store.redis, 0, 10_000)
    await store.redis.zadd(keys.deadlines(0), {monitor_id: alive_since + 30})
    await scripts.perish(store.redis, 0, [monitor_id])
    written = await store.redis.hgetall(keys.history(0, monitor_id))  # type: ignore[misc]
    read = await past.history(store, monitor_id)
    (page,) = (await past.incidents(store, 10, 0, is_open=True)).items
    assert written.keys() != read.keys()
    await beat(store, monitor_id, kind)
    after = await store.redis.hgetall(keys.history(0, monitor_id))  # type: ignore[misc]
    noted = await store.redis.hget(keys.monitor(0, monitor_id), "status")  # type: ignore[misc]
    assert noted == ("alive" if kind == "ok" else "error")
    assert after == await past.history(store, monitor_id)
    alive = next(day for day in read if day.endswith(":alive"))
    assert after[alive] == read[alive]
    found, _ = await past.incident(store, page[0].id)
    assert (found.opened, found.status, found.reason) == (page[0].opened, "dead", "silence")
    assert (found.closed is None) == (kind == "error")


async def noted_dead(store: Store, **settings: Any) -> Monitor:
    """A monitor that died by the short way, so that its record says so by a note alone."""
    monitor_id = await beaten(store, timeout=60_000, **settings)
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
    await scripts.stamp(store.redis, 0, 10_000)
    assert (await scripts.perish(store.redis, 0, [monitor_id]))[1][0] > 0
    assert "/" in str(await store.redis.hget(keys.monitor(0, monitor_id), "status"))  # type: ignore[misc]
    return await monitors.get(store, monitor_id)


async def test_every_way_to_read_a_noted_death_finds_it_whole(store: Store) -> None:
    """One by one, in lists, and by the few fields that searches read."""
    dead = await noted_dead(store)
    assert (dead.status, dead.gen, dead.incident) == ("dead", 3, f"{dead.id}.3")
    assert await monitors.get_many(store, [dead.id]) == [dead]
    assert await monitors.fields(store, [dead.id], ("status", "since", "name")) == {
        dead.id: ["dead", str(dead.since), dead.name]
    }


@pytest.mark.parametrize("way", ["short", "long"])
async def test_a_death_takes_its_hint_with_it(store: Store, way: str) -> None:
    """A hint that comes later would ask about it once more, and in a storm about everyone."""
    ids = [await beaten(store, timeout=60_000) for _ in range(2)]
    if way == "long":
        for name in ids:
            await store.redis.hset(keys.monitor(0, name), "started", 1)  # type: ignore[misc]
    past_due, alive = ids
    await store.redis.zadd(keys.deadlines(0), {past_due: 1})
    await scripts.stamp(store.redis, 0, 10_000)
    assert await declare(store, 0, ids) == 1
    assert not await store.redis.exists(keys.pulse(0, past_due))
    assert await store.redis.exists(keys.pulse(0, alive))


async def test_an_edit_of_a_noted_death_keeps_its_incident(store: Store) -> None:
    """The note is written out before anything else of the record changes."""
    dead = await noted_dead(store)
    before = await past.history(store, dead.id)
    after = await monitors.update(store, dead, {"name": "other"})
    assert (after.status, after.gen, after.since, after.incident) == ("dead", 4, dead.since, dead.incident)
    assert await store.redis.hgetall(keys.history(0, dead.id)) == before  # type: ignore[misc]
    assert await past.history(store, dead.id) == before


@pytest.mark.parametrize("action", ["pause", "delete"])
async def test_a_noted_death_that_is_ended_by_hand_is_no_open_incident(store: Store, action: str) -> None:
    """A pause closes it, with its record; deletion forgets it."""
    dead = await noted_dead(store)
    if action == "pause":
        await scripts.pause_monitor(store, dead.id, "pause")
        found, _ = await past.incident(store, dead.incident or "")
        assert (found.opened, found.closed is None) == (dead.since, False)
    else:
        await monitors.delete(store, dead)
        assert await store.redis.zcard(keys.incidents(0)) == 0
    assert await store.redis.zcard(keys.open_incidents(0)) == 0


async def test_a_noted_death_of_a_clock_that_stepped_back_is_brought_to_the_present(store: Store) -> None:
    """Its time is part of the note."""
    dead = await noted_dead(store)
    ahead = await now_ms(store) + 3_600_000
    await store.redis.hset(keys.monitor(0, dead.id), "status", f"alive/{ahead}")  # type: ignore[misc]
    await scripts.rewind(store.redis, 0, [dead.id])
    assert dead.since <= (await monitors.get(store, dead.id)).since <= await now_ms(store)


async def test_a_long_life_of_short_deaths_keeps_a_hundred_incidents(store: Store) -> None:
    """Each is written out when it ends, which is when the oldest go."""
    monitor_id = await beaten(store, timeout=60_000)
    filler = {f"{day}:alive": 1 for day in range(2_400)}
    await store.redis.hset(keys.history(0, monitor_id), mapping=filler)  # type: ignore[misc]
    await scripts.stamp(store.redis, 0, 10_000)
    for _ in range(120):
        await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
        assert (await scripts.perish(store.redis, 0, [monitor_id]))[1][0] >= 0
        await beat(store, monitor_id)
    left = await store.redis.hkeys(keys.history(0, monitor_id))  # type: ignore[misc]
    assert 100 <= sum(field.startswith("i:") for field in left) <= 120
    assert sum(field.endswith(":alive") for field in left) < 420


@pytest.mark.parametrize("field", ["since", "seen", "gen"])
async def test_a_monitor_that_lacks_a_number_dies_all_the_same(store: Store, field: str) -> None:
    """The short way leaves it to the long one, which takes 0 for what is no number."""
    monitor_id = await beaten(store, timeout=60_000)
    await store.redis.hset(keys.monitor(0, monitor_id), field, "soon")  # type: ignore[misc]
    await scripts.stamp(store.redis, 0, 10_000)
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
    assert (await scripts.perish(store.redis, 0, [monitor_id]))[1] == [scripts.LONG_WAY]
    assert await declare(store, 0, [monitor_id]) == 1
    assert await store.redis.hget(keys.monitor(0, monitor_id), "status") == "dead"  # type: ignore[misc]


async def test_an_incident_whose_record_was_lost_closes_all_the_same(store: Store) -> None:
    """Damaged data must not keep a monitor dead for ever."""
    monitor_id = await beaten(store, timeout=60_000)
    await beat(store, monitor_id, "error")
    await store.redis.delete(keys.history(0, monitor_id))
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
    await scripts.stamp(store.redis, 0, 10_000)
    assert await declare(store, 0, [monitor_id]) == 1
    await beat(store, monitor_id)
    assert (await monitors.get(store, monitor_id)).status == "alive"
    assert await store.redis.zcard(keys.open_incidents(0)) == 0


async def test_a_death_tells_what_was_edited_last(store: Store) -> None:
    """Also when settings were written down for the next event before."""
    monitor_id = await beaten(store, timeout=60_000, tags=["old"])
    assert '["old"]' in await store.redis.hget(keys.monitor(0, monitor_id), "card")  # type: ignore[misc, operator]
    for fields in ({"tags": '["new"]', "timeout": "70000"}, {"channels": "7", "muted": "1893456000000"}):
        await scripts.update_monitor(store, monitor_id, fields)
        await beat(store, monitor_id, "warning")
        await beat(store, monitor_id)
    await scripts.stamp(store.redis, 0, 10_000)
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
    assert (await scripts.perish(store.redis, 0, [monitor_id]))[1][0] > 0
    _, newest = (await store.redis.xrevrange(keys.events(0), count=1))[0]
    told = unpacked(newest)
    assert (told["type"], told["tags"], told["timeout"]) == ("monitor.dead", '["new"]', "70000")
    assert (told["channels"], told["muted"]) == ("7", "1893456000000")


async def test_no_card_makes_a_record_large(store: Store) -> None:
    """Redis keeps a hash small only while no value has more than 64 bytes."""
    monitor_id = await beaten(store, timeout=60_000, tags=["a" * 40], slug="s" * 40)
    assert await store.redis.hget(keys.monitor(0, monitor_id), "card") is None  # type: ignore[misc]
    assert await store.redis.object("encoding", keys.monitor(0, monitor_id)) == "listpack"
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
    await scripts.stamp(store.redis, 0, 10_000)
    assert await declare(store, 0, [monitor_id]) == 1


async def test_an_error_and_the_death_after_it_are_one_incident(store: Store) -> None:
    """The death is told with the incident that the error opened, and recovery closes that one."""
    monitor_id = await beaten(store, timeout=1)
    await beat(store, monitor_id, "error")
    async with listening(store), running(store):
        await wait_until(lambda: deaths(store), "the death")
    assert await store.redis.zcard(keys.open_incidents(0)) == 1
    entries = [unpacked(fields) for _, fields in await store.redis.xrange(keys.events(0))]
    incidents = {
        fields["incident"] for fields in entries if fields["type"] in ("monitor.error", "monitor.dead")
    }
    assert len(incidents) == 1
    await beat(store, monitor_id)
    assert await store.redis.zcard(keys.open_incidents(0)) == 0


@pytest.mark.parametrize("way", ["short", "long"])
async def test_watchdogs_that_hold_the_same_list_declare_each_once(store: Store, way: str) -> None:
    """Each checks the deadline again inside the script, where the one before has moved it."""

    async def dead() -> int:
        """How many of them the script of this way declares dead."""
        if way == "short":
            _, results = await scripts.perish(store.redis, 0, ids)
        else:
            _, results = await scripts.declare(store.redis, 0, dict.fromkeys(ids, ""))
        return sum(result >= 0 for result in results)

    ids = [await beaten(store, timeout=60_000) for _ in range(5)]
    await store.redis.zadd(keys.deadlines(0), dict.fromkeys(ids, 1))
    async with listening(store):
        assert [await dead() for _ in range(3)] == [5, 0, 0]
        for monitor_id in ids:
            await beat(store, monitor_id)
        assert await dead() == 0, "their heartbeats came before"
    assert sorted(await deaths(store)) == sorted(ids)


async def test_what_a_look_passed_over_is_found_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a storm others declare what this look thinks is still there; no sleep comes before a look at the oldest."""
    monkeypatch.setattr(sweep, "LIMIT", 4 * BATCH)  # more than are under way, or nothing is passed over
    ids = [await beaten(store, timeout=60_000) for _ in range(12 * BATCH)]
    await store.redis.zadd(keys.deadlines(0), {one: at for at, one in enumerate(ids, 1)})
    await scripts.stamp(store.redis, 0, 10_000)
    real = scripts.due
    passed_over = []

    async def due(*arguments: int) -> scripts.Due:
        if arguments[-1] > 0:
            passed_over.append(arguments[-1])
            await declare(store, 0, ids[: 8 * BATCH])
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scripts, "due", due)
    while await sweep.step(store, 0, 60.0) == 0:
        pass
    assert passed_over
    assert await store.redis.zcount(keys.deadlines(0), "-inf", await now_ms(store)) == 0
    assert sorted(await deaths(store)) == sorted(ids)


async def test_a_storm_that_fails_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the two things under way hides the other's error, and nothing goes on behind."""
    monkeypatch.setattr(sweep, "LIMIT", 8)
    ids = [await beaten(store, timeout=60_000) for _ in range(20)]
    await store.redis.zadd(keys.deadlines(0), dict.fromkeys(ids, 1))
    await scripts.stamp(store.redis, 0, 10_000)

    async def fails(*_: object) -> int:
        raise RedisConnectionError("away")

    monkeypatch.setattr(sweep, "declare", fails)
    with pytest.raises(RedisConnectionError, match="away"):
        await sweep.step(store, 0, 0.1)


async def judged_long_ago(store: Store) -> tuple[str, int, int]:
    """A cron monitor that is due and was read by a watchdog: id, generation and last heartbeat as read."""
    monitor_id = await beaten(store, schedule="* * * * *")
    seen = await now_ms(store) - 180_000
    await store.redis.hset(keys.monitor(0, monitor_id), "seen", str(seen))  # type: ignore[misc]
    await scripts.stamp(store.redis, 0, 10_000)
    return monitor_id, (await monitors.get(store, monitor_id)).gen, seen


async def change(store: Store, monitor_id: str, meanwhile: str) -> None:
    if meanwhile == "a heartbeat":
        await beat(store, monitor_id)
    elif meanwhile == "an edit":
        await scripts.update_monitor(store, monitor_id, {"grace": "3600000"})
    else:
        now = await now_ms(store)
        await store.redis.zadd(keys.gaps(0), {f"{now - 170_000}-{now}": now})
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})


@pytest.mark.parametrize("meanwhile", ["a heartbeat", "an edit", "a gap"])
async def test_a_verdict_on_what_has_changed_kills_nobody(store: Store, meanwhile: str) -> None:
    """What a watchdog judged is compared with what is there now; if it differs the schedule is judged again."""
    monitor_id, gen, seen = await judged_long_ago(store)
    await change(store, monitor_id, meanwhile)
    _, results = await scripts.declare(store.redis, 0, {monitor_id: f"{gen}:{seen}:0"})
    assert results == [scripts.NEEDS_JUDGEMENT]
    assert await deaths(store) == []


@pytest.mark.parametrize("meanwhile", ["a heartbeat", "an edit"])
async def test_a_deadline_judged_from_what_has_changed_is_not_set(store: Store, meanwhile: str) -> None:
    """The next look computes it from the newer state."""
    monitor_id, gen, seen = await judged_long_ago(store)
    await change(store, monitor_id, meanwhile)
    judged = scripts.CronDeadline(monitor_id, gen, seen, deadline=seen + 31_536_000_000, base=seen)
    assert await scripts.rearm(store.redis, 0, [judged]) == [0]
    assert await deadline_of(store, monitor_id) == 1
