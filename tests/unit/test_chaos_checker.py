"""The campaign's checker accepts a history in order and finds each thing that can be wrong with one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chaos import checker, history, repeats
from chaos.checker import expected, judge
from chaos.history import Facts, Fault, History, Letter, Receipt, Request, StreamEvent
from chaos.lives import credited
from chaos.verdict import Verdict

TIMEOUT = 1_000


def change(gen: int, at: int, old: str, new: str, reason: str = "heartbeat", kind: str = "") -> StreamEvent:
    """A monitor's event."""
    fields = {"monitor": "m1", "old": old, "new": new, "reason": reason, "channels": "1", "timeout": TIMEOUT}
    return StreamEvent(id=f"mp.m1.{gen}", type=kind or f"monitor.{new}", at=at, cursor=f"{at}-0", **fields)


def request(kind: history.Kind, what: str, at: float, outcome: history.Outcome = "acknowledged") -> Request:
    """A request that took 10 ms."""
    return Request(kind, "" if kind == "event" else "m1", what, at, at + 10, outcome)


def receipt(
    event: str, at: float, target: str = "webhook:1", answered: int = 200, message: str = ""
) -> Receipt:
    return Receipt(target, message or event, (event,), "", at, answered)


def in_order() -> Facts:
    """A monitor that is heard, errs, recovers and falls silent, and an application's event; all of it told."""
    events = [
        change(1, 10_000, "new", "new", "created", "monitor.created"),
        change(2, 20_005, "new", "alive"),
        change(3, 20_505, "alive", "error"),
        change(4, 21_005, "error", "alive", kind="monitor.recovered"),
        change(5, 22_010, "alive", "dead", "silence"),
        StreamEvent(id="app-1", type="order.placed", at=21_500, cursor="21500-1"),
    ]
    requests = [
        request("beat", "ok", 20_000),
        request("beat", "error", 20_500),
        request("beat", "ok", 21_000),
        request("event", "app-1", 21_495),
    ]
    receipts = [receipt(event.id, event.at + 20) for event in events]
    receipts += [receipt(f"mp.m1.{gen}", 30_000, "channel:1") for gen in (3, 4, 5)]
    subscriptions = {"webhook:1": ("*",), "channel:1": ("monitor.dead", "monitor.error", "monitor.recovered")}
    counts = {"webhook:1": 6, "channel:1": 3}
    return Facts(requests, events, receipts, subscriptions=subscriptions, counts=counts, ended=40_000)


def wrong(verdict: Verdict) -> dict[str, list[str]]:
    """Whatever the verdict objects to."""
    lists = {
        "lost events": verdict.events.lost,
        "unexpected events": verdict.events.unexpected,
        "doubled events": verdict.events.duplicated,
        "lost deliveries": verdict.deliveries.lost,
        "unexpected deliveries": verdict.deliveries.unexpected,
        "doubled deliveries": verdict.deliveries.duplicated,
        "unfinished": verdict.unfinished,
        "other ids": verdict.other_ids,
        "beyond": verdict.beyond,
        "miscounted": verdict.miscounted,
        "holes": verdict.holes,
        "doubled": verdict.doubled,
        "broken chains": verdict.broken_chains,
        "lost beats": verdict.beats_lost,
        "false deaths": verdict.false_deaths,
        "missed": verdict.missed,
        "uncaused": verdict.uncaused,
        "vanished": verdict.vanished,
    }
    return {name: found for name, found in lists.items() if found}


def test_a_history_in_order_is_accepted() -> None:
    """Nothing is objected to, and everything is counted."""
    verdict = judge(in_order())
    assert wrong(verdict) == {}
    assert (verdict.transitions, verdict.beats, verdict.deaths, verdict.silences) == (4, 3, 1, 1)
    assert (verdict.events.acknowledged, verdict.deliveries.acknowledged) == (1, 9)
    assert verdict.lags == [0.0]


