# ruff: noqa: RUF001 - half of the words are Russian
"""One message for a storm: short, bounded, and saying what the dead have in common."""

import pytest
from doubles.html_entities import parse, units
from hostile import HOSTILE

from services.notifier.digest import Member, compose_digest
from services.notifier.forms import plain, telegram


def dead(count: int, version: str = "", start: int = 0, kind: str = "monitor.dead") -> list[Member]:
    return [
        Member(kind, f"shop{n}", f"id{n}", {"module": version} if version else {})
        for n in range(start, start + count)
    ]


def test_what_most_of_them_run_is_said():
    """The likely cause is in the same line."""
    members = dead(31, "2.3.1") + dead(6, "2.3.0", 31)
    names = ", ".join(f"shop{n}" for n in range(10))
    assert plain(compose_digest(members, "en")) == (
        f"❌ 37 monitors dead: {names} and 27 more, 31 of them run module 2.3.1."
    )
    assert plain(compose_digest(members, "ru")) == (
        f"❌ 37 мониторов не отвечают: {names} и ещё 27, у 31 из них module 2.3.1."
    )


def test_what_few_of_them_share_is_not_said():
    """A coincidence is no cause."""
    members = dead(2, "2.3.1") + dead(8, start=2)
    assert "2.3.1" not in plain(compose_digest(members, "en"))


def test_kinds_have_a_line_each_the_gravest_first():
    """And one line above says how many events there were."""
    members = dead(1, kind="monitor.recovered") + dead(2) + dead(1, kind="payment.failed")
    assert plain(compose_digest(members, "en")).splitlines() == [
        "📋 4 events in a short time.",
        "❌ 2 monitors dead: shop0, shop1.",
        "✅ 1 monitor alive again: shop0.",
        "📨 1 × payment.failed: shop0.",
    ]


def test_a_monitor_counts_once():
    """Two errors of one monitor are one monitor."""
    note = compose_digest(dead(1, kind="monitor.error") * 3, "en")
    assert plain(note) == "🔥 1 monitor reports an error: shop0."


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1 монитор не отвечает"),
        (2, "2 монитора не отвечают"),
        (5, "5 мониторов не отвечают"),
        (21, "21 монитор не отвечает"),
    ],
)
def test_russian_plurals(count, words):
    """Noun and verb follow the number."""
    assert words in plain(compose_digest(dead(count), "ru"))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_its_length_is_bounded(language):
    """A hundred thousand monitors with the longest names still fit one message, uncut."""
    members = dead(100_000) + [Member(f"app.event{n}", "🔥" * 200, str(n)) for n in range(50)]
    members += [Member("monitor.error", text, f"h{n}", {"a": text}) for n, text in enumerate(HOSTILE)]
    parsed = parse(telegram(compose_digest(members, language)))
    assert units(parsed) <= 4096
    assert "…" not in parsed[-3:]


def test_names_of_no_monitor():
    """Events without a name are counted."""
    assert plain(compose_digest([Member("payment.failed")] * 7, "en")) == "📨 7 × payment.failed."
