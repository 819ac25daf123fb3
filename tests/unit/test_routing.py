"""Who is told of what."""

from dataclasses import replace

import pytest

from services.notifier.routing import candidates, held_back, route
from shared.channels import Channel
from shared.events import Event

OPS = Channel(3, "ops", "telegram", {})
SELF_PING = Channel(0, "self-ping", "self_ping", {}, ("monitor.dead",))


def event(kind: str = "monitor.dead", **fields: str) -> Event:
    base = {"monitor": "abc", "channels": "*", "muted": ""} if kind.startswith("monitor.") else {}
    return Event("mp.abc.7", kind, 1000, "1-0", 0, {**base, **fields})


@pytest.mark.parametrize(
    ("happening", "channel", "why"),
    [
        (event(), OPS, None),
        (event("monitor.alive"), OPS, "not_its_event"),
        (event("monitor.alive"), replace(OPS, events=("monitor.*",)), None),
        (event("payment.completed"), replace(OPS, events=("*",)), None),
        (event("payment.completed"), OPS, "not_its_event"),
        (event(), replace(OPS, events=()), "not_its_event"),
        (event(channels="1,3"), OPS, None),
        (event(channels="3"), OPS, None),
        (event(channels="13,30"), OPS, "not_its_monitor"),
        (event(channels=""), OPS, "not_its_monitor"),
        (event(muted="2000"), OPS, "monitor_muted"),
        (event(muted="1000"), OPS, None),
        (event(), replace(OPS, muted=True), "channel_muted"),
        (event("delivery.dead_letter", about="channel:3"), replace(OPS, events=("*",)), "about_itself"),
        (event("delivery.dead_letter", about="channel:4"), replace(OPS, events=("*",)), None),
        (event("delivery.dead_letter", about="webhook:3"), replace(OPS, events=("delivery.*",)), None),
        (event("system.blind"), replace(OPS, events=("system.blind",)), None),
        (event(monitor="self-ping", channels="0"), OPS, "synthetic"),
        (event(monitor="self-ping", channels="*"), replace(OPS, events=("*",)), "synthetic"),
        (event(), SELF_PING, "synthetic"),
        (event("system.blind"), SELF_PING, "synthetic"),
        (event("monitor.recovered", monitor="self-ping", channels="0"), SELF_PING, "not_its_event"),
    ],
)
def test_who_is_told(happening, channel, why):
    """Each rule holds back with its word, or lets pass."""
    assert held_back(happening, channel) == why
    assert [telling.channel.id for telling in route(happening, [channel])] == ([] if why else [3])


def test_the_self_ping_tells_its_channel_alone():
    """However many others want everything."""
    curious = replace(OPS, events=("*",))
    told = route(event(monitor="self-ping", channels="0"), [OPS, curious, SELF_PING])
    assert [telling.channel for telling in told] == [SELF_PING]


def test_when_it_is_told():
    """At once, as far as today's rules go."""
    assert [telling.at for telling in route(event(), [OPS, replace(OPS, id=4)])] == [1000, 1000]


@pytest.mark.parametrize("channels", ["*", "", "3", "13,4", "4,x,99", "-"])
def test_only_candidates_can_be_told(channels):
    """Looking at the candidates alone tells the same channels as looking at all."""
    known = {number: replace(OPS, id=number) for number in (3, 4, 13)}
    for happening in (event(channels=channels), event("system.blind", channels=channels)):
        told = {telling.channel.id for telling in route(happening, known.values())}
        assert {telling.channel.id for telling in route(happening, candidates(happening, known))} == told
