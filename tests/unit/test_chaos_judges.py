"""The judges of the fault campaign can fail: each kind of damage is shown to them and they tell of it."""

import asyncio
from math import inf

import pytest
from chaos.consistency import check_chain, check_monitor
from chaos.healthy import Member, judge
from chaos.history import StreamEvent
from chaos.retrying import Reporter, compare, expected, mark_of
from chaos.wire import UNREACHABLE, Wire

SECOND = 1_000.0


def member(
    *sent: float, silenced: float | None = None, acknowledged: tuple[float, ...] | None = None
) -> Member:
    """A client allowed 10 s of silence; times in seconds."""
    times = [at * SECOND for at in sent]
    heard = times if acknowledged is None else [at * SECOND for at in acknowledged]
    end = None if silenced is None else silenced * SECOND
    return Member("m", "token", 8.0, 2.0, 5.0, times, heard, end)


def death(at: float) -> StreamEvent:
    return StreamEvent("mp.m.2", "monitor.dead", int(at * SECOND), "1-1", "m", "alive", "dead")


class TestHealthyClients:
    def test_a_death_of_a_client_that_beat_in_time_is_false(self):
        """Whether or not anybody heard it."""
        wrong = death(17)
        assert judge([member(0, 5, 10, 15, acknowledged=(0,))], [wrong]).false == [wrong]

    def test_a_death_of_a_client_that_was_late_itself_is_its_own(self):
        """The player's process was held up; nothing is said of the product."""
        real = death(15.1)
        verdict = judge([member(0, 5, 17)], [real])
        assert (verdict.false, verdict.late_clients) == ([], [real])

    def test_a_beat_at_the_very_deadline_is_late(self):
        """The server cuts the times of heartbeats to whole milliseconds, and the deadline with them."""
        assert judge([member(0.0009, 10.0001)], [death(10)]).false == []
        assert judge([member(0.0009, 9.9989)], [death(10)]).false != []

    async def test_a_beat_is_sent_when_it_is_written(self, monkeypatch):
        """A player that is short of a core may need a tenth of a second for a connection; nobody can hear it sooner."""
        connected = asyncio.Event()

        async def slow(wire: Wire) -> None:
            await connected.wait()
            raise ConnectionRefusedError

        monkeypatch.setattr(Wire, "_connection", slow)
        times: list[int] = []
        beat = asyncio.create_task(Wire(1).post("/", sending=lambda: times.append(1)))
        await asyncio.sleep(0.01)
        assert not times
        connected.set()
        assert await beat == UNREACHABLE
        assert times == [1]

    def test_a_silence_that_nobody_noticed_is_missed(self):
        """The one that was noticed has its lag."""
        assert judge([member(0, 5, silenced=6)], []).missed == ["m"]
        verdict = judge([member(0, 5, silenced=6)], [death(15.25)])
        assert (verdict.missed, verdict.lags) == ([], [250.0])

    def test_a_silence_through_a_gap_counts_from_its_end(self):
        """As the product credits it."""
        verdict = judge([member(0, 5, silenced=6)], [death(40.5)], [(7_000, 30_000)])
        assert verdict.lags == [500.0]


class TestRetriedWrites:
    def test_a_write_less_is_lost_and_one_more_is_doubled(self):
        """Each by its own text."""
        one = Reporter("m", "token", [("ok", "a"), ("ok", "b"), ("error", "c"), ("error", "d"), ("ok", "e")])
        wanted = expected(one)
        assert wanted == [("m", text) for text in "acde"]
        assert compare(wanted, wanted) == ([], [])
        assert compare(wanted, [*wanted[1:], wanted[-1]]) == ([("m", "a")], [("m", "e")])

    def test_events_name_the_write_that_caused_them(self):
        """Deaths, and events of our own, name none."""
        beat = {"id": "mp.m.2", "monitor": "m", "reason": "heartbeat", "message": "c"}
        assert mark_of(beat) == ("m", "c")
        assert mark_of({**beat, "reason": "silence"}) is None
        assert mark_of({"id": "order-7"}) == ("", "order-7")
        assert mark_of({"id": "mp.blind.1"}) is None


def chain(*pairs: tuple[str, str]) -> dict[int, dict[str, str]]:
    return {number: {"old": old, "new": new} for number, (old, new) in enumerate(pairs, 1)}


WELL = chain(("new", "new"), ("new", "alive"))
BAD = chain(("new", "new"), ("new", "error"))
ALIVE = {"status": "alive", "gen": "2"}
ERROR = {"status": "error", "gen": "2", "incident": "m.2"}
OPEN = {"i:2": "1||error|heartbeat", "20000:alive": "5"}


class TestConsistency:
    def test_what_agrees_is_not_complained_about(self):
        """A living monitor, one in error with its open incident, a new one without any deadline."""
        assert check_monitor(ALIVE, {}, 1.0, WELL) == []
        assert check_monitor(ERROR, OPEN, 1.0, BAD) == []
        assert check_monitor({"status": "new", "gen": "1"}, {}, inf, chain(("new", "new"))) == []

    @pytest.mark.parametrize(
        ("fields", "history", "deadline", "events"),
        [
            ({}, {}, 1.0, WELL),
            (ALIVE, {}, inf, WELL),
            ({**ALIVE, "status": "dead", "incident": "m.2"}, {}, 5.0, chain(("new", "new"), ("new", "dead"))),
            ({**ERROR, "incident": ""}, {}, 1.0, BAD),
            ({**ALIVE, "incident": "m.2"}, OPEN, 1.0, WELL),
            (ALIVE, OPEN, 1.0, WELL),
            (ALIVE, {}, 1.0, BAD),
            ({**ALIVE, "gen": "1"}, {}, 1.0, WELL),
            (ALIVE, {}, 1.0, {}),
        ],
    )
    def test_each_contradiction_is_told(self, fields, history, deadline, events):
        """Record, ledger, incident and events, each against the others."""
        assert check_monitor(fields, history, deadline, events)

    def test_a_chain_tells_of_doubled_and_torn_links(self):
        """A generation told twice, and a status that does not follow from the one before."""
        twice = {**WELL, -2: WELL[2]}
        assert any("twice" in sentence for sentence in check_chain(twice, "alive", 2))
        torn = chain(("new", "new"), ("alive", "dead"))
        assert any("ended new, 2 began alive" in sentence for sentence in check_chain(torn, "dead", 2))
