"""From what is wanted and what is there to the steps that lead from one to the other. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from services.console.wanted import ChannelEntry, MonitorEntry, Wanted
from shared import channels
from shared.errors import ConfigError

Json = dict[str, Any]
Kind = Literal["channel", "monitor"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change: `fields` are what to send, `shown` what a person reads of it (no secrets)."""

    action: Literal["create", "change", "delete", "pause", "resume"]
    kind: Kind
    name: str
    id: str = ""
    fields: Json = field(default_factory=dict, repr=False)
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What the server has, as its API shows it."""

    channels: Sequence[Json]
    monitors: Sequence[Json]


def steps(wanted: Wanted, known: Known, *, prune: bool = False, resend_secrets: bool = False) -> list[Step]:
    """The steps in the order in which they must be taken; none when the server is as wanted.

    Channels come before the monitors that name them, deletions last. Only kinds that the file names are pruned.
    """
    found: list[Step] = []
    named = {entry.name for entry in wanted.channels or []}
    for monitor in wanted.monitors or []:
        named.update(() if monitor.channels == "*" else monitor.channels)
    here = _by_name("channel", known.channels, named)
    for entry in wanted.channels or []:
        found += _channel(entry, here.get(entry.name), resend_secrets=resend_secrets)
    names = _channel_names(wanted, known, prune=prune and wanted.channels is not None)
    there = _by_name("monitor", known.monitors, {monitor.name for monitor in wanted.monitors or []})
    for monitor in wanted.monitors or []:
        found += _monitor(monitor, there.get(monitor.name), names)
    if prune and wanted.monitors is not None:
        found += _leftover("monitor", known.monitors, wanted.monitors)
    if prune and wanted.channels is not None:
        found += _leftover("channel", known.channels, wanted.channels)
    return found


def _by_name(kind: Kind, there: Sequence[Json], asked: Collection[str]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for item in there:
        if item["name"] in found and item["name"] in asked:
            raise ConfigError(f"the server has two {kind}s called {item['name']!r}: rename or delete one")
        found[item["name"]] = item
    return found


def _channel_names(wanted: Wanted, known: Known, *, prune: bool) -> dict[str, int | None]:
    """Ids of channels by their names; None for one that is yet to be made."""
    names: dict[str, int | None] = {entry.name: None for entry in wanted.channels or []}
    for channel in known.channels:
        if not prune or channel["name"] in names:
            names[channel["name"]] = channel["id"]
    return names


def _channel(entry: ChannelEntry, there: Json | None, *, resend_secrets: bool) -> list[Step]:
    body = entry.model_dump()
    if there is None:
        return [Step("create", "channel", entry.name, fields=body, shown={"type": entry.type})]
    if there["type"] != entry.type:
        raise ConfigError(
            f"channel {entry.name!r} is of type {there['type']} and cannot become {entry.type}: give it another name"
        )
    fields = {
        name: body[name]
        for name in ("events", "language", "muted")
        if _differs(name, there[name], body[name])
    }
    shown = {name: f"{_text(there[name])} → {_text(value)}" for name, value in fields.items()}
    masked = channels.masked(entry.type, entry.config)
    if masked != there["config"] or resend_secrets:
        gone = dict.fromkeys(there["config"].keys() - entry.config.keys())
        fields["config"] = {**entry.config, **gone}
        names = sorted(masked.keys() | there["config"].keys())
        changed = [name for name in names if masked.get(name) != there["config"].get(name)]
        shown["config"] = ", ".join(changed) or "secrets sent again"
    return [Step("change", "channel", entry.name, str(there["id"]), fields, shown)] if fields else []


def _monitor(entry: MonitorEntry, there: Json | None, names: Mapping[str, int | None]) -> list[Step]:
    body = entry.model_dump(
        exclude={"token", "paused"} if entry.slug is not None else {"token", "paused", "slug"}
    )
    if entry.channels != "*":
        for name in entry.channels:
            if name not in names:
                raise ConfigError(
                    f"monitor {entry.name!r}: there is no channel {name!r}, here or in the file"
                )
        body["channels"] = [names[name] if names[name] is not None else name for name in entry.channels]
    if there is None:
        shown = {"timeout": f"{entry.timeout:g} s"} if not entry.schedule else {"schedule": entry.schedule}
        made = [Step("create", "monitor", entry.name, fields={**body, "token": entry.token}, shown=shown)]
        return [*made, Step("pause", "monitor", entry.name)] if entry.paused else made
    fields = {
        name: value for name, value in body.items() if _differs(name, there[name] or _empty(value), value)
    }
    shown = {name: f"{_text(there[name])} → {_text(value)}" for name, value in fields.items()}
    found = [Step("change", "monitor", entry.name, there["id"], fields, shown)] if fields else []
    if entry.paused is not None and entry.paused != (there["status"] == "paused"):
        found.append(Step("pause" if entry.paused else "resume", "monitor", entry.name, there["id"]))
    return found


def _leftover(kind: Kind, there: Sequence[Json], entries: Sequence[Any]) -> list[Step]:
    """What the file does not name; a shop's monitor came by itself and stays."""
    kept = {entry.name for entry in entries}
    return [
        Step("delete", kind, item["name"], str(item["id"]))
        for item in there
        if item["name"] not in kept and "telemetry" not in item.get("tags", ())
    ]


def _differs(name: str, there: Any, here: Any) -> bool:
    if name in ("channels", "events") and isinstance(there, list) and isinstance(here, list):
        return sorted(map(str, there)) != sorted(map(str, here))
    return bool(there != here)


def _empty(value: Any) -> Any:
    return type(value)()


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value in (None, "") else str(value)
