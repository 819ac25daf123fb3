import hashlib
import hmac
import json
import threading
import time
from types import SimpleNamespace

import pytest
from recorder import Answer
from waiting import wait_until

from mishpulse_client import FileCache, Telemetry, state, telemetry
from mishpulse_client.failures import Failed

FIELDS = {"domain": "shop.example", "module_version": "2.3.1", "php_version": "8.2"}


class Memory:
    """The smallest cache that the client must work with."""

    def __init__(self):
        self.values = {}

    def get(self, key):
        return self.values.get(key)

    def set(self, key, value, ttl):
        self.values[key] = value
        self.seconds = ttl


def make(server, **changes):
    settings = {"url": server.url, "secret": "s3cret", "collect": lambda: FIELDS, "name": "shop", **changes}
    return Telemetry(**settings)


def test_what_is_sent(server):
    """The collected fields and a timestamp are posted to /heartbeat, signed, with the version header."""
    assert make(server, version_header="X-MEGAPAY-VERSION").send() == "sent"
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/heartbeat")
    assert {name: request.json[name] for name in FIELDS} == FIELDS
    assert abs(request.json["timestamp"] - time.time()) < 5
    expected = hmac.new(b"s3cret", request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-pulse-signature"] == f"sha256={expected}"
    assert request.headers["x-megapay-version"] == "2.3.1"


def test_version_header_with_a_value_of_its_own(server):
    """A pair of name and value is sent as it is."""
    make(server, version_header=("X-TELECART-VERSION", "9.9")).send()
    assert server.requests[0].headers["x-telecart-version"] == "9.9"


def test_at_most_once_an_hour(server, monkeypatch):
    """After a success nothing is sent for an hour, in other objects of this user neither; then it is."""
    assert [make(server).send(), make(server).send()] == ["sent", "skipped"]
    assert len(server.requests) == 1
    later = time.time() + 3_601
    monkeypatch.setattr(time, "time", lambda: later)
    assert make(server).send() == "sent"
    assert make(server).run(force=True) == "sent"


def test_a_failure_is_no_success(server, warnings):
    """After a failure the next call tries again."""
    server.answers = [Answer(401, b'{"detail": "Wrong signature."}'), Answer()]
    assert [make(server).send(), make(server).send()] == ["failed", "sent"]
    assert "Wrong signature." in warnings()[0]


def test_any_object_with_get_and_set_is_a_cache(server):
    """A cache of the program's own keeps the time of the last success for an hour."""
    cache = Memory()
    assert make(server, cache=cache).send() == "sent"
    assert cache.seconds == 3_600
    assert make(server, cache=cache, name="shop").send() == "skipped"
    assert make(server, cache=Memory()).send() == "sent"


def test_two_shops_of_one_user_do_not_silence_each_other(server):
    """Without a name the collecting function tells senders apart."""
    first = make(server, name=None, collect=lambda: FIELDS)
    second = make(server, name=None, collect=Memory)
    assert first.name != second.name
    assert first.name == make(server, name=None, collect=first._collect).name


@pytest.mark.parametrize(
    "source",
    [
        {"secret": "s3cret"},
        {"config": SimpleNamespace(pulse=SimpleNamespace(heartbeat_secret="s3cret"))},
        {"config": {"pulse": {"heartbeat_secret": "s3cret"}}},
        {"config": {"pulse.heartbeat_secret": "s3cret"}},
        {"env": "s3cret"},
    ],
)
def test_where_the_secret_comes_from(server, monkeypatch, source):
    """An argument, `pulse.heartbeat_secret` of objects or mappings, or PULSE_HEARTBEAT_SECRET."""
    if "env" in source:
        monkeypatch.setenv("PULSE_HEARTBEAT_SECRET", source["env"])
    given = {"secret": None, **{name: value for name, value in source.items() if name != "env"}}
    assert make(server, **given).send() == "sent"


def test_without_a_secret_nothing_is_sent(server, warnings):
    """Neither collected nor sent, and a warning says so."""
    collected = []
    assert make(server, secret="", collect=lambda: collected.append(1)).send() == "failed"
    assert (server.requests, collected) == ([], [])
    assert "PULSE_HEARTBEAT_SECRET" in warnings()[0]


def broken(*_):
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"collect": broken}, "failed"),
        ({"collect": lambda: {"a": object()}}, "failed"),
        ({"collect": lambda: None}, "failed"),
        ({"collect": lambda: {"a": float("nan")}}, "failed"),
        ({"collect": None}, "failed"),
        ({"version_header": ("X-A", "1\r\nX-B: 2")}, "failed"),
        ({"version_header": ("X-A", "я")}, "failed"),
        ({"config": SimpleNamespace(get=broken), "secret": None}, "failed"),
        ({"url": "gopher://x"}, "failed"),
        ({"cache": SimpleNamespace(get=broken, set=broken)}, "sent"),
        ({"cache": SimpleNamespace(get=lambda _: "yesterday", set=broken)}, "sent"),
    ],
)
def test_every_failure_is_a_warning_only(server, warnings, changes, outcome):
    """Cache, collection, signature, header and address may all be broken: send returns."""
    assert make(server, **changes).send() == outcome
    assert warnings()


