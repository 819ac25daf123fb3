"""Everyday verbs on a Redis: what they change, print, and how they refuse."""

import json
from pathlib import Path

import pytest
from console import Console, on
from servers import Server

from services.console import place, values
from services.console.output import cell
from services.console.place import Direct, Remote
from services.console.status import summary, worst_first
from shared.errors import ConfigError


@pytest.fixture
def pulse(server: Server) -> Console:
    return on(server.url)


def test_a_monitor_from_its_making_to_its_end(pulse: Console) -> None:
    """`add` shows the token once; show, pause, resume and rm take id, slug or name; list prints one line each."""
    made = pulse.json("monitors", "add", "API worker", "--timeout", "90s", "--tag", "prod", "--grace", "1m")
    assert (made["timeout"], made["grace"], made["tags"], made["status"]) == (90, 60, ["prod"], "new")
    assert made["heartbeat_url"].endswith(made["token"])
    assert pulse.ok("monitors", "list").rows == [[made["id"], "API worker", "new", "", "90", "", "prod", "*"]]
    assert pulse.json("monitors", "list", "--tag", "other") == []
    for which in (made["id"], "api-worker", "API worker"):
        shown = pulse.ok("monitors", "show", which).fields
        assert shown["id"] == made["id"]
        assert "token" not in shown
    assert pulse.ok("monitors", "pause", "api-worker").out == "API worker is paused\n"
    assert pulse.json("monitors", "show", "api-worker")["status"] == "paused"
    assert pulse.json("monitors", "resume", "api-worker")["status"] == "new"
    assert "is deleted" in pulse.ok("monitors", "rm", "api-worker").out
    assert pulse.ok("monitors", "list").out == ""


def test_a_name_that_several_have_is_no_answer(pulse: Console) -> None:
    """The ids are told instead; an unknown name is a failure."""
    ids = [pulse.json("monitors", "add", "twin")["id"] for _ in range(2)]
    done = pulse("monitors", "rm", "twin")
    assert done.code == 2
    assert all(one in done.err for one in ids)
    assert pulse("monitors", "show", "nobody").code == 1


def test_lists_longer_than_a_page_are_whole(pulse: Console) -> None:
    """The API gives 200 at once; the command gives all."""
    entries = "".join(f"- {{name: m{number}}}\n" for number in range(203))
    pulse.ok("apply", "-", stdin="monitors:\n" + entries)
    assert len(pulse.ok("monitors", "list").rows) == 203


def test_a_channel_from_its_making_to_its_end(pulse: Console, tmp_path: Path) -> None:
    """Config by --set, a secret out of a file, masked ever after."""
    secret = tmp_path / "token"
    secret.write_text("123456:ABCDEFGHIJKLMNOP\n")
    made = pulse.json(
        *("channels", "add", "on call", "--type", "telegram", "--language", "ru", "--event", "monitor.*"),
        *("--set", f"bot_token=@{secret}", "--set", "chat_id=-100123"),
    )
    assert made["config"]["bot_token"] == "••••MNOP"
    assert (made["language"], made["events"]) == ("ru", ["monitor.*"])
    (row,) = pulse.ok("channels", "list").rows
    assert row[:3] == ["1", "on call", "telegram"]
    assert pulse.ok("channels", "show", 1).fields["name"] == "on call"
    assert pulse.ok("channels", "rm", 1).out == "channel 1 is deleted\n"
    assert pulse("channels", "show", 1).code == 1


def test_a_webhook_from_its_making_to_its_end(pulse: Console) -> None:
    """The secret is never shown."""
    made = pulse.json(
        *("webhooks", "add", "crm", "https://example.org/hook", "--event-type", "payment.*"),
        *("--secret", "@-", "--inactive"),
        stdin="hunter2\n",
    )
    assert (made["id"], made["has_secret"], made["is_active"]) == (1, True, False)
    assert pulse.ok("webhooks", "list").rows == [
        ["1", "crm", "payment.*", "https://example.org/hook", "no", "0", "0"]
    ]
    assert pulse.json("webhooks", "list", "--event-type", "other.*") == []
    assert "hunter2" not in pulse.ok("webhooks", "show", 1).out
    pulse.ok("webhooks", "rm", 1)
    assert pulse("webhooks", "show", 1).code == 1


def test_tokens_and_events(pulse: Console) -> None:
    """A token's text is shown once; an event with an id counts once."""
    made = pulse.json("tokens", "add", "shop", "--scope", "ingest", "--scope", "read")
    assert made["token"].startswith("mp_")
    assert len(pulse.json("tokens", "add", "ping", "--scope", "ping")["token"]) == 22
    listed = pulse.ok("tokens", "list")
    assert [row[1:3] for row in listed.rows] == [["shop", "read,ingest"], ["ping", "ping"]]
    assert made["token"] not in listed.out
    pulse.ok("tokens", "rm", made["id"])
    assert pulse("tokens", "rm", made["id"]).code == 1
    sent = ("events", "send", "payment.completed", '{"order": 7}', "--id", "order-7")
    assert pulse.json(*sent)["ids"] == ["order-7"]
    assert pulse.ok("events", "send", "payment.completed", "@-", stdin='{"order": 8}').code == 0


