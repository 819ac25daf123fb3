"""How the targets share the places of one process: nobody gets everything, nobody waits for ever."""

import asyncio
import resource

import pytest

from shared import sending_cap
from shared.orders import IN_FLIGHT
from shared.sending_cap import SendingCap, default_capacity


async def asked(cap: SendingCap, *targets: str) -> list[asyncio.Task[int]]:
    """Tasks that wait for places, in this order."""
    tasks = []
    for target in targets:
        tasks.append(asyncio.create_task(cap.take(target)))
        await asyncio.sleep(0)
    return tasks


def lag(cap: SendingCap, *targets: str) -> None:
    for target in targets:
        cap.judge(target, well=False, seconds=0.1)


async def test_one_target_gets_no_more_than_its_own_cap():
    """Whatever is free: the ledger would not let it have more in flight anyway."""
    cap = SendingCap(1_000)
    assert await cap.take("a") == IN_FLIGHT
    assert await cap.take("a") == 0
    cap.give_back("a", 5)
    assert await cap.take("a") == 5
    assert cap.taken == IN_FLIGHT


async def test_the_fuller_it_is_the_less_each_one_gets():
    """A hundred and fifty backlogs at once leave places for more targets."""
    cap = SendingCap(500)
    shares = [await cap.take(f"t{number}") for number in range(150)]
    assert shares[0] == IN_FLIGHT
    assert sum(shares[:25]) < 340, "and ever less for each"
    assert shares == sorted(shares, reverse=True)
    assert min(shares) == 1
    assert cap.taken <= cap.capacity
    assert await cap.take("t0") == 0, "who has some gets no more while little is left"


async def test_places_never_exceed_the_capacity_and_come_back():
    """However many ask; and each one who waits is served in turn, with one place at least."""
    cap = SendingCap(10)
    first = [await cap.take(f"t{number}") for number in range(10)]
    assert (first, cap.taken) == ([1] * 10, 10)
    waiting = await asked(cap, "x", "y", "z")
    assert not any(task.done() for task in waiting)
    for number, task in enumerate(waiting):
        cap.give_back(f"t{number}")
        assert await task == 1
        assert cap.taken == 10


async def test_who_has_none_comes_before_who_has_some():
    """A busy target asks first, but a new one is waiting."""
    cap = SendingCap(2)
    await cap.take("busy")
    await cap.take("other")
    (new,) = await asked(cap, "new")
    cap.give_back("other")
    assert await cap.take("busy") == 0
    assert await new == 1


async def test_lagging_targets_have_half_of_it_at_most():
    """A thousand broken destinations hold up each other, and none that works."""
    cap = SendingCap(100)
    broken = [f"broken{number}" for number in range(1_000)]
    lag(cap, *broken)
    waiting = await asked(cap, *broken)
    assert cap.taken == 50
    assert await cap.take("works") >= 1
    held = [task for task in waiting if task.done()]
    assert len(held) == 50 - sum(task.result() - 1 for task in held)
    for task in waiting:
        task.cancel()


async def test_lagging_targets_have_an_eighth_of_it_at_least():
    """One that was repaired gets its turn though those that work could fill everything."""
    cap = SendingCap(16)
    lag(cap, "repaired", "broken")
    for number in range(16):
        await cap.take(f"t{number}")
    waiting = await asked(cap, *[f"n{number}" for number in range(50)], "broken", "repaired")
    cap.give_back("t0")
    cap.give_back("t1")
    assert [await task for task in waiting[-2:]] == [1, 1]
    assert not waiting[0].done()
    cap.give_back("t2")
    assert await waiting[0] == 1, "then it is the others' turn again"
    for task in waiting:
        task.cancel()


async def test_a_target_lags_until_a_message_goes_well_and_fast():
    """What it holds moves with it between the two kinds, so that the count stays right."""
    cap = SendingCap(10)
    for target in ("a", "b", "c", "d", "e"):
        await cap.take(target)
        cap.judge(target, well=True, seconds=sending_cap.SLOW + 1)
    (sixth,) = await asked(cap, "a2")
    assert await sixth == 1, "one that never failed is none of them"
    cap.judge("f", well=False, seconds=0)
    (waiting,) = await asked(cap, "f")
    assert not waiting.done(), "half of the places lag already"
    cap.judge("a", well=True, seconds=0.1)
    cap.give_back("b")
    assert await waiting == 1
    for target in ("a", "c", "d", "e", "a2", "f"):
        cap.give_back(target)
    assert cap.taken == cap._lagging_taken == 0
    assert cap._held == {}


async def test_who_is_cancelled_while_waiting_takes_nothing():
    """Neither before its turn nor at the very moment of it."""
    cap = SendingCap(1)
    await cap.take("a")
    gone, late, last = await asked(cap, "gone", "late", "last")
    gone.cancel()
    cap.give_back("a")
    late.cancel()
    assert await last == 1
    assert cap.taken == 1
    await asyncio.gather(gone, late, return_exceptions=True)


async def test_after_the_end_nobody_waits():
    """Those who wait and those who come get nothing at once."""
    cap = SendingCap(1)
    await cap.take("a")
    (waiting,) = await asked(cap, "b")
    cap.close()
    assert (await waiting, await cap.take("c")) == (0, 0)
    cap.give_back("a")
    assert cap.taken == 0


@pytest.mark.parametrize(
    ("files", "capacity"),
    [(256, 42), (1_024, 298), (65_536, 1_000), (resource.RLIM_INFINITY, 1_000), (64, 20)],
)
def test_the_default_is_a_third_of_the_open_files(monkeypatch: pytest.MonkeyPatch, files: int, capacity: int):
    """And a thousand at most, one target's cap at least."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert default_capacity() == capacity
