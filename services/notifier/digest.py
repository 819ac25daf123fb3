# ruff: noqa: RUF001 - half of the texts are Russian
"""One message instead of many, when a storm comes. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.notifier.durations import plural
from services.notifier.note import Note
from services.notifier.untrusted import line
from shared.channels import Language

NAMES_SHOWN = 10
NAME_LIMIT = 60
GROUPS_SHOWN = 12
"""Ten names in each of twelve groups stay below 3,500 characters only when names are short: `NAME_BUDGET`
cares."""
NAME_BUDGET = 2_400
"""Characters for all names of a digest, so that it fits a Telegram message whatever they are called."""


@dataclass(frozen=True, slots=True)
class Member:
    """An event that becomes part of a digest.

    `name` and `monitor` name the monitor, if it is a monitor's event; `traits` are what it may share with
    others, such as {"module": "2.3.1"}.
    """

    type: str
    name: str = ""
    monitor: str = ""
    traits: Mapping[str, str] = field(default_factory=dict)


_ENGLISH: Mapping[str, tuple[str, str]] = {
    "monitor.dead": ("❌ {} monitor dead", "❌ {} monitors dead"),
    "monitor.error": ("🔥 {} monitor reports an error", "🔥 {} monitors report errors"),
    "monitor.warning": ("⚠️ {} monitor sends a warning", "⚠️ {} monitors send warnings"),
    "monitor.recovered": ("✅ {} monitor alive again", "✅ {} monitors alive again"),
    "monitor.alive": ("✅ {} monitor alive", "✅ {} monitors alive"),
}
_RUSSIAN: Mapping[str, tuple[str, str, str]] = {
    "monitor.dead": (
        "❌ {} монитор не отвечает",
        "❌ {} монитора не отвечают",
        "❌ {} мониторов не отвечают",
    ),
    "monitor.error": (
        "🔥 {} монитор сообщает об ошибке",
        "🔥 {} монитора сообщают об ошибках",
        "🔥 {} мониторов сообщают об ошибках",
    ),
    "monitor.warning": (
        "⚠️ {} монитор предупреждает о проблеме",
        "⚠️ {} монитора предупреждают о проблемах",
        "⚠️ {} мониторов предупреждают о проблемах",
    ),
    "monitor.recovered": (
        "✅ {} монитор снова работает",
        "✅ {} монитора снова работают",
        "✅ {} мониторов снова работают",
    ),
    "monitor.alive": ("✅ {} монитор работает", "✅ {} монитора работают", "✅ {} мониторов работают"),
}
_ORDER = ("monitor.dead", "monitor.error", "monitor.warning", "monitor.recovered", "monitor.alive")


def compose_digest(members: Sequence[Member], language: Language) -> Note:
    """The note that stands for all `members`: a line for each type, the gravest first."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.type, []).append(member)
    ranked = sorted(groups, key=lambda kind: (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), kind))
    budget = NAME_BUDGET // max(1, min(len(ranked), GROUPS_SHOWN))
    lines = [_group(kind, groups[kind], language, budget) for kind in ranked[:GROUPS_SHOWN]]
    if len(ranked) > GROUPS_SHOWN:
        rest = sum(len(groups[kind]) for kind in ranked[GROUPS_SHOWN:])
        lines.append(f"+ {rest}")
    if len(lines) == 1:
        return Note(lines[0])
    return Note(_title(len(members), language), tuple(lines))


def _title(count: int, language: Language) -> str:
    if language == "ru":
        return f"📋 {count} {plural(count, 'событие', 'события', 'событий')} за короткое время."
    return f"📋 {count} events in a short time."


def _group(kind: str, members: Sequence[Member], language: Language, budget: int) -> str:
    distinct = list({member.monitor or f"{index}": member for index, member in enumerate(members)}.values())
    count = len(distinct)
    lead = _lead(kind, count, language)
    names = _names([line(member.name, NAME_LIMIT) for member in distinct if member.name], language, budget)
    common = _common(distinct, language)
    return lead + (f": {names}" if names else "") + (f", {common}" if common else "") + "."


def _lead(kind: str, count: int, language: Language) -> str:
    if language == "ru" and kind in _RUSSIAN:
        return plural(count, *_RUSSIAN[kind]).format(count)
    if kind in _ENGLISH and language == "en":
        return _ENGLISH[kind][count != 1].format(count)
    return f"📨 {count} × {line(kind)}"


def _names(names: Sequence[str], language: Language, budget: int) -> str:
    """As many names as fit, and the number of those that do not."""
    shown: list[str] = []
    for name in names[:NAMES_SHOWN]:
        budget -= len(name) + 2
        if budget < 0:
            break
        shown.append(name)
    rest = len(names) - len(shown)
    text = ", ".join(shown)
    if not rest:
        return text
    if not shown:
        return ""
    return f"{text} и ещё {rest}" if language == "ru" else f"{text} and {rest} more"


def _common(members: Sequence[Member], language: Language) -> str:
    """What most of them share, when that could be the cause: "31 of them run module 2.3.1"."""
    shares = Counter((name, value) for member in members for name, value in member.traits.items() if value)
    if not shares:
        return ""
    (name, value), count = min(shares.items(), key=lambda item: (-item[1], item[0]))
    if count < 2 or 2 * count < len(members):
        return ""
    what = f"{line(name, 30)} {line(value, 40)}"
    if language == "ru":
        return f"у {count} из них {what}"
    return f"{count} of them {'runs' if count == 1 else 'run'} {what}"
