"""Whether, when and how a channel is told of an event. Pure.

One rule after another looks at an event and a channel and may hold it back with a word that says why; the
first that does decides, and the incident's timeline shows the word. Reminders, acknowledgement, maintenance
windows and dependencies join as further rules or by another `at`: history is never suppressed, only messages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from shared import synthetic
from shared.channels import Channel
from shared.patterns import matches

Held = Literal[
    "about_itself", "channel_muted", "monitor_muted", "not_its_event", "not_its_monitor", "synthetic"
]


class Happening(Protocol):
    """The part of an event that routing looks at; `shared.events.Event` has it."""

    @property
    def type(self) -> str: ...  # noqa: D102 - as in Event
    @property
    def at(self) -> int: ...  # noqa: D102 - as in Event
    @property
    def about(self) -> str | None: ...  # noqa: D102 - as in Event
    @property
    def fields(self) -> Mapping[str, str]: ...  # noqa: D102 - as in Event


@dataclass(frozen=True, slots=True)
class Telling:
    """A channel that is to be told, not before `at` (ms)."""

    channel: Channel
    at: int


Rule = Callable[[Happening, Channel], Held | None]


def candidates(event: Happening, channels: Mapping[int, Channel]) -> Iterable[Channel]:
    """The channels that `route` has to look at: all, or the few that the event's monitor lists.

    Asking a thousand channels about each of a thousand deaths would take longer than telling them.
    """
    listed = _listed(event)
    if listed == "*":
        return channels.values()
    return [channels[number] for number in map(int, filter(str.isdecimal, listed)) if number in channels]


def route(event: Happening, channels: Iterable[Channel]) -> list[Telling]:
    """Every channel that is to be told of the event, and when."""
    return [Telling(channel, event.at) for channel in channels if held_back(event, channel) is None]


def held_back(event: Happening, channel: Channel) -> Held | None:
    """Why the channel is not told, None when it is."""
    for rule in RULES:
        if (why := rule(event, channel)) is not None:
            return why
    return None


def _about_itself(event: Happening, channel: Channel) -> Held | None:
    """No loops: an event about a channel, such as its own dead letter, never goes to it."""
    return "about_itself" if event.about == channel.target else None


def _synthetic(event: Happening, channel: Channel) -> Held | None:
    """The self-ping's monitor and its channel have only each other."""
    ours = event.fields.get("monitor") == synthetic.MONITOR
    return None if ours == (channel.id == synthetic.CHANNEL) else "synthetic"


def _chosen_event(event: Happening, channel: Channel) -> Held | None:
    return None if any(matches(pattern, event.type) for pattern in channel.events) else "not_its_event"


def _chosen_channel(event: Happening, channel: Channel) -> Held | None:
    listed = _listed(event)
    return None if listed == "*" or str(channel.id) in listed else "not_its_monitor"


def _listed(event: Happening) -> Sequence[str]:
    """The ids of the channels that a monitor tells, "*" being all; what has no monitor tells every channel."""
    listed = event.fields.get("channels", "*") if event.fields.get("monitor") else "*"
    return listed if listed == "*" else listed.split(",")


def _muted(event: Happening, channel: Channel) -> Held | None:
    if channel.muted:
        return "channel_muted"
    until = event.fields.get("muted", "")
    return "monitor_muted" if until and int(until) > event.at else None


RULES: tuple[Rule, ...] = (_about_itself, _synthetic, _chosen_event, _chosen_channel, _muted)
