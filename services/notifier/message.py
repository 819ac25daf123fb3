# ruff: noqa: RUF001 - half of the texts are Russian
"""What people read about an event, in English and Russian. Pure.

Every type has its line in TITLES; `compose` fills it and adds the details that the type calls for. Names,
messages and payloads come from outside and pass through `untrusted` here, once.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.notifier.durations import clock, duration, more_than
from services.notifier.note import Note
from services.notifier.untrusted import block, line
from shared.channels import Language

QUOTE_LIMIT = 10_000
"""As long as the longest heartbeat message that is kept."""

TITLES: Mapping[str, tuple[str, str]] = {
    "monitor.dead": (
        "❌ Service {name} has been silent for {limit}.",
        "❌ Сервис {name} не отвечает {limit}.",
    ),
    "monitor.error": ("🔥 Service {name} reports an error.", "🔥 Сервис {name} сообщает об ошибке."),
    "monitor.warning": ("⚠️ Service {name} sends a warning.", "⚠️ Сервис {name} предупреждает о проблеме."),
    "monitor.recovered": ("✅ Service {name} is alive again.", "✅ Сервис {name} снова работает."),
    "monitor.alive": ("✅ Service {name} is alive.", "✅ Сервис {name} работает."),
    "monitor.created": ("➕ Monitor {name} was created.", "➕ Монитор {name} создан."),
    "monitor.updated": ("✏️ Monitor {name} was changed.", "✏️ Монитор {name} изменён."),
    "monitor.deleted": ("🗑 Monitor {name} was deleted.", "🗑 Монитор {name} удалён."),
    "monitor.paused": ("⏸ Monitor {name} was paused.", "⏸ Монитор {name} приостановлен."),
    "monitor.resumed": ("▶️ Monitor {name} was resumed.", "▶️ Монитор {name} возобновлён."),
    "webhook.disabled": ("⛔ Webhook {name} was disabled.", "⛔ Вебхук {name} отключён."),
    "delivery.dead_letter": (
        "📭 An event could not be delivered to {name}.",
        "📭 Событие не удалось доставить: {name}.",
    ),
    "system.blind": (
        "🙈 MishPulse received no heartbeats for {limit}.",
        "🙈 MishPulse не принимал сигналы {limit}.",
    ),
}

UNFINISHED = (
    "❌ Service {name} started a run and has not finished it for {limit}.",
    "❌ Сервис {name} начал запуск и не завершает его {limit}.",
)
MISSED = ("❌ Service {name} missed its schedule.", "❌ Сервис {name} пропустил запуск по расписанию.")
BACK_WITH_WARNING = (
    "⚠️ Service {name} is back, with a warning.",
    "⚠️ Сервис {name} снова отвечает, но с предупреждением.",
)
TEST = (
    "🔔 MishPulse can reach the channel {name}.",
    "🔔 MishPulse доставляет сообщения в канал {name}.",
)

WORDS: Mapping[str, tuple[str, str]] = {
    "seen": ("Last heartbeat: {}", "Последний сигнал: {}"),
    "never": ("never", "не было"),
    "schedule": ("Schedule: {}", "Расписание: {}"),
    "downtime": ("Downtime: {}", "Простой: {}"),
    "reason": ("Reason: {}", "Причина: {}"),
    "event": ("Event: {}", "Событие: {}"),
    "monitor": ("Monitor: {}", "Монитор: {}"),
    "attempts": ("Attempts: {}", "Попыток: {}"),
    "span": ("From {} to {}", "С {} до {}"),
    "extended": (
        "Deadlines were extended: nobody is called dead because of it.",
        "Сроки продлены: из-за этого никто не считается пропавшим.",
    ),
}

REASONS: Mapping[str, tuple[str, str]] = {
    "gone": ("the receiver answered 410", "получатель ответил 410"),
    "failing": ("no success for 5 days", "ни одной удачной доставки за 5 дней"),
}
"""Why a webhook was disabled; the words that its event gives."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What a text is made of: an event's type, time (ms), raw stream fields and payload (JSON text)."""

    type: str
    at: int
    fields: Mapping[str, str]
    payload: str = "{}"


def compose(fact: Fact, language: Language, link: str = "") -> Note:
    """The note about an event. An application's event shows its type and payload."""
    if fact.type.startswith("monitor.") and fact.type in TITLES:
        return _about_monitor(fact, language, link)
    special = _SPECIAL.get(fact.type)
    data = _payload(fact.payload)
    if special is not None:
        return special(fact, data, language, link)
    return Note(f"📨 {line(fact.type)}", (), _shown(data), link)


