"""The beat script: what a heartbeat does to a monitor."""

import asyncio

import pytest
from redis.exceptions import ReadOnlyError

from shared import events, keys, monitors, scripts
from shared.connection import Store
from shared.monitors import NewMonitor


async def make(store: Store, **settings: object) -> scripts.MonitorKeys:
    monitor, _ = await monitors.create(store, NewMonitor(name="api-worker", **settings))  # type: ignore[arg-type]
    return scripts.monitor_keys(store, monitor.id, monitor.token_hash)


async def beat(
    store: Store, target: scripts.MonitorKeys, kind: scripts.Kind = "ok", message: str = ""
) -> int:
    return (await scripts.beat(store.redis, 0, [scripts.Beat(target, kind, message=message)]))[0]


async def types(store: Store) -> list[str]:
    entries = await store.redis.xrange(keys.events(0))
    return [events.parse(0, entry_id, fields).type for entry_id, fields in entries]


async def test_a_first_heartbeat_makes_a_monitor_alive_and_arms_its_deadline(store: Store) -> None:
    """It leaves new for alive, with an event, a TTL key and a deadline of timeout + grace."""
    target = await make(store, timeout=60_000, grace=5_000)
    assert await beat(store, target) == scripts.CHANGED
    monitor = await monitors.get(store, target.monitor_id)
    assert monitor.status == "alive"
    assert monitor.seen is not None
    assert await store.redis.zscore(keys.deadlines(0), monitor.id) == monitor.seen + 65_000
    assert 64_000 < await store.redis.pttl(keys.pulse(0, monitor.id)) <= 65_000 + 4_000
    assert await types(store) == ["monitor.created", "monitor.alive"]


