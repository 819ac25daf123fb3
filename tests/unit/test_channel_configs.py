"""What a channel may be configured with, how it is kept and how it is shown."""

import pytest

from shared.channels import (
    KINDS,
    SECRETS,
    Channel,
    config_of,
    dumps,
    keep_masked,
    loads,
    masked,
    seal,
    shown,
    validate,
)
from shared.errors import ConfigError
from shared.patterns import check_patterns, matches
from shared.secrets import MASK, SecretBox
from shared.smtp import SmtpServer, parse_smtp_url
from shared.targets import TargetError, check_url, parse_networks

BOX = SecretBox([b"k" * 32])
OTHER = SecretBox([b"o" * 32])
GOOD = {
    "telegram": {"bot_token": "123456:AAbbCCddEEffGG", "chat_id": "-100123"},
    "email": {"to": ["a@example.org"], "smtp_url": "smtps://me:hidden-password@mail.example.org"},
    "webhook": {
        "url": "https://example.org/hook",
        "secret": "whsec_hidden-secret",
        "headers": {"Authorization": "Bearer hidden-token"},
    },
    "apprise": {"url": "slack://hidden/token/here"},
}


def stored(kind: str, channel_id: int = 3) -> Channel:
    return Channel(channel_id, "ops", kind, seal(kind, validate(kind, GOOD[kind]), channel_id, BOX))


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_it_comes_back_from_the_store_as_it_went(self, kind):
        """Stored, loaded and opened, a config is what it was."""
        channel = stored(kind)
        again = loads("3", dumps(channel))
        assert again == channel
        opened = config_of(again, BOX).model_dump(by_alias=True, exclude_none=True, mode="json")
        assert opened == validate(kind, GOOD[kind])

    def test_no_secret_is_in_what_is_stored_shown_or_printed(self, kind):
        """Only opening it shows it."""
        channel = stored(kind)
        config = config_of(channel, BOX)
        for text in (dumps(channel), str(shown(channel, BOX)), repr(channel), repr(config)):
            assert "hidden" not in text
            assert "123456:AAbbCC" not in text

    def test_it_does_not_open_for_another_channel_or_with_another_key(self, kind):
        """Moved or orphaned, it is an error that says which channel."""
        moved = Channel(4, "ops", kind, stored(kind).config)
        for channel, box in ((moved, BOX), (stored(kind), OTHER)):
            with pytest.raises(ConfigError, match=f"channel:{channel.id}"):
                config_of(channel, box)
        assert MASK in str(shown(stored(kind), OTHER))

    def test_a_form_that_sends_the_masks_back_changes_nothing(self, kind):
        """Front ends send their whole form."""
        config = validate(kind, GOOD[kind])
        assert keep_masked(kind, masked(kind, config), config) == config

    def test_a_new_secret_replaces_the_old(self, kind):
        """Only the very mask stands for the old value."""
        config = validate(kind, GOOD[kind])
        field = SECRETS[kind][0]
        assert keep_masked(kind, {**masked(kind, config), field: "new"}, config)[field] == "new"

    def test_unknown_fields_are_errors(self, kind):
        """A typing mistake is not kept in silence."""
        with pytest.raises(ValueError, match=r"config\.smpt"):
            validate(kind, {**GOOD[kind], "smpt": 1})


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("telegram", {"bot_token": "1/../x"}, r"config\.bot_token"),
        ("telegram", {"bot_token": "1:a\n"}, r"config\.bot_token"),
        ("telegram", {"chat_id": "a b"}, r"config\.chat_id"),
        ("telegram", {"chat_id": True}, r"config\.chat_id"),
        ("telegram", {"api_base": "file:///etc"}, "must begin with http"),
        ("telegram", {"api_base": "https://x/?a="}, "no query"),
        ("email", {"to": []}, r"config\.to"),
        ("email", {"to": ["nobody"]}, "must look like"),
        ("email", {"to": ["a@b.c\r\nBcc: d@e.f"]}, "must look like"),
        ("email", {"to": ["a@b.c, d@e.f"]}, "must look like"),
        ("email", {"to": ["Evil <a@b.c>"]}, "must look like"),
        ("email", {"to": ["a@b_c d"]}, "must look like"),
        ("email", {"to": ["a@example.org"] * 51}, r"config\.to"),
        ("email", {"smtp_url": "http://x"}, "must begin with smtp"),
        ("email", {"smtp_url": "smtp://x/path"}, "must end after"),
        ("webhook", {"url": "ftp://x/"}, "must begin with http"),
        ("webhook", {"url": "https://a:b@x/"}, "user name or password"),
        ("webhook", {"url": "https://" + "x" * 2048}, "1 to 2048"),
        ("webhook", {"secret": "x" * 129}, r"config\.secret"),
        ("webhook", {"headers": {"Host": "x"}}, "set by MishPulse"),
        ("webhook", {"headers": {"x-webhook-SIGNATURE": "x"}}, "set by MishPulse"),
        ("webhook", {"headers": {"A b": "x"}}, "no valid header name"),
        ("webhook", {"headers": {"A": "x\r\nB: y"}}, "printable ASCII"),
        ("webhook", {"headers": {"A": "1", "a": "2"}}, "twice"),
        ("webhook", {"headers": {f"X-{n}": "1" for n in range(21)}}, r"config\.headers"),
        ("apprise", {"url": "no url"}, "service://"),
    ],
)
def test_what_is_refused(kind, change, words):
    """With a sentence that names the field and does not repeat the value."""
    with pytest.raises(ValueError, match=words) as caught:
        validate(kind, {**GOOD[kind], **change})
    assert "hidden" not in str(caught.value)