def test_a_broken_cache_still_means_once_an_hour(server):
    """The object remembers its own success where the cache does not."""
    sender = make(server, cache=SimpleNamespace(get=broken, set=broken))
    assert [sender.send(), sender.send()] == ["sent", "skipped"]


def test_an_unwritable_folder_is_a_warning(server, monkeypatch, tmp_path, warnings):
    """Where no state can be kept telemetry is sent all the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PULSE_STATE_DIR", str(tmp_path / "file"))
    sender = make(server)
    assert [sender.send(), sender.send()] == ["sent", "skipped"]
    assert warnings()


@pytest.mark.parametrize(("setting", "limit"), [(None, 2.0), ("60", 2.0), ("0.2", 0.2)])
def test_the_timeout_is_forced(server, monkeypatch, setting, limit):
    """Two seconds at most; PULSE_TIMEOUT may only make it less."""
    if setting:
        monkeypatch.setenv("PULSE_TIMEOUT", setting)
    server.hang()
    began = time.monotonic()
    assert make(server).send() in ("failed", "pending")
    assert limit - 0.1 < time.monotonic() - began < limit + 1


def test_slow_collecting_holds_nobody_up(server, monkeypatch):
    """A collection that takes longer than the timeout goes on in the background and is sent."""
    monkeypatch.setenv("PULSE_TIMEOUT", "0.2")
    ready = threading.Event()
    sender = make(server, collect=lambda: ready.wait(10) and FIELDS)
    assert sender.send() == "pending"
    assert make(server).send() == "skipped", "one run at a time"
    ready.set()
    wait_until(lambda: sender.counts().sent == 1, "the telemetry was sent")


def test_counts(server):
    """Sent, skipped and failed runs are counted for good, with the last success and the last reason."""
    server.answers = [Answer(401, b'{"detail": "Wrong signature."}'), Answer()]
    for _ in range(4):
        make(server).send()
    counts = make(server).counts()
    assert (counts.sent, counts.skipped, counts.failed) == (1, 2, 1)
    assert abs(counts.last_success - time.time()) < 5
    assert "Wrong signature." in counts.last_error


def test_the_server_hears_how_often_we_failed(server):
    """Telemetry carries the counts of the runs before it, for the fleet page."""
    make(server, collect=lambda: 1 / 0).send()
    make(server).send()
    assert server.requests[0].json["telemetry"] == {"sent": 0, "skipped": 0, "failed": 1}


def test_where_state_is_kept(monkeypatch, tmp_path):
    """In the user's state folder; where home cannot be written, in a temporary folder that is our own."""
    monkeypatch.delenv("PULSE_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    assert state.folder() == tmp_path / "own" / "mishpulse"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = state.folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0
    folder.rmdir()
    folder.symlink_to(tmp_path / "own")
    with pytest.raises(Failed):
        state.folder()


def test_damaged_state_counts_as_none(server, tmp_path):
    """Half a file, or a file of something else, costs the counts and nothing more."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "telemetry-shop.json").write_text('{"sent": "many", "failed": 3, "skipped": {')
    (folder / "cache.json").write_text('{"mishpulse.telemetry.shop": 5}')
    assert make(server).send() == "sent"
    assert make(server).counts().sent == 1


def test_many_threads_send_once(server):
    """A crowd of page views at the same moment sends one telemetry."""
    sender = make(server)
    threads = [threading.Thread(target=sender.send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert (sender.counts().sent, sender.counts().skipped) == (1, 11)


def test_file_cache_forgets(tmp_path):
    """A value is there for its time only."""
    cache = FileCache(tmp_path / "cache.json")
    cache.set("a", "1", 60)
    cache.set("b", "2", -1)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("1", None, None)
    assert 58 <= cache.ttl("a") <= 60
    assert cache.ttl("b") == -2


def test_constants_of_the_contract():
    """An hour and two seconds."""
    assert (telemetry.INTERVAL, telemetry.LONGEST) == (3_600, 2.0)
    assert json.dumps({"a": 1}) == '{"a": 1}'