def without(facts: Facts, name: str) -> None:
    """The stream has lost an event, and nobody was told of it."""
    facts.events = [event for event in facts.events if event.id != name]
    facts.receipts = [one for one in facts.receipts if name not in one.events]


def lose_a_transition(facts: Facts) -> None:
    without(facts, "mp.m1.3")


def lose_the_last_transition(facts: Facts) -> None:
    without(facts, "mp.m1.5")


def lose_an_error(facts: Facts) -> None:
    """The error and its recovery never happened: the heartbeat was acknowledged and forgotten."""
    without(facts, "mp.m1.3")
    without(facts, "mp.m1.4")
    facts.events[2] = replace(facts.events[2], id="mp.m1.3")


def double_a_transition(facts: Facts) -> None:
    facts.events.insert(3, replace(facts.events[2], cursor="20506-0"))


def tell_death_twice(facts: Facts) -> None:
    facts.events.insert(5, change(6, 22_011, "alive", "dead", "silence"))


def die_too_early(facts: Facts) -> None:
    facts.events[4] = replace(facts.events[4], at=21_900)


def err_without_being_asked(facts: Facts) -> None:
    facts.requests = [one for one in facts.requests if one.what != "error"]


def lose_an_event(facts: Facts) -> None:
    without(facts, "app-1")


def double_an_event(facts: Facts) -> None:
    facts.events.append(facts.events[-1])


def make_an_event_up(facts: Facts) -> None:
    facts.requests = [one for one in facts.requests if one.kind != "event"]


def refuse_what_is_there(facts: Facts) -> None:
    facts.requests[-1] = request("event", "app-1", 21_495, "refused")


def lose_a_delivery(facts: Facts) -> None:
    facts.receipts = [
        one for one in facts.receipts if one.target != "channel:1" or one.events != ("mp.m1.5",)
    ]


def only_fail_a_delivery(facts: Facts) -> None:
    facts.receipts[0] = replace(facts.receipts[0], answered=500)


def leave_a_delivery_pending(facts: Facts) -> None:
    only_fail_a_delivery(facts)
    facts.letters = [Letter("webhook:1", "mp.m1.1", "pending", 1)]


def deliver_twice(facts: Facts) -> None:
    facts.receipts.append(receipt("mp.m1.2", 20_300))


def deliver_twice_after_a_watchdogs_death(facts: Facts) -> None:
    deliver_twice(facts)
    facts.faults = [Fault("kill", "watchdog", 20_100, 20_100)]


def deliver_twice_after_a_restart(facts: Facts) -> None:
    deliver_twice(facts)
    facts.faults = [Fault("terminate", "webhooks-worker", 20_000, 20_200)]


def deliver_twice_long_before_a_death(facts: Facts) -> None:
    facts.receipts.append(receipt("mp.m1.2", 28_000))
    facts.faults = [Fault("kill", "webhooks-worker", 27_000, 27_000)]


def deliver_what_is_not_wanted(facts: Facts) -> None:
    facts.receipts.append(receipt("mp.m1.2", 20_300, "channel:1"))


def record_a_result_twice(facts: Facts) -> None:
    facts.counts["webhook:1"] += 1