def test_an_unknown_kind():
    """The sentence lists the kinds there are."""
    with pytest.raises(ValueError, match="telegram, email, webhook, apprise"):
        validate("pigeon", {})


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("telegram", {"chat_id": -100123}, {"chat_id": "-100123"}),
        ("telegram", {"chat_id": "@ops_channel"}, {"chat_id": "@ops_channel"}),
        ("telegram", {"api_base": "http://bot.local:8081/"}, {"api_base": "http://bot.local:8081"}),
        ("email", {"to": "a@example.org, b@example.org"}, {"to": ["a@example.org", "b@example.org"]}),
        ("email", {"to": ["a@пример.рф"]}, {"to": ["a@xn--e1afmkfd.xn--p1ai"]}),
        ("email", {"from": "p@example.org"}, {"from": "p@example.org"}),
    ],
)
def test_what_is_put_right(kind, given, kept):
    """Common ways to write the same are kept in one form."""
    config = validate(kind, {**GOOD[kind], **given})
    assert {name: config[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", SmtpServer("smtp", "mail", 25)),
        ("smtps://mail", SmtpServer("smtps", "mail", 465)),
        ("smtp+starttls://mail/", SmtpServer("smtp+starttls", "mail", 587)),
        ("smtp://u%40x:p%3A%2F@mail:2525", SmtpServer("smtp", "mail", 2525, "u@x", "p:/")),
        ("smtp://[::1]:25", SmtpServer("smtp", "::1", 25)),
    ],
)
def test_mail_server_urls(url, server):
    """Scheme, port and login as documented; the password is in no repr."""
    assert parse_smtp_url(url) == server
    assert "p:/" not in repr(parse_smtp_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "//a/", "ftp://a/", "javascript:alert(1)", "http://", "http:///x", "http://a b/", "http://a\n/",
        "http://a\\@b/", "http://u@a/", "http://@a/", "http://u:p@a/", "http://a:0/", "http://a:65536/", "http://a:x/",
        "http://[::1/", "http://[::1%25eth0]/", "http://[1.2.3.4]/", "http://a..b/", "http://" + "a" * 64 + "/",
        "http://a\u202eb/", "http://a\x00/", "http://a%zz/", "http://\ud800/", "http://a/\ud800",
        "http://a/" + "x" * 2040,
    ],
)  # fmt: skip
def test_urls_that_are_refused(url):
    """Each with a sentence."""
    with pytest.raises(TargetError, match=r"^The .*\.$"):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://a", "https://example.org:8443/a/b?c=d&e=%2F#f", "http://127.0.0.1/", "http://[2001:db8::1]:80/",
        "http://my_service:9000/", "HTTP://EXAMPLE.ORG/", "http://пример.рф/путь", "https://example.org./",
    ],
)  # fmt: skip
def test_urls_that_are_accepted(url):
    """Private hosts too: where they lead is checked at the socket."""
    assert check_url(url) == url


def test_networks_name_every_mistake():
    """All bad entries at once, by the setting's name."""
    with pytest.raises(ConfigError, match=r"PULSE_ALLOW_PRIVATE_TARGETS.*10\.0\.0\.1/8.*nonsense"):
        parse_networks("127.0.0.0/8, 10.0.0.1/8, nonsense")
    assert [str(network) for network in parse_networks(" 10.0.0.0/8,, ::1 ")] == ["10.0.0.0/8", "::1/128"]
    assert parse_networks("") == ()


@pytest.mark.parametrize(
    ("pattern", "event", "wanted"),
    [
        ("*", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", True),
        ("a.*", "ab.c", False),
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
    ],
)
def test_patterns(pattern, event, wanted):
    """Exact, a prefix with all its depths, or everything."""
    assert matches(pattern, event) is wanted


def test_bad_patterns_are_named():
    """Repetitions are dropped in silence."""
    assert check_patterns(["monitor.*", "*", "monitor.*"]) == ("monitor.*", "*")
    for bad in ("", "monitor", "a.*.b", "A.b", "a.b*", "**", "a." + "b" * 60):
        with pytest.raises(ValueError, match="no event type"):
            check_patterns([bad])
