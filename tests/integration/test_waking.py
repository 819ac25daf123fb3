"""Who is told that something is due: the pump beside the consumer at once, other workers by a hint now and then."""

import asyncio

import pytest
from waiting import wait_until
from working import Sends, new, working

from shared import deliveries, queue, scheduler


@pytest.fixture
def hinted(monkeypatch):
    """The hints that would have gone to arq, each a list of targets; none arrives anywhere."""
    calls = []

    async def noted(_, targets):
        calls.append(list(targets))

    monkeypatch.setattr(queue, "hint", noted)
    return calls


@pytest.fixture
def unscheduled(monkeypatch):
    """No look at the ledger once a second: what nobody woke stays where it is."""

    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(scheduler, "wake_due", never)


async def test_the_pump_beside_it_is_woken_at_once(store, server, hinted, unscheduled):
    """Without arq."""
    sender = Sends()
    async with queue.waking(server.url, "webhook") as waker, working(store, server.url, sender, waker=waker):
        await wait_until(lambda: waker._pump is not None, "the worker is there")
        for event in ("a", "b", "c"):
            (made,) = await deliveries.create(store, [new(event)])
            waker.wake(["webhook:1"])
            await wait_until(lambda made=made: made in sender.ids, "it was sent")


async def test_what_was_due_before_the_worker_was_there_is_sent_when_it_is(
    store, server, hinted, unscheduled
):
    """A consumer may read before the first lane runs."""
    sender = Sends()
    async with queue.waking(server.url, "webhook") as waker:
        (made,) = await deliveries.create(store, [new("a")])
        waker.wake(["webhook:1"])
        async with working(store, server.url, sender, waker=waker):
            await wait_until(lambda: waker._pump is not None, "the worker is there")
            await wait_until(lambda: sender.ids == [made], "it was sent")
        assert waker._pump is None, "a worker that has ended is woken no more"
        waker.wake(["webhook:1"])


async def test_the_first_hint_goes_out_at_once_and_the_next_ones_together(server, hinted, monkeypatch):
    """A storm's batches are milliseconds apart, and each target is named once in a hint."""
    monkeypatch.setattr(queue, "HINT_EVERY", 0.3)
    async with queue.waking(server.url, "webhook") as waker:
        waker.wake(["webhook:1"])
        await asyncio.sleep(0)
        assert hinted == [["webhook:1"]]
        for _ in range(5):
            waker.wake(["webhook:2", "webhook:3"])
            waker.wake(["webhook:2"])
            await asyncio.sleep(0)
        assert len(hinted) == 1
        await wait_until(lambda: len(hinted) == 2, "the rest followed")
        assert hinted[1] == ["webhook:2", "webhook:3"]
        await wait_until(lambda: waker._hinting is None, "nothing more is due")
        waker.wake(["webhook:4"])
        await asyncio.sleep(0)
        assert len(hinted) == 3


async def test_nothing_due_is_no_hint(server, hinted):
    """A webhook that has the event already needs nobody."""
    async with queue.waking(server.url, "webhook") as waker:
        waker.wake([])
        assert waker._hinting is None
    assert not hinted


async def test_hinting_ends_with_the_block(server, hinted):
    """What it leaves untold, the scheduler finds within a second."""
    async with queue.waking(server.url, "webhook") as waker:
        waker.wake(["webhook:1"])
        await wait_until(lambda: len(hinted) == 1, "the first is out")
        waker.wake(["webhook:2"])
    assert hinted == [["webhook:1"]]
    assert not [task for task in asyncio.all_tasks() if "_hint" in repr(task.get_coro())]
