# ruff: noqa: RUF001 - half of the words are Russian
"""The words people read: exact, in both languages, and harmless whoever chose the names."""

import json
import re
from html.parser import HTMLParser

import pytest
from doubles.html_entities import parse, units
from hostile import HOSTILE, INVISIBLE

from services.notifier import message
from services.notifier.durations import clock, duration, more_than, plural
from services.notifier.forms import TELEGRAM_LIMIT, cut, email_html, plain, subject, telegram
from services.notifier.message import TITLES, Fact, compose
from services.notifier.note import Note
from shared.events import MONITOR_EVENTS, OTHER_OWN_EVENTS

AT = 1_760_616_480_000  # 2025-10-16 12:08 UTC
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def fact(kind: str = "monitor.dead", payload: str = "{}", **changes: str) -> Fact:
    fields = {
        "monitor": "abc", "name": "api-worker", "slug": "api-worker", "tags": "[]", "old": "alive", "new": "dead",
        "seen": str(AT - 5 * MINUTE), "message": "", "reason": "silence", "incident": "abc.7", "channels": "*",
        "timeout": "300000", "grace": "0", "schedule": "", "since": str(AT - 12 * MINUTE), "muted": "",
    }  # fmt: skip
    return Fact(kind, AT, {**fields, **changes}, payload)


def both(kind: str, payload: str = "{}", **changes: str) -> tuple[str, str]:
    return tuple(plain(compose(fact(kind, payload, **changes), language)) for language in ("en", "ru"))


def lines(*parts: str) -> str:
    return "\n".join(parts)


class TestWords:
    def test_dead(self):
        """To the letter."""
        assert both("monitor.dead") == (
            "❌ Service api-worker has been silent for more than 5 minutes.\nLast heartbeat: 12:03 UTC",
            "❌ Сервис api-worker не отвечает более 5 минут.\nПоследний сигнал: 12:03 UTC",
        )

    def test_dead_counts_the_grace(self):
        """What was allowed is timeout and grace."""
        english, russian = both("monitor.dead", timeout="300000", grace="60000")
        assert "more than 6 minutes." in english
        assert "более 6 минут." in russian

    def test_dead_by_schedule(self):
        """A cron monitor was silent since its last beat; one that never beat missed its schedule."""
        seen = str(AT - 25 * HOUR)
        assert both("monitor.dead", schedule="0 11 * * *", seen=seen) == (
            lines(
                "❌ Service api-worker has been silent for more than 1 day 1 hour.",
                "Last heartbeat: 2025-10-15 11:08 UTC",
                "Schedule: 0 11 * * *",
            ),
            lines(
                "❌ Сервис api-worker не отвечает более 1 дня 1 часа.",
                "Последний сигнал: 2025-10-15 11:08 UTC",
                "Расписание: 0 11 * * *",
            ),
        )
        assert both("monitor.dead", schedule="0 11 * * *", seen="")[0].startswith(
            "❌ Service api-worker missed its schedule.\nLast heartbeat: never"
        )

    def test_dead_in_the_middle_of_a_run(self):
        """It began and did not end."""
        english, russian = both("monitor.dead", reason="unfinished")
        assert english.startswith(
            "❌ Service api-worker started a run and has not finished it for more than 5 minutes."
        )
        assert russian.startswith("❌ Сервис api-worker начал запуск и не завершает его более 5 минут.")

    def test_error_with_its_message(self):
        """What the program said is kept apart from what we say."""
        assert both("monitor.error", new="error", message="disk full\n  at /data") == (
            "🔥 Service api-worker reports an error.\n\ndisk full\n  at /data",
            "🔥 Сервис api-worker сообщает об ошибке.\n\ndisk full\n  at /data",
        )

    def test_recovered(self):
        """With the time it took."""
        assert both("monitor.recovered", old="dead", new="alive") == (
            "✅ Service api-worker is alive again.\nDowntime: 12 minutes",
            "✅ Сервис api-worker снова работает.\nПростой: 12 минут",
        )
        assert both("monitor.recovered", new="warning")[0].startswith(
            "⚠️ Service api-worker is back, with a warning."
        )

    def test_blind(self):
        """Our own absence says from when to when."""
        fields = {"from": str(AT - 90 * SECOND), "to": str(AT)}
        assert both("system.blind", **fields) == (
            lines(
                "🙈 MishPulse received no heartbeats for more than 1 minute 30 seconds.",
                "From 12:06:30 UTC to 12:08:00 UTC",
                "Deadlines were extended: nobody is called dead because of it.",
            ),
            lines(
                "🙈 MishPulse не принимал сигналы более 1 минуты 30 секунд.",
                "С 12:06:30 UTC до 12:08:00 UTC",
                "Сроки продлены: из-за этого никто не считается пропавшим.",
            ),
        )

    def test_a_disabled_webhook_and_a_dead_letter(self):
        """They name the target and the reason."""
        payload = '{"webhook": {"id": 7, "name": "crm"}, "reason": "410 Gone"}'
        assert both("webhook.disabled", payload)[0] == "⛔ Webhook crm was disabled.\nReason: 410 Gone"
        payload = '{"webhook": {"id": 7, "name": "crm"}, "reason": "gone"}'
        assert (
            both("webhook.disabled", payload)[1] == "⛔ Вебхук crm отключён.\nПричина: получатель ответил 410"
        )
        payload = (
            '{"target": "webhook:7", "event_type": "payment.completed", "attempts": 8, "error": "timeout"}'
        )
        assert both("delivery.dead_letter", payload) == (
            "📭 An event could not be delivered to webhook:7.\nEvent: payment.completed\nAttempts: 8\n\ntimeout",
            "📭 Событие не удалось доставить: webhook:7.\nСобытие: payment.completed\nПопыток: 8\n\ntimeout",
        )

    def test_an_application_event(self):
        """Its type and its payload, readable."""
        assert both("payment.completed", '{"sum": 1, "who": "Ян"}')[0] == (
            '📨 payment.completed\n\n{\n  "sum": 1,\n  "who": "Ян"\n}'
        )

    @pytest.mark.parametrize("kind", [*MONITOR_EVENTS, *OTHER_OWN_EVENTS])
    @pytest.mark.parametrize("language", ["en", "ru"])
    def test_every_event_of_ours_has_its_words(self, kind, language):
        """In each language, even when every field is missing."""
        assert kind in TITLES
        for note in (compose(fact(kind), language), compose(Fact(kind, AT, {}, "nonsense"), language)):
            assert "{" not in note.title
            assert bool(re.search("[а-яё]", note.title, re.IGNORECASE)) == (language == "ru")
            assert "\n" not in note.title

    def test_the_test_message(self):
        """Names the channel."""
        assert plain(message.test_note("ops", "en")) == "🔔 MishPulse can reach the channel ops."