def test_note(channel_name: str, language: Language) -> Note:
    """What `POST /api/channels/{id}/test` sends."""
    return Note(_in(TEST, language).format(name=line(channel_name)))


def _about_monitor(fact: Fact, language: Language, link: str) -> Note:
    fields = fact.fields
    name = line(fields.get("name", "")) or line(fields.get("monitor", "")) or "?"
    quote = block(fields.get("message", "")[:QUOTE_LIMIT])
    title = TITLES[fact.type]
    details: list[str] = []
    limit = _silence(fact)
    if fact.type == "monitor.dead":
        title, details = _dead(fact, language)
    elif fact.type == "monitor.recovered":
        if fields.get("new") == "warning":
            title = BACK_WITH_WARNING
        if since := _number(fields.get("since")):
            details = [_word("downtime", language, duration(fact.at - since, language))]
    return Note(
        _in(title, language).format(name=name, limit=more_than(limit, language)), tuple(details), quote, link
    )


def _dead(fact: Fact, language: Language) -> tuple[tuple[str, str], list[str]]:
    fields = fact.fields
    seen = _number(fields.get("seen"))
    last = clock(seen, fact.at) if seen else _in(WORDS["never"], language)
    details = [_word("seen", language, last)]
    if fields.get("schedule"):
        details.append(_word("schedule", language, line(fields["schedule"])))
        if not seen:
            return MISSED, details
    return UNFINISHED if fields.get("reason") == "unfinished" else TITLES[fact.type], details


def _silence(fact: Fact) -> int:
    """The silence in ms that was too long: what was allowed, or by a schedule what there was since the last
    beat.
    """
    if fact.fields.get("schedule"):
        return fact.at - (_number(fact.fields.get("seen")) or fact.at)
    return (_number(fact.fields.get("timeout")) or 0) + (_number(fact.fields.get("grace")) or 0)


def _disabled(fact: Fact, data: Mapping[str, Any], language: Language, link: str) -> Note:
    webhook = data.get("webhook")
    about = webhook if isinstance(webhook, Mapping) else data
    name = line(str(about.get("name") or about.get("id") or "?"))
    reason = str(data.get("reason") or "")
    words = _in(REASONS[reason], language) if reason in REASONS else line(reason, 300)
    details = (_word("reason", language, words),) if words else ()
    return Note(_in(TITLES[fact.type], language).format(name=name), details, "", link)


def _dead_letter(fact: Fact, data: Mapping[str, Any], language: Language, link: str) -> Note:
    name = line(str(data.get("name") or data.get("target") or "?"))
    details = [
        _word(word, language, line(str(data[key])))
        for word, key in (("event", "event_type"), ("monitor", "monitor"), ("attempts", "attempts"))
        if data.get(key)
    ]
    error = block(str(data.get("error") or "")[:QUOTE_LIMIT])
    return Note(_in(TITLES[fact.type], language).format(name=name), tuple(details), error, link)


def _blind(fact: Fact, _: Mapping[str, Any], language: Language, link: str) -> Note:
    start = _number(fact.fields.get("from")) or fact.at
    end = _number(fact.fields.get("to")) or fact.at
    title = _in(TITLES[fact.type], language).format(limit=more_than(end - start, language))
    span = (clock(moment, fact.at, seconds=True) for moment in (start, end))
    return Note(title, (_word("span", language, *span), _in(WORDS["extended"], language)), "", link)


_SPECIAL: Mapping[str, Callable[[Fact, Mapping[str, Any], Language, str], Note]] = {
    "webhook.disabled": _disabled,
    "delivery.dead_letter": _dead_letter,
    "system.blind": _blind,
}


def _payload(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _shown(data: Mapping[str, Any]) -> str:
    """A payload for people, readable rather than canonical."""
    return block(json.dumps(data, ensure_ascii=False, indent=2)[:QUOTE_LIMIT]) if data else ""


def _number(text: str | None) -> int | None:
    """A field in ms; None when it is empty, absent or no number."""
    try:
        return int(float(text)) if text else None
    except (ValueError, OverflowError):
        return None


def _word(word: str, language: Language, *values: str) -> str:
    return _in(WORDS[word], language).format(*values)


def _in(texts: tuple[str, str], language: Language) -> str:
    return texts[1] if language == "ru" else texts[0]