def test_status_is_worst_first(pulse: Console) -> None:
    """In a pipe it is printed once."""
    for name in ("b", "a"):
        pulse.ok("monitors", "add", name)
    pulse.ok("monitors", "pause", "a")
    assert pulse.ok("status").rows == [["b", "new", ""], ["a", "paused", ""]]
    assert [row["status"] for row in pulse.json("status")] == ["new", "paused"]


def test_the_order_and_summary_of_statuses() -> None:
    """What needs a person comes first."""
    rows = [{"name": str(i), "status": s} for i, s in enumerate(("alive", "dead", "error", "alive"))]
    assert [row["status"] for row in worst_first(rows)] == ["error", "dead", "alive", "alive"]
    assert summary(rows) == "4 monitors: 2 alive, 1 error, 1 dead"
    assert summary([]) == "no monitors"


@pytest.mark.parametrize(
    "arguments",
    [
        ("monitors", "add", "x", "--timeout", "soon"),
        ("monitors", "add", "x", "--schedule", "99 * * * *"),
        ("monitors", "add", ""),
        ("monitors", "add", "x", "--channel", "7"),
        ("monitors", "add", "x", "--channel", "seven"),
        ("monitors", "list", "--status", "sick"),
        ("monitors",),
        ("monitors", "fly"),
        ("channels", "add", "x", "--type", "pigeon"),
        ("channels", "add", "x", "--type", "email", "--set", "to"),
        ("channels", "add", "x", "--type", "telegram", "--set", "bot_token=@/nowhere/at/all"),
        ("channels", "show", "-1"),
        ("webhooks", "add", "x", "ftp://example.org", "--event-type", "*"),
        ("webhooks", "add", "x", "https://example.org"),
        ("tokens", "add", "x", "--scope", "everything"),
        ("events", "send", "payment.completed", "[1]"),
        ("events", "send", "payment.completed", "{"),
        ("events", "send", "monitor.dead"),
        ("status", "--every", "0"),
        ("apply", "/nowhere/at/all"),
    ],
)
def test_nonsense_is_wrong_use(pulse: Console, arguments: tuple[str, ...]) -> None:
    """Exit status 2, a sentence, no traceback, nothing on standard output but help."""
    done = pulse(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert done.err or "Usage" in done.out


def test_hostile_names_stay_on_their_line(pulse: Console) -> None:
    """Control characters and markup are text."""
    name = "a\tb\x1b[31m\n[red]c"
    made = pulse.json("monitors", "add", name)
    assert made["name"] == name
    (row,) = pulse.ok("monitors", "list").rows
    assert row[1] == "a b [31m [red]c"
    assert cell(["x\ny", 1.5, True, None]) == "x y,1.5,yes,"


def test_where_the_server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, a URL, a Redis, ./data, a token: in this order."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "other"):
        (tmp_path / folder / "run").mkdir(parents=True)
        (tmp_path / folder / "run" / "where").write_text(f"unix:///{folder}\nhttp://127.0.0.1:1\n")
    known = {"PULSE_URL": "http://a/", "PULSE_ADMIN_TOKEN": "t", "PULSE_REDIS_URL": "redis://r"}
    other = Direct("unix:///other", tmp_path / "other" / "secret.key", "http://127.0.0.1:1")
    assert place.find("", "", tmp_path / "other", known) == other
    assert place.find("", "", None, known) == Remote("http://a", "t")
    assert place.find("https://b", "u", None, known) == Remote("https://b", "u")
    del known["PULSE_URL"]
    assert place.find("", "", None, known) == Direct()
    del known["PULSE_REDIS_URL"]
    assert place.find("", "", None, known).redis_url == "unix:///data"
    (tmp_path / "data" / "run" / "where").unlink()
    assert place.find("", "", None, known) == Remote(place.DEFAULT_URL, "t")
    for arguments in (("", "", None, {}), ("a.example", "", None, {}), ("", "", tmp_path, {})):
        with pytest.raises(ConfigError):
            place.find(*arguments)
    with pytest.raises(ConfigError, match="which Redis"):
        place.find_redis(None, {"PULSE_URL": "http://a"})


def test_values_as_they_are_typed() -> None:
    """Durations with units, dotted names as mappings."""
    assert [values.duration(text) for text in ("300", "90s", "5m", "2h", "1d", "1w", "0.5")] == [
        *(300, 90, 300, 7200, 86_400, 604_800, 0.5)
    ]
    assert values.pairs(["url=https://x?a=b", "headers.X-A=1"]) == {
        "url": "https://x?a=b",
        "headers": {"X-A": "1"},
    }
    for wrong in ("", "5 parsecs", "-1", "1e9"):
        with pytest.raises(ConfigError):
            values.duration(wrong)


def test_json_is_on_one_line_in_a_pipe(pulse: Console) -> None:
    """So that line-wise tools can read it."""
    pulse.ok("monitors", "add", "x")
    text = pulse.ok("monitors", "list", "--json").out
    assert text.count("\n") == 1
    assert json.loads(text)[0]["name"] == "x"