class TestDurations:
    @pytest.mark.parametrize(
        ("ms", "english", "after_more_than", "russian"),
        [
            (0, "0 seconds", "0 секунд", "0 секунд"),
            (500, "0.5 seconds", "0,5 секунды", "0,5 секунды"),
            (1 * SECOND, "1 second", "1 секунды", "1 секунда"),
            (2 * SECOND, "2 seconds", "2 секунд", "2 секунды"),
            (21 * SECOND, "21 seconds", "21 секунды", "21 секунда"),
            (59_999, "59.999 seconds", "59,999 секунды", "59,999 секунды"),
            (MINUTE, "1 minute", "1 минуты", "1 минута"),
            (3 * MINUTE, "3 minutes", "3 минут", "3 минуты"),
            (11 * MINUTE, "11 minutes", "11 минут", "11 минут"),
            (12 * MINUTE, "12 minutes", "12 минут", "12 минут"),
            (90 * SECOND, "1 minute 30 seconds", "1 минуты 30 секунд", "1 минута 30 секунд"),
            (HOUR, "1 hour", "1 часа", "1 час"),
            (HOUR + 5 * SECOND, "1 hour", "1 часа", "1 час"),
            (22 * HOUR, "22 hours", "22 часов", "22 часа"),
            (26 * HOUR, "1 day 2 hours", "1 дня 2 часов", "1 день 2 часа"),
            (365 * DAY, "365 days", "365 дней", "365 дней"),
            (101 * DAY, "101 days", "101 дня", "101 день"),
            (111 * DAY, "111 days", "111 дней", "111 дней"),
            (-5, "0 seconds", "0 секунд", "0 секунд"),
        ],
    )
    def test_in_words(self, ms, english, after_more_than, russian):
        """The two largest units, in the case that the sentence wants."""
        assert duration(ms, "en") == english
        assert more_than(ms, "en") == f"more than {english}"
        assert duration(ms, "ru") == russian
        assert more_than(ms, "ru") == f"более {after_more_than}"

    @pytest.mark.parametrize(
        ("form", "counts"),
        [("one", (1, 21, 121)), ("few", (2, 4, 22)), ("many", (0, 5, 11, 14, 25, 111, 112))],
    )
    def test_russian_plurals(self, form, counts):
        """One, few, many; the teens are many."""
        assert {plural(count, "one", "few", "many") for count in counts} == {form}

    def test_a_clock_shows_the_day_only_when_it_matters(self):
        """Within twelve hours the time alone is clear, across midnight too."""
        assert clock(AT - 11 * HOUR, AT) == "01:08 UTC"
        assert clock(AT - 12 * HOUR, AT) == "2025-10-16 00:08 UTC"