def lose_what_was_seen(facts: Facts) -> None:
    facts.vanished = ["mp.m1.6"]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lose_a_transition, {"holes", "lost beats"}),
        (lose_the_last_transition, {"missed"}),
        (lose_an_error, {"lost beats"}),
        (double_a_transition, {"doubled", "uncaused"}),
        (tell_death_twice, {"broken chains", "lost deliveries"}),
        (die_too_early, {"false deaths"}),
        (err_without_being_asked, {"uncaused"}),
        (lose_an_event, {"lost events"}),
        (double_an_event, {"doubled events"}),
        (make_an_event_up, {"unexpected events"}),
        (refuse_what_is_there, {"unexpected events"}),
        (lose_a_delivery, {"lost deliveries"}),
        (only_fail_a_delivery, {"lost deliveries"}),
        (leave_a_delivery_pending, {"unfinished"}),
        (deliver_twice, {"doubled deliveries"}),
        (deliver_twice_after_a_watchdogs_death, {"doubled deliveries"}),
        (deliver_twice_after_a_restart, {"doubled deliveries"}),
        (deliver_twice_long_before_a_death, {"doubled deliveries"}),
        (deliver_what_is_not_wanted, {"unexpected deliveries"}),
        (record_a_result_twice, {"miscounted"}),
        (lose_what_was_seen, {"vanished"}),
    ],
)
def test_damage_is_found(damage: Callable[[Facts], None], found: set[str]) -> None:
    """Each way in which the promises can be broken turns the verdict."""
    facts = in_order()
    damage(facts)
    assert found <= set(wrong(judge(facts)))


def test_a_duplicate_is_excused_by_the_death_of_whoever_delivers() -> None:
    """One that died between sending and recording is why the second copy came."""
    facts = in_order()
    deliver_twice(facts)
    facts.faults = [Fault("kill", "webhooks-worker#2", 20_100, 20_100)]
    verdict = judge(facts)
    assert wrong(verdict) == {}
    assert verdict.excused == 1


def test_an_excused_duplicate_still_needs_the_same_id() -> None:
    """A receiver could not tell it from news otherwise."""
    facts = in_order()
    facts.receipts.append(Receipt("webhook:1", "another", ("mp.m1.2",), "", 20_300, 200))
    facts.faults = [Fault("kill", "webhooks-worker", 20_100, 20_100)]
    assert set(wrong(judge(facts))) == {"other ids"}


def again_in_a_digest(facts: Facts) -> None:
    """A message comes, and later a digest that has its event."""
    facts.receipts.append(Receipt("webhook:1", "mp.digest.1", ("mp.m1.2",), "digest", 20_300, 200))


def test_a_digest_does_not_swallow_what_a_dead_worker_sent() -> None:
    """It has another id, so whoever got the first copy takes it for news."""
    facts = in_order()
    again_in_a_digest(facts)
    facts.faults = [Fault("kill", "webhooks-worker", 20_100, 20_100)]
    assert set(wrong(judge(facts))) == {"other ids"}


def test_it_may_when_redis_forgot() -> None:
    """A lost write is as if it had never been claimed."""
    facts = in_order()
    again_in_a_digest(facts)
    facts.faults = [Fault("kill", "redis", 20_100, 20_100)]
    verdict = judge(facts)
    assert wrong(verdict) == {}
    assert verdict.regrouped == 1


def test_a_message_comes_again_only_as_often_as_its_claim_was_taken_back() -> None:
    """A kill somewhere near is not enough when the ledger knows each claim."""
    facts = in_order()
    deliver_twice(facts)
    facts.faults = [Fault("kill", "webhooks-worker", 20_100, 20_100)]
    twice = facts.receipts[-1]
    facts.letters = [Letter(twice.target, twice.events[0], "success", 1, epoch=3)]
    verdict = judge(facts)
    assert wrong(verdict) == {}
    assert verdict.repeated == 1
    facts.letters = [Letter(twice.target, twice.events[0], "success", 1, epoch=1)]
    assert set(wrong(judge(facts))) == {"beyond"}


def come_again(facts: Facts, *kills: Fault) -> list[str]:
    """Two messages come to a webhook and again in 300 ms; those without a kill of their own."""
    first = [receipt("mp.m1.2", 20_100), receipt("mp.m1.3", 20_150)]
    facts.receipts = [*first, *(replace(one, at=one.at + 300) for one in first)]
    facts.faults = list(kills)
    return [one.message for one in repeats.without_a_kill(repeats.found(facts), facts.faults)]


