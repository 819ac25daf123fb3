"""`mishpulse apply`: plans, changes only what differs, and says where a bad file is wrong."""

import json
from pathlib import Path

import pytest
from console import Console, on
from servers import Server

from services.console import marked
from services.console.wanted import Wanted
from shared.errors import ConfigError

FILE = """
x-defaults: &defaults
  timeout: 10m
  tags: [prod]
channels:
  - name: on call
    type: telegram
    config: {bot_token: "123456:ABCDEFGHIJKLMNOP", chat_id: -100123}
  - name: hook
    type: webhook
    config: {url: "https://example.org/", secret: "short", headers: {X-A: "1"}}
    events: [monitor.*]
    muted: true
monitors:
  - <<: *defaults
    name: web
    channels: [on call, hook]
    token: web-token
  - name: nightly
    slug: backup
    schedule: "0 3 * * *"
    timezone: Europe/Berlin
    grace: 15m
    methods: post
    channels: []
    paused: true
"""


@pytest.fixture
def pulse(server: Server) -> Console:
    return on(server.url)


def test_applying_twice_changes_nothing_the_second_time(pulse: Console) -> None:
    """The second run finds nothing to do, and no record is written again."""
    first = pulse.json("apply", "-", stdin=FILE)
    assert [(step["action"], step["kind"], step["name"]) for step in first["steps"]] == [
        ("create", "channel", "on call"),
        ("create", "channel", "hook"),
        ("create", "monitor", "web"),
        ("create", "monitor", "nightly"),
        ("pause", "monitor", "nightly"),
    ]
    assert first["created"][0]["token"] == "web-token"
    before = [pulse.json("channels", "list"), pulse.json("monitors", "list"), pulse.ok("export").out]
    assert pulse.json("apply", "-", "--prune", stdin=FILE) == {"changed": False, "steps": [], "created": []}
    assert pulse.ok("apply", "-", stdin=FILE).out == "nothing to change\n"
    assert [pulse.json("channels", "list"), pulse.json("monitors", "list"), pulse.ok("export").out] == before


def test_what_was_applied_is_there(pulse: Console) -> None:
    """Names of channels became their ids; durations seconds."""
    pulse.ok("apply", "-", stdin=FILE)
    web, nightly = pulse.json("monitors", "list")
    assert (web["timeout"], web["tags"], web["channels"]) == (600, ["prod"], [1, 2])
    assert (nightly["slug"], nightly["schedule"], nightly["status"]) == ("backup", "0 3 * * *", "paused")
    assert (nightly["grace"], nightly["methods"], nightly["channels"]) == (900, "post", [])
    call, hook = pulse.json("channels", "list")
    assert call["config"]["chat_id"] == "-100123"
    assert (hook["muted"], hook["events"]) == (True, ["monitor.*"])


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("timeout: 10m", "timeout: 11m", ("change", "monitor", "web", "timeout: 600 → 660")),
        ("tags: [prod]", "tags: []", ("change", "monitor", "web", "tags: prod → none")),
        ("[on call, hook]", '"*"', ("change", "monitor", "web", "channels: 1,2 → *")),
        ("paused: true", "paused: false", ("resume", "monitor", "nightly", "")),
        ("slug: backup", 'slug: ""', ("change", "monitor", "nightly", "slug: backup → none")),
        ("muted: true", "muted: false", ("change", "channel", "hook", "muted: True → False")),
        ("-100123", "-5", ("change", "channel", "on call", "config: chat_id")),
        ("MNOP", "QRST", ("change", "channel", "on call", "config: bot_token")),
        (', headers: {X-A: "1"}', "", ("change", "channel", "hook", "config: headers")),
        (
            "events: [monitor.*]",
            'events: ["*"]',
            ("change", "channel", "hook", "events: monitor.* → *"),
        ),
    ],
)
def test_only_what_differs_is_changed(
    pulse: Console, old: str, new: str, step: tuple[str, str, str, str]
) -> None:
    """One step for one difference, shown first by --dry-run; then nothing is left to do."""
    pulse.ok("apply", "-", stdin=FILE)
    changed = FILE.replace(old, new)
    dry = pulse.ok("apply", "-", "--dry-run", stdin=changed)
    assert dry.rows == [list(step), ["1 to change; nothing was changed (--dry-run)"]]
    assert pulse.ok("apply", "-", stdin=changed).out.endswith("1 changed\n")
    assert pulse.ok("apply", "-", stdin=changed).out == "nothing to change\n"


def test_prune_deletes_what_the_file_does_not_name(pulse: Console) -> None:
    """Only of the kinds it has, only when asked; a shop that registered by itself stays."""
    pulse.ok("apply", "-", stdin=FILE)
    pulse.ok("monitors", "add", "shop.example", "--tag", "telemetry")
    smaller = "monitors:\n  - {name: web, timeout: 10m, tags: [prod], channels: [on call, hook]}\n"
    assert pulse.ok("apply", "-", stdin=smaller).out == "nothing to change\n"
    steps = pulse.json("apply", "-", "--prune", stdin=smaller)["steps"]
    assert [(step["action"], step["name"]) for step in steps] == [("delete", "nightly")]
    assert [one["name"] for one in pulse.json("monitors", "list")] == ["web", "shop.example"]
    assert len(pulse.json("channels", "list")) == 2
    pulse.ok("apply", "-", "--prune", stdin="channels: []\nmonitors: []\n")
    assert [one["name"] for one in pulse.json("monitors", "list")] == ["shop.example"]
    assert pulse.json("channels", "list") == []