class Checker(HTMLParser):
    """Fails on anything in an email that our own page does not have."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        assert tag in {"html", "head", "meta", "body", "h3", "p", "pre"}
        assert {name for name, _ in attrs} <= {"charset", "style"}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def hostile_notes(text: str) -> list[Note]:
    """The text wherever somebody may choose it."""
    return [
        compose(fact("monitor.error", name=text, message=text), "en"),
        compose(fact("monitor.dead", name=text, schedule=text, reason=text), "ru"),
        compose(Fact("payment.completed", AT, {}, json.dumps({"text": text})), "en"),
        compose(Fact("webhook.disabled", AT, {}, json.dumps({"name": text, "reason": text})), "en"),
    ]


def test_there_are_two_hundred():
    assert len(HOSTILE) >= 200


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_strings(text):
    """They arrive as text: nothing is markup, nothing hides, nothing is too long, in any form."""
    for note in hostile_notes(text):
        forms = [plain(note), telegram(note), email_html(note), subject(note)]
        for form in forms:
            form.encode()
            assert not [character for character in INVISIBLE if character in form]
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", "".join(forms))
        assert units(parse(telegram(note))) <= TELEGRAM_LIMIT
        assert "\n" not in subject(note)
        assert len(subject(note)) <= 200
        checker = Checker()
        checker.feed(email_html(note))
        checker.close()
        assert checker.open == []
        seen = "".join(checker.text)
        assert note.title in seen
        assert note.quote in seen
        assert Note.loads(note.dumps()) == note


class TestTelegramForm:
    def test_exactly_the_limit_is_not_cut(self):
        """Counted in UTF-16 units of what is left after parsing."""
        note = Note("t", (), "<" * (TELEGRAM_LIMIT - 3))
        assert units(parse(telegram(note))) == TELEGRAM_LIMIT
        assert "…" not in telegram(note)

    @pytest.mark.parametrize("character", ["<", "&", "🔥", "я", "\u0301", "a"])
    @pytest.mark.parametrize("offset", range(4))
    def test_one_more_is_cut_between_characters(self, character, offset):
        """Never inside an entity, a tag or a surrogate pair."""
        note = Note("t" * (1 + offset), (), character * TELEGRAM_LIMIT)
        parsed = parse(telegram(note))
        assert TELEGRAM_LIMIT - 2 <= units(parsed) <= TELEGRAM_LIMIT
        assert parsed.endswith("…")
        assert set(parsed) <= {"t", "\n", "…", character}

    def test_titles_and_details_alone_fit_too(self):
        """Whatever is too long is cut, the quote first."""
        note = Note("🔥" * 3000, ("x" * 3000,), "quote", "https://example.org/")
        assert units(parse(telegram(note))) <= TELEGRAM_LIMIT

    def test_a_link_is_kept_before_the_quote(self):
        """It leads to the rest."""
        note = Note("title", (), "q" * 5000, "https://example.org/x?a=1&b=2")
        assert parse(telegram(note)).endswith("https://example.org/x?a=1&b=2")

    @pytest.mark.parametrize(
        ("text", "limit", "kept"),
        [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("🔥🔥", 3, "🔥…"), ("🔥🔥🔥", 4, "🔥…")],
    )
    def test_cut(self, text, limit, kept):
        """In units, with an ellipsis."""
        assert cut(text, limit) == kept