def test_each_message_that_came_again_needs_a_kill_of_its_own() -> None:
    """With one send at a time a kill can repeat one message, not two."""
    kill = Fault("kill", "webhooks-worker#2", 20_200, 20_200)
    later = Fault("kill", "webhooks-worker", 20_300, 20_300)
    assert come_again(Facts(), kill) == ["mp.m1.3"]
    assert come_again(Facts(), kill, later) == []


@pytest.mark.parametrize(
    "kill",
    [
        Fault("kill", "notifier", 20_200, 20_200),
        Fault("kill", "redis", 20_200, 20_200),
        Fault("stall", "webhooks-worker", 20_200, 20_200),
        Fault("kill", "webhooks-worker", 20_500, 20_500),
        Fault("kill", "webhooks-worker", 17_000, 17_000),
    ],
    ids=["of another service", "of Redis", "a stall", "after the copy", "long before"],
)
def test_other_faults_do_not_make_a_message_come_again(kill: Fault) -> None:
    """Not of another service, not when the copy had come, and not long before the send."""
    assert come_again(Facts(), kill, kill) == ["mp.m1.2", "mp.m1.3"]


def test_a_kill_long_after_a_send_is_too_late_for_its_record() -> None:
    """Even when the message came again only after it."""
    facts = Facts(receipts=[receipt("mp.m1.2", 20_000), receipt("mp.m1.2", 30_000)])
    kill = Fault("kill", "webhooks-worker", 23_000, 23_000)
    (late,) = repeats.without_a_kill(repeats.found(facts), [kill])
    assert late.message == "mp.m1.2"
    assert repeats.without_a_kill([late], [replace(kill, start=21_000)]) == []


def test_kills_are_shared_out_so_that_as_many_as_possible_have_one() -> None:
    """What can only have the earlier kill leaves the later one to the other, in whatever order they are seen."""
    wide = repeats.Repeat("channel:1", "wide", 0, 100)
    narrow = repeats.Repeat("channel:2", "narrow", 0, 50)
    kills = [Fault("kill", "notifier", at, at) for at in (40.0, 90.0)]
    for both in ([wide, narrow], [narrow, wide]):
        assert repeats.without_a_kill(both, kills) == []


def test_each_copy_of_a_message_counts_but_no_member_of_a_digest() -> None:
    """A message that came three times came again twice; an attempt that was refused is no copy."""
    digest = Receipt("channel:1", "mp.digest.1", ("a", "b"), "digest", 20_000, 200)
    facts = Facts(receipts=[replace(digest, at=at) for at in (20_000, 21_000, 22_000)])
    facts.receipts.append(replace(digest, at=19_000, answered=500))
    assert [one.message for one in repeats.found(facts)] == ["mp.digest.1"] * 2


def test_a_dead_letter_is_no_loss() -> None:
    """It is there to be seen and redelivered."""
    facts = in_order()
    only_fail_a_delivery(facts)
    facts.letters = [Letter("webhook:1", "mp.m1.1", "failed", 8, "The receiver answered 500.")]
    verdict = judge(facts)
    assert wrong(verdict) == {}
    assert verdict.dead_letters == 1


def test_members_that_a_digest_does_not_name_are_known_by_the_ledger() -> None:
    """A digest names 100 of its members; with more, its count and the ledger's have to cover what is missing."""
    facts = in_order()
    named = receipt("mp.m1.3", 30_000, "channel:1", message="mp.digest.mp.m1.3")
    facts.receipts = [one for one in facts.receipts if one.target != "channel:1"]
    facts.receipts.append(replace(named, type="digest", unlisted=2))
    verdict = judge(facts)
    assert wrong(verdict) == {}
    assert verdict.unlisted == 2
    facts.counts["channel:1"] = 2
    assert "lost deliveries" in wrong(judge(facts))


def test_a_machine_that_stood_still_excuses_a_second_copy() -> None:
    """The first was answered when its sender had given up."""
    facts = in_order()
    deliver_twice(facts)
    facts.faults = [Fault("starved", "machine", 20_000, 20_200)]
    assert wrong(judge(facts)) == {}