def test_secrets_that_look_the_same_are_sent_on_request(pulse: Console) -> None:
    """A short secret is masked whole, so a new one cannot be told from it without --resend-secrets."""
    pulse.ok("apply", "-", stdin=FILE)
    changed = FILE.replace('"short"', '"other"')
    assert pulse.ok("apply", "-", stdin=changed).out == "nothing to change\n"
    assert "secrets sent again" in pulse.ok("apply", "-", "--resend-secrets", stdin=changed).out
    assert "secret: other" in pulse.ok("export", "--with-secrets").out


def test_what_cannot_be_meant_is_refused_before_anything_changes(pulse: Console) -> None:
    """Unknown channels, two things of one name, another type: exit status 2."""
    pulse.ok("apply", "-", stdin=FILE)
    for text in (
        "monitors: [{name: new, channels: [nowhere]}]",
        "channels: [{name: hook, type: email, config: {to: [a@example.org]}}]",
        "monitors: [{name: a}, {name: a}]",
    ):
        assert pulse("apply", "-", stdin=text).code == 2
    pulse.ok("monitors", "add", "web")
    done = pulse("apply", "-", stdin=FILE)
    assert (done.code, "two monitors called 'web'" in done.err) == (2, True)
    assert len(pulse.json("monitors", "list")) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("monitors:\n  - name: web\n    timeout: fast\n", ":3:14: monitors.0.timeout: 'fast' is no duration"),
        ("monitors:\n  - name: web\n    colour: red\n", ":3:5: monitors.0.colour: there is no such field"),
        ("monitors:\n  - timeout: 5\n", ":2:5: monitors.0.name: this field is missing"),
        ("monitors:\n  - name: 12\n", ":2:11: monitors.0.name: write it in quotes: YAML reads it as int"),
        ("monitors:\n  - name: a\n    tags: x\n", ":3:11: monitors.0.tags: "),
        ("monitors:\n  - name: a\n    timeout: -5\n", ":3:14: monitors.0.timeout: "),
        ("monitors:\n  - name: a\n    schedule: 61 * * * *\n", ":2:5: monitors.0: "),
        ("monitors:\n  - name: a\n   bad: x\n", ":3:4: "),
        ("monitors:\n  - {name: a\n", ":3:1: "),
        ("monitors:\n  - name: a\n    name: b\n", ":3:5: 'name' stands here twice"),
        ("monitors: &a [*a]\n", ":1:11: this alias contains itself"),
        ("monitors: !!python/object:os.system {}\n", ":1:11: monitors: "),
        ("monitors:\n  - name: !!python/name:os.system x\n", ":2:11: "),
        ("monitor: []\n", ":1:1: monitor: there is no such field"),
        ("? [a]\n: b\n", ":1:3: a field's name must be a plain text"),
        ("- a\n", ":1:1: the file: the file must say"),
        ("a: 1\n---\nb: 2\n", ":2:1: "),
        (b"a: \xff", ":1:4: this is not UTF-8"),
        (b"a: b\nb: \x01", ":2:4: control characters are not allowed"),
        (
            "channels:\n  - name: a\n    type: telegram\n    config:\n      bot_token: '1:a'\n      chat_id: '!'\n",
            ":6:16: channels.0.config: config.chat_id: ",
        ),
        ("channels:\n  - {name: a, type: pigeon, config: {}}\n", ":2:21: channels.0.type: "),
        ("monitors: [" * 100 + "]" * 100, "nested too deep"),
    ],
)
def test_a_bad_file_is_told_with_line_and_column(text: str | bytes, told: str) -> None:
    """The first place to look at, in the words of whoever wrote the file."""
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as refused:
        marked.parse(raw, "file.yaml").check(Wanted)
    assert f"file.yaml{told}" in str(refused.value) or told in str(refused.value)
    assert str(refused.value).startswith("file.yaml:")


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(pulse: Console, tmp_path: Path) -> None:
    """One line each; nothing is changed."""
    file = tmp_path / "bad.yaml"
    file.write_text("monitors:\n  - name: a\n    grace: x\n  - name: b\n    tags: 5\n    odd: 1\n")
    done = pulse("apply", file)
    assert done.code == 2
    assert [line.split(": ")[1] for line in done.err.splitlines()] == [
        f"{file}:{n}" for n in ("3:12", "5:11", "6:5")
    ]
    assert pulse.json("monitors", "list") == []


def test_aliases_that_unfold_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of ten lines could ask for ten thousand million values."""
    monkeypatch.setattr(marked, "MOST_NODES", 10_000)
    lines = ["x-0: &a0 [0]"] + [f"x-{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    with pytest.raises(ConfigError, match="unfold to too much"):
        marked.parse("\n".join(lines).encode(), "file.yaml")


def test_an_empty_file_changes_nothing(pulse: Console) -> None:
    """Not even with --prune: it names no kind."""
    pulse.ok("monitors", "add", "kept")
    assert json.loads(pulse.ok("apply", "-", "--prune", "--json", stdin="").out)["steps"] == []
