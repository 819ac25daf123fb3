"""`mishpulse export` and `import`: the whole configuration from one server into another."""

import stat
from pathlib import Path

import pytest
import redis
from console import Console, on
from servers import Server

from shared.secrets import new_key

SECRETS = ("hunter2-hunter2", "123456:ABCDEFGHIJKLMNOP", "smtp-password", "X-Key-value")
OPEN = "mishpulse: 1\nsecrets: open\nchannels:\n- {id: 1, name: a, type: email, config: {}, events: ['*'], "
TWICE = "mishpulse: 1\nmonitors:\n" + "".join(
    f"- {{id: {i}, name: a, token_hash: {'A' * 43}}}\n" for i in "ab"
)
PAGE = '{"slug": "eu", "title": "Europe", "description": "", "tags": ["eu"]}'
SHOP = '{"monitor": "%s", "at": 1, "report": {}, "headers": {}}'


def filled(pulse: Console, server: Server) -> None:
    """Something of everything."""
    pulse.ok(
        "apply",
        "-",
        stdin="""
channels:
- {name: call, type: telegram, config: {bot_token: "123456:ABCDEFGHIJKLMNOP", chat_id: "@ops"}, language: ru}
- {name: gone, type: email, config: {to: [a@example.org]}}
- {name: mail, type: email, config: {to: [a@example.org], smtp_url: "smtp://u:smtp-password@mail.example.org"}}
- {name: hook, type: webhook, config: {url: "https://example.org/", headers: {X-Key: X-Key-value}}, muted: true}
monitors:
- {name: web, timeout: 0.5m, tags: [a, "ü, b"], channels: [call, mail], methods: post}
- {name: nightly, schedule: "0 3 * * *", timezone: Europe/Berlin, slug: "", channels: [], paused: true}
- {name: shop.example, timeout: 26h, tags: [telemetry]}
""",
    )
    pulse.ok("channels", "rm", 2)
    pulse.ok(
        "webhooks", "add", "crm", "https://example.org/", "--event-type", "*", "--secret", "hunter2-hunter2"
    )
    pulse.ok("webhooks", "add", "off", "https://example.org/", "--event-type", "a.b", "--inactive")
    for scope in ("read", "ping", "admin"):
        pulse.ok("tokens", "add", scope, "--scope", scope)
    shop = pulse.json("monitors", "show", "shop.example")["id"]
    with redis.Redis.from_url(server.url) as client:
        client.hset("mp:{c}:telemetry", "shop.example", SHOP % shop)
        client.hset("mp:{c}:pages", "eu", PAGE)


@pytest.fixture
def pulse(server: Server) -> Console:
    pulse = on(server.url)
    filled(pulse, server)
    return pulse


def emptied(server: Server, pulse: Console, key: str = "") -> Console:
    """An empty server with the same key, or with another one."""
    return on(server.url, PULSE_SECRET_KEY=key or pulse.environment["PULSE_SECRET_KEY"])


@pytest.mark.parametrize("secrets", [(), ("--with-secrets",)])
def test_an_empty_server_becomes_the_same(pulse: Console, server: Server, secrets: tuple[str, ...]) -> None:
    """Two exports do not differ by one byte: monitors, channels, webhooks, tokens, and their hashes."""
    monitors, tokens = pulse.json("monitors", "list"), pulse.json("tokens", "list")
    before = pulse.ok("export", *secrets).out
    fresh = emptied(server, pulse)
    assert fresh.json("import", "-", stdin=before) == {"new": 12, "changed": 0, "equal": 0}
    assert fresh.ok("export", *secrets).out == before
    kept = ("id", "name", "slug", "timeout", "channels", "tags", "status", "methods")
    assert [[one[name] for name in kept] for one in fresh.json("monitors", "list")] == [
        [one[name] for name in kept] for one in monitors
    ]
    assert [one["name"] for one in fresh.json("tokens", "list")] == [one["name"] for one in tokens]


def test_importing_twice_changes_nothing_the_second_time(pulse: Console, server: Server) -> None:
    """Nothing is written again: every record is as it was."""
    text = pulse.ok("export", "--with-secrets").out
    fresh = emptied(server, pulse)
    fresh.ok("import", "-", stdin=text)
    before = fresh.json("channels", "list")
    assert fresh.json("import", "-", stdin=text) == {"new": 0, "changed": 0, "equal": 12}
    assert fresh.json("channels", "list") == before


def test_tokens_of_monitors_work_after_an_import(pulse: Console, server: Server) -> None:
    """The hash is the token's: what beat the old server beats the new one; slugs and shops are found."""
    made = pulse.json("monitors", "add", "known", "--heartbeat-token", "known-token")
    text = pulse.ok("export").out
    assert "known-token" not in text
    fresh = emptied(server, pulse)
    fresh.ok("import", "-", stdin=text)
    assert fresh("monitors", "add", "second", "--heartbeat-token", "known-token").code == 1
    assert fresh.json("monitors", "show", "known")["id"] == made["id"]
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        shop = fresh.json("monitors", "show", "shop.example")["id"]
        assert client.hget("mp:{c}:telemetry", "shop.example") == f'{{"monitor": "{shop}"}}'


