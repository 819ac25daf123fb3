"""`mishpulse doctor`: a server that is well, and each thing that can be wrong with one."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import SERVERS
from console import Console, Done
from doubles.smtp import MailServer
from doubles.telegram import BotApi
from servers import Server

from services.console import findings
from shared.secrets import new_key

HEALTHY = ("--appendonly", "yes", "--notify-keyspace-events", "Ex")


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis set up as deploy/redis.conf does it."""
    name, binary = next(iter(SERVERS.items()))
    server = Server(name, binary, tmp_path_factory.mktemp("w"))
    server.start(*HEALTHY)
    yield server
    server.stop()


@pytest.fixture
def pulse(well: Server) -> Console:
    with redis.Redis.from_url(well.url) as client:
        client.flushall()
        for name, value in (("appendonly", "yes"), ("notify-keyspace-events", "Ex")):
            client.config_set(name, value)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 0)
    return Console(
        {
            "PULSE_REDIS_URL": well.url,
            "PULSE_SECRET_KEY": new_key(),
            "PULSE_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8",
        }
    )


def verdicts(done: Done) -> dict[str, str]:
    return {row[0]: row[1] for row in done.rows if len(row) == 4}


def test_a_server_that_is_well(pulse: Console) -> None:
    """Exit status 0, one line per check, as JSON with what to mend."""
    done = pulse.ok("doctor")
    assert set(verdicts(done).values()) <= {"ok", "warn"}
    assert list(verdicts(done))[:3] == ["redis", "version", "persistence"]
    assert verdicts(done)["collector"] == "warn"  # none runs here
    found = {one["check"]: one for one in pulse.json("doctor")}
    assert found["eviction"] == {"check": "eviction", "verdict": "ok", "found": "noeviction", "mend": ""}


@pytest.mark.parametrize(
    ("setting", "value", "check", "verdict", "mend"),
    [
        ("appendonly", "no", "persistence", "fail", "appendonly yes"),
        ("notify-keyspace-events", "", "notifications", "warn", "notify-keyspace-events Ex"),
        ("maxmemory-policy", "allkeys-lru", "eviction", "warn", "maxmemory-policy noeviction"),
        ("maxmemory", 1, "memory", "fail", "raise maxmemory"),
    ],
)
def test_what_is_wrong_with_redis(
    pulse: Console, well: Server, setting: str, value: Any, check: str, verdict: str, mend: str
) -> None:
    """It is named, with what to do; exit status 1 when it must be mended."""
    with redis.Redis.from_url(well.url) as client:
        client.config_set(setting, value)
        done = pulse("doctor")
        client.config_set("maxmemory", 0)
    assert verdicts(done)[check] == verdict
    assert done.code == (1 if verdict == "fail" else 0)
    assert any(row[0] == check and mend in row[3] for row in done.rows if len(row) == 4)


def test_a_redis_that_does_not_answer() -> None:
    """One line says so, without its password; the key is looked at all the same."""
    pulse = Console({"PULSE_REDIS_URL": "redis://:geheim@127.0.0.1:1/0", "PULSE_SECRET_KEY": "AAAA"})
    done = pulse("doctor")
    assert done.code == 1
    assert verdicts(done) == {"redis": "fail", "secret key": "fail"}
    assert "geheim" not in done.out + done.err