def test_an_attempt_after_a_failed_one_is_no_duplicate() -> None:
    """A receiver that answered 500 asked for it."""
    facts = in_order()
    facts.receipts.insert(0, receipt("mp.m1.2", 20_010, answered=500))
    assert wrong(judge(facts)) == {}


def test_an_unanswered_event_may_be_there_or_not() -> None:
    """One is recovered, the other indeterminate; neither is lost."""
    facts = in_order()
    facts.requests[-1] = request("event", "app-1", 21_495, "indeterminate")
    facts.requests.append(request("event", "app-2", 21_600, "indeterminate"))
    verdict = judge(facts)
    assert wrong(verdict) == {}
    assert (verdict.events.recovered, verdict.events.indeterminate) == (["app-1"], ["app-2"])


def test_a_request_that_waited_while_the_machine_stood_still_may_act_that_much_later() -> None:
    """Ten seconds after its client gave up it has no effect any more, but those do not run while nothing does."""
    facts = in_order()
    facts.requests[1] = request("beat", "error", 9_000, "indeterminate")
    assert set(wrong(judge(facts))) == {"uncaused"}
    facts.faults = [Fault("starved", "machine", 12_000, 14_000)]
    assert wrong(judge(facts)) == {}


def test_a_gap_in_listening_starts_the_timeout_anew() -> None:
    """A deadline that it touches moves to its end + timeout; dying before that is a false death."""
    assert credited(1_000, 500, [(1_200, 4_000)]) == 4_500
    assert credited(1_000, 500, [(1_600, 4_000)]) == 1_500
    assert credited(1_000, 500, [(0, 900)]) == 1_500
    facts = in_order()
    facts.gaps = [(21_500, 25_000)]
    assert set(wrong(judge(facts))) == {"false deaths"}


def test_a_paused_monitor_owes_no_death() -> None:
    """Heartbeats to it are acknowledged and change nothing."""
    facts = in_order()
    facts.events[4] = change(5, 21_505, "alive", "paused", "paused")
    facts.counts["channel:1"] = 2
    facts.requests += [request("pause", "pause", 21_500), request("beat", "error", 23_000)]
    facts.receipts = [
        one for one in facts.receipts if one.target != "channel:1" or one.events != ("mp.m1.5",)
    ]
    assert wrong(judge(facts)) == {}


def test_who_has_to_hear_of_an_event() -> None:
    """Patterns, the channels that a monitor lists, and never the target that the event is about."""
    subscriptions = {"webhook:1": ("monitor.*",), "channel:1": ("*",), "channel:2": ("monitor.dead",)}
    assert expected(change(2, 1, "alive", "dead"), subscriptions) == ["webhook:1", "channel:1"]
    letter = StreamEvent(id="mp.dead.1", type="delivery.dead_letter", at=1, cursor="1-0", about="channel:1")
    assert expected(letter, subscriptions) == []
    assert expected(replace(letter, about="webhook:1"), subscriptions) == ["channel:1"]


def test_a_kept_history_is_judged_alike(tmp_path: Path) -> None:
    """What was written to the file says the same as what was in memory."""
    facts = in_order()
    with History(tmp_path / "history.jsonl") as kept:
        for one in facts.requests:
            kept.request(one)
        for event in facts.events:
            kept.event(event)
        for got in facts.receipts:
            kept.receipt(got)
        kept.fault("kill", "collector", 1.0)
        kept.letter(Letter("webhook:1", "mp.m1.9", "success", 1))
        summary = {
            "gaps": [[1, 2]],
            "vanished": [],
            "subscriptions": facts.subscriptions,
            "ended": facts.ended,
        }
        kept.note(summary=summary)
    again = history.load(tmp_path / "history.jsonl")
    assert wrong(judge(again)) == {}
    assert checker.judge(again).transitions == 4