def test_secrets_are_open_only_when_asked_for(pulse: Console, server: Server) -> None:
    """Without --with-secrets they stay sealed; with it another server with another key takes them."""
    closed, opened = pulse.ok("export").out, pulse.ok("export", "--with-secrets").out
    for secret in SECRETS:
        assert secret not in closed
        assert secret in opened
    other = emptied(server, pulse, new_key())
    other.ok("import", "-", stdin=opened)
    assert other.ok("export", "--with-secrets").out == opened
    stranger = emptied(server, pulse, new_key())
    stranger.ok("import", "-", stdin=closed)
    done = stranger("export", "--with-secrets")
    assert done.code == 2
    assert "was encrypted with the key" in done.err


def test_ids_go_on_after_those_of_the_file(pulse: Console, server: Server) -> None:
    """A channel made later does not get the id of one that came with the file."""
    fresh = emptied(server, pulse)
    fresh.ok("import", "-", stdin=_export_of(pulse, server, fresh))
    assert fresh.json("webhooks", "add", "n", "https://example.org/", "--event-type", "*")["id"] == 3
    made = fresh.json("channels", "add", "n", "--type", "email", "--set", "to=a@example.org")
    assert made["id"] == 5


def _export_of(pulse: Console, server: Server, fresh: Console) -> str:
    filled(pulse, server)
    text = pulse.ok("export").out
    on(server.url)
    return text


def test_what_differs_is_changed_only_when_asked_for(pulse: Console) -> None:
    """Exit status 1 and nothing changed; --overwrite makes it as the file says, history and state apart."""
    text = pulse.ok("export").out
    pulse.ok("monitors", "resume", "nightly")
    pulse.ok("channels", "rm", 1)
    done = pulse("import", "-", stdin=text)
    assert done.code == 1
    assert "--overwrite" in done.err
    assert pulse("channels", "show", 1).code == 1
    assert pulse.json("import", "-", "--overwrite", stdin=text) == {"new": 1, "changed": 1, "equal": 10}
    assert pulse.ok("export").out == text
    changed = text.replace("timeout: 30\n", "timeout: 45\n").replace("name: crm", "name: crm2")
    assert pulse.json("import", "-", "--overwrite", stdin=changed)["changed"] == 2
    assert pulse.ok("export").out == changed


def test_a_token_that_another_monitor_has_is_refused(pulse: Console) -> None:
    """Before anything is written."""
    text = pulse.ok("export").out
    web = pulse.json("monitors", "show", "web")["id"]
    moved = text.replace(f"id: {web}", "id: 0someother0000")
    done = pulse("import", "-", stdin=moved)
    assert done.code == 1
    assert "its token belongs to monitor" in done.err
    assert pulse.ok("export").out == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "standard input:1:1: "),
        ("mishpulse: 2\n", "standard input:1:12: mishpulse: "),
        (
            "mishpulse: 1\nmonitors:\n- id: x\n  name: a\n  token_hash: short\n",
            ":5:15: monitors.0.token_hash: ",
        ),
        ("mishpulse: 1\nchannels:\n- id: 0\n", ":3:7: channels.0.id: "),
        ("mishpulse: 1\ntokens:\n- name: a\n  scopes: [all]\n", ":4:12: tokens.0.scopes.0: "),
        (
            OPEN + "created_at: '2026-01-01T00:00:00Z'}\n",
            "channel 1 (a): config.to: ",
        ),
        (TWICE, "two monitors have the token_hash AAAA"),
        ("mishpulse: 1\nwebhooks:\n- created_at: yesterday\n", ":3:15: webhooks.0.created_at: "),
        ("mishpulse: 1\nstatus_pages:\n- {slug: feed, title: a}\n", ":3:10: status_pages.0.slug: "),
        ("\x00", "standard input:1:1: "),
    ],
)
def test_a_bad_file_changes_nothing(server: Server, text: str, told: str) -> None:
    """Exit status 2, with line and column."""
    pulse = on(server.url)
    done = pulse("import", "-", stdin=text)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_file_is_its_owners_alone(pulse: Console, tmp_path: Path) -> None:
    """Mode 0600, whole or not at all; a folder that is not there is wrong use."""
    file = tmp_path / "pulse.yaml"
    assert pulse.ok("export", "--with-secrets", "--output", file).out == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == pulse.ok("export", "--with-secrets").out
    assert [path.name for path in tmp_path.iterdir()] == ["pulse.yaml"]
    assert pulse("export", "--output", tmp_path / "none" / "pulse.yaml").code == 2


def test_a_redis_that_is_away_is_a_failure() -> None:
    """Exit status 1 and one sentence."""
    pulse = Console({"PULSE_REDIS_URL": "unix:///nowhere/at/all", "PULSE_SECRET_KEY": new_key()})
    for arguments in (("export",), ("import", "-"), ("monitors", "list")):
        done = pulse(*arguments, stdin="mishpulse: 1")
        assert done.code == 1
        assert "does not answer" in done.err