@pytest.mark.parametrize("timeout", [1_600, 64_000, 86_400_000])
async def test_hints_of_one_moment_fall_at_different_times(store: Store, timeout: int) -> None:
    """None before its deadline, none later than a sixteenth of the time or 4 s; together they would stop the server."""
    targets = [await make(store, timeout=timeout, grace=0) for _ in range(200)]
    for target in targets:
        await beat(store, target)
    late = [
        await store.redis.pexpiretime(keys.pulse(0, target.monitor_id))
        - int(await store.redis.zscore(keys.deadlines(0), target.monitor_id))
        for target in targets
    ]
    latest = min(timeout // 16, 4_000)
    assert 0 <= min(late) < latest / 4
    assert latest * 3 / 4 < max(late) <= latest + 1  # the TTL counts from the call's end on another server


@pytest.mark.parametrize("hint", ["there", "gone"])
@pytest.mark.parametrize("kind", ["ok", "warning", "error"])
async def test_every_further_heartbeat_moves_the_deadline_and_is_no_event(
    store: Store, kind: scripts.Kind, hint: str
) -> None:
    """Whichever way through the script it takes: deadline, TTL key, last heartbeat and list are as after the first."""
    target = await make(store, timeout=60_000, grace=5_000)
    await beat(store, target, kind)
    told = await types(store)
    await store.redis.zadd(keys.deadlines(0), {target.monitor_id: 1})
    assert await store.redis.pexpire(keys.pulse(0, target.monitor_id), 9_000 if hint == "there" else 0)
    await store.redis.hset(keys.monitor(0, target.monitor_id), "seen", "1")  # type: ignore[misc]
    assert await beat(store, target, kind) == scripts.RECORDED
    seen = (await monitors.get(store, target.monitor_id)).seen or 0
    assert await store.redis.zscore(keys.deadlines(0), target.monitor_id) == seen + 65_000
    assert 64_000 < await store.redis.pttl(keys.pulse(0, target.monitor_id)) <= 65_000 + 4_000
    assert await store.redis.llen(keys.beats(0, target.monitor_id)) == 2
    assert await types(store) == told


@pytest.mark.parametrize("before", ["ok", "warning", "error"])
@pytest.mark.parametrize("after", ["ok", "warning", "error"])
async def test_a_heartbeat_that_says_something_else_is_a_change(
    store: Store, before: scripts.Kind, after: scripts.Kind
) -> None:
    """From each status to each other one: one event, the new status, one more generation."""
    target = await make(store)
    await beat(store, target, before)
    was = await monitors.get(store, target.monitor_id)
    answer = await beat(store, target, after)
    now = await monitors.get(store, target.monitor_id)
    assert now.status == {"ok": "alive", "warning": "warning", "error": "error"}[after]
    changed = before != after
    assert (answer, now.gen - was.gen) == ((scripts.CHANGED, 1) if changed else (scripts.RECORDED, 0))
    assert len(await types(store)) == 2 + changed


async def test_an_error_opens_one_incident_and_is_told_again_when_its_message_changes(store: Store) -> None:
    """A repeated error belongs to the same incident; only news about it is an event."""
    target = await make(store)
    for message in ("disk full", "disk full", "disk gone"):
        await beat(store, target, "error", message)
    await beat(store, target)
    assert await types(store) == ["monitor.created", "monitor.error", "monitor.error", "monitor.recovered"]
    entries = [events.unpacked(fields) for _, fields in await store.redis.xrange(keys.events(0))]
    assert entries[1]["incident"] == entries[2]["incident"] == entries[3]["incident"]
    assert await store.redis.zcard(keys.open_incidents(0)) == 0
    assert await store.redis.zcard(keys.incidents(0)) == 1


async def test_a_message_is_told_as_it_came(store: Store) -> None:
    """Also one with NUL, which stands between the values of an event's record."""
    target = await make(store, timeout=60_000)
    await beat(store, target, "error", message="disk\0full")
    entry = (await store.redis.xrevrange(keys.events(0), count=1))[0]
    event = events.parse(0, *entry)
    assert (event.fields["message"], event.fields["monitor"]) == ("disk\0full", target.monitor_id)


async def test_a_bad_record_fails_alone(store: Store) -> None:
    """One broken hash in a batch leaves its neighbours alone."""
    good, bad = await make(store), await make(store)
    await store.redis.delete(keys.monitor(0, bad.monitor_id))
    await store.redis.set(keys.monitor(0, bad.monitor_id), "not a hash")
    answers = await scripts.beat(store.redis, 0, [scripts.Beat(bad, "ok"), scripts.Beat(good, "ok")])
    assert answers == [scripts.BROKEN, scripts.CHANGED]


@pytest.mark.parametrize("script", ["beat", "perish", "declare", "rewind"])
async def test_a_server_that_became_a_replica_says_so_by_its_code(store: Store, script: str) -> None:
    """The error is the server's own, not an item's: by its code a client of sentinels looks for the new primary."""
    target = await make(store, timeout=60_000)
    await beat(store, target)
    await store.redis.hset(keys.monitor(0, target.monitor_id), "since", "9" * 13)  # type: ignore[misc]
    await store.redis.zadd(keys.deadlines(0), {target.monitor_id: 1})
    await scripts.stamp(store.redis, 0, None)
    calls = {
        "beat": lambda: beat(store, target),
        "perish": lambda: scripts.perish(store.redis, 0, [target.monitor_id]),
        "declare": lambda: scripts.declare(store.redis, 0, {target.monitor_id: ""}),
        "rewind": lambda: scripts.rewind(store.redis, 0, [target.monitor_id]),
    }
    await store.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(ReadOnlyError):
            await calls[script]()
    finally:
        await store.redis.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("timeout", ["nan", "inf", "long"])
async def test_a_broken_timeout_breaks_no_other_deadline(store: Store, timeout: str) -> None:
    """Deadlines of one call are listed together, and one that is no number is not among them."""
    good, bad = await make(store, timeout=60_000, grace=0), await make(store)
    for target in (good, bad):
        await beat(store, target)
    await store.redis.hset(keys.monitor(0, bad.monitor_id), "timeout", timeout)  # type: ignore[misc]
    await store.redis.zadd(keys.deadlines(0), {good.monitor_id: 1})
    answers = await scripts.beat(store.redis, 0, [scripts.Beat(bad, "ok"), scripts.Beat(good, "ok")])
    assert answers[1] == scripts.RECORDED
    seen = (await monitors.get(store, good.monitor_id)).seen or 0
    assert await store.redis.zscore(keys.deadlines(0), good.monitor_id) == seen + 60_000


@pytest.mark.parametrize("damage", ["a timeout out of reach", "no list of heartbeats"])
@pytest.mark.parametrize("kind", ["ok", "warning", "start"])
async def test_a_refused_heartbeat_moves_no_deadline(store: Store, kind: scripts.Kind, damage: str) -> None:
    """Whichever way through the script it takes: what was not recorded is no event, and due when it was."""
    target = await make(store, timeout=60_000)
    await beat(store, target)
    if damage == "no list of heartbeats":
        await store.redis.set(keys.beats(0, target.monitor_id), "no list")
    else:
        await store.redis.hset(keys.monitor(0, target.monitor_id), "timeout", "1e300")  # type: ignore[misc]
    deadline = await store.redis.zscore(keys.deadlines(0), target.monitor_id)
    told = await types(store)
    await asyncio.sleep(0.002)
    assert await beat(store, target, kind) == scripts.BROKEN
    assert await store.redis.zscore(keys.deadlines(0), target.monitor_id) == deadline
    assert await types(store) == told


@pytest.mark.parametrize("order", [("ok", "start"), ("start", "ok"), ("ok", "error"), ("ok", "ok")])
async def test_heartbeats_in_one_call_are_as_one_after_the_other(
    store: Store, order: tuple[scripts.Kind, scripts.Kind]
) -> None:
    """The deadline is the last one's, by whichever way through the script each of them goes."""
    together, apart = [await make(store, timeout=60_000, grace=2_000) for _ in range(2)]
    for target in (together, apart):
        await beat(store, target)
    await scripts.beat(store.redis, 0, [scripts.Beat(together, kind) for kind in order])
    for kind in order:
        await beat(store, apart, kind)
    first, second = await store.redis.zmscore(keys.deadlines(0), [together.monitor_id, apart.monitor_id])
    assert abs(first - second) < 1_000
    hints = [await store.redis.pttl(keys.pulse(0, one.monitor_id)) for one in (together, apart)]
    assert abs(hints[0] - hints[1]) < 1_000 + 4_000


@pytest.mark.parametrize("kind", ["ok", "error", "start", "log"])
async def test_a_paused_monitor_ignores_heartbeats(store: Store, kind: scripts.Kind) -> None:
    """Beats on a paused monitor change nothing."""
    target = await make(store)
    await scripts.pause_monitor(store, target.monitor_id, "pause")
    assert await beat(store, target, kind) == scripts.IGNORED
    assert (await monitors.get(store, target.monitor_id)).status == "paused"


@pytest.mark.parametrize("before", ["", "alive"])
async def test_a_start_arms_the_run_and_its_end_keeps_the_duration(store: Store, before: str) -> None:
    """A started run that never ends is due after grace; its end records how long it took."""
    target = await make(store, timeout=60_000, grace=2_000)
    if before:
        await beat(store, target)
    await beat(store, target, "start")
    assert (await monitors.get(store, target.monitor_id)).status == (before or "new")
    assert 1_000 < await store.redis.pttl(keys.pulse(0, target.monitor_id)) <= 2_000 + 2_000 // 16
    await beat(store, target)
    newest = await store.redis.lindex(keys.beats(0, target.monitor_id), 0)
    _, kind, took, _ = newest.split(" ", 3)
    assert kind == "ok"
    assert int(took) >= 0
    assert (await monitors.get(store, target.monitor_id)).started is None
    assert await store.redis.pttl(keys.pulse(0, target.monitor_id)) > 60_000


async def test_a_stolen_token_hash_is_refused(store: Store) -> None:
    """The script itself checks the hash, so a stale cache cannot beat a monitor whose token was rotated."""
    target = await make(store)
    await monitors.rotate_token(store, await monitors.get(store, target.monitor_id))
    assert await beat(store, target) == scripts.UNKNOWN_TOKEN