def test_no_server_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2 and what to give."""
    monkeypatch.chdir(tmp_path)
    done = Console()("doctor")
    assert (done.code, done.out) == (2, "")
    assert "--data" in done.err
    assert Console()("doctor", "--data", tmp_path).code == 2


def test_data_of_another_shape(pulse: Console, well: Server) -> None:
    """The number of shards, a newer schema."""
    with redis.Redis.from_url(well.url) as client:
        client.hset("mp:{c}:schema", mapping={"version": 1, "shards": 4})
        assert "4 shards" in pulse("doctor").out
        assert "PULSE_SHARDS=4" in Console({**pulse.environment, "PULSE_SHARDS": "1"})("doctor").out
        client.hset("mp:{c}:schema", mapping={"version": 9, "shards": 1})
        assert "upgrade it" in pulse("doctor").out


def test_a_key_that_opens_nothing(pulse: Console, tmp_path: Path) -> None:
    """Secrets sealed with another key are named; a key file that others can read is a warning."""
    pulse.ok(
        "channels", "add", "call", "--type", "webhook", "--set", "url=https://e.org/", "--set", "secret=x"
    )
    pulse.ok("webhooks", "add", "crm", "https://e.org/", "--event-type", "*", "--secret", "x")
    file = tmp_path / "key"
    file.write_text(new_key())
    file.chmod(0o644)
    other = Console({**pulse.environment, "PULSE_SECRET_KEY": "", "PULSE_SECRET_KEY_FILE": str(file)})
    done = other("doctor")
    assert done.code == 1
    assert verdicts(done)["secret key"] == "warn"
    assert "channel 1 (call), webhook 1 (crm)" in done.out


async def test_mail_and_telegram_are_reached(pulse: Console) -> None:
    """A login that is taken, one that is refused, a bot that is known, one that was revoked; no message is sent."""
    async with MailServer(login=("user", "right")) as mail, BotApi() as telegram:
        api = f"api_base={telegram.url}"
        pulse.environment["PULSE_SMTP_URL"] = f"smtp://user:right@127.0.0.1:{mail.port}"
        for name, token in (("a", "1:AAAAAAAAAA"), ("b", "2:BBBBBBBBBB")):
            config = ("--set", f"bot_token={token}", "--set", "chat_id=5", "--set", api)
            await asyncio.to_thread(pulse.ok, "channels", "add", name, "--type", "telegram", *config)
        done = await asyncio.to_thread(pulse.ok, "doctor")
        assert "takes the login" in done.out
        telegram.revoked.add("2:BBBBBBBBBB")
        pulse.environment["PULSE_SMTP_URL"] = f"smtp://user:wrong@127.0.0.1:{mail.port}"
        done = await asyncio.to_thread(pulse, "doctor")
        assert done.code == 1
        rows = [row[:3] for row in done.rows if row[0] in ("mail", "telegram")]
        assert [row[:2] for row in rows] == [["mail", "fail"], ["telegram", "ok"], ["telegram", "fail"]]
        assert "channel 2 (b)" in rows[2][2]
        assert "BBBBBBBBBB" not in done.out
        assert (mail.journal.received, telegram.journal.received) == ([], [])


def test_an_outside_that_is_not_told(pulse: Console, well: Server) -> None:
    """The self-ping came to an end a while ago."""
    assert "not used" in pulse("doctor").out
    pulse.environment["PULSE_SELF_PING_URL"] = "https://outside.example/abc"
    assert verdicts(pulse.ok("doctor"))["self-ping"] == "warn"
    with redis.Redis.from_url(well.url) as client:
        client.set("mp:{c}:selfping", (client.time()[0] - 100) * 1000)
    done = pulse("doctor")
    assert (done.code, verdicts(done)["self-ping"]) == (1, "fail")
    assert "last told 10" in done.out
    assert "outside.example" not in done.out


def test_mail_that_is_needed_and_not_set(pulse: Console) -> None:
    """A channel of type email without a server; a server that is not there."""
    pulse.ok("channels", "add", "mail", "--type", "email", "--set", "to=a@example.org")
    assert "set PULSE_SMTP_URL" in pulse("doctor").out
    pulse.environment["PULSE_SMTP_URL"] = "smtp://127.0.0.1:1"
    assert verdicts(pulse("doctor"))["mail"] == "fail"


def test_judgements_of_what_a_redis_says() -> None:
    """The rows that no server here can be brought to say."""
    assert findings.version({"redis_version": "6.2.7"}).verdict == "fail"
    assert (
        findings.version({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9"}).found
        == "Valkey 9"
    )
    assert findings.version({}).verdict == "fail"
    assert findings.eviction({"maxmemory_policy": "allkeys-lru", "maxmemory": 1 << 30}).verdict == "fail"
    assert findings.persistence({"aof_enabled": 1, "aof_last_write_status": "err"}, "").verdict == "fail"
    assert findings.persistence({"aof_enabled": 1}, "no").verdict == "warn"
    assert findings.notifications(None).verdict == "warn"
    assert findings.notifications("AKE").verdict == "ok"
    assert [findings.clock(at, 100, 101).verdict for at in (100.5, 103.5, 90, 200)] == [
        "ok",
        "warn",
        "warn",
        "fail",
    ]
    assert [findings.listening(age).verdict for age in (None, 0.2, 60)] == ["warn", "ok", "fail"]
    ages = (None, 30, 76)
    assert [findings.self_ping(age, 75, wanted=True).verdict for age in ages] == ["warn", "ok", "fail"]
    assert [findings.self_ping(age, 75, wanted=False).verdict for age in ages] == ["ok", "ok", "ok"]


def test_doctor_changes_nothing(pulse: Console, well: Server) -> None:
    """An empty server is empty afterwards."""
    pulse.ok("doctor")
    with redis.Redis.from_url(well.url) as client:
        assert client.dbsize() == 0


def test_config_that_may_not_be_read(tmp_path: Path) -> None:
    """A managed Redis without CONFIG is judged by INFO."""
    path = shutil.which("redis-server") or next(iter(SERVERS.values()))
    folder = tmp_path / "m"
    folder.mkdir()
    server = Server("managed", path, folder)
    server.start("--appendonly", "yes", "--rename-command", "CONFIG", "")
    try:
        done = Console({"PULSE_REDIS_URL": server.url, "PULSE_SECRET_KEY": new_key()}).ok("doctor")
    finally:
        server.stop()
    assert verdicts(done)["notifications"] == "warn"
    assert verdicts(done)["persistence"] == "ok"
