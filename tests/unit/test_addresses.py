"""The URLs under which Redis is found: what each says, and what is said of a wrong one."""

import pytest

from shared import addresses, logs, settings
from shared.errors import ConfigError


def test_sentinels_of_a_primary():
    """Hosts with and without port, the primary's name, its database, both passwords."""
    found = addresses.parse(
        "redis+sentinel://me:p%40w@one:1,two/pulse/3?sentinel_password=x&socket_timeout=3"
    )
    assert found.kind == "sentinel"
    assert found.hosts == (("one", 1), ("two", 26379))
    assert (found.service, found.tls) == ("pulse", False)
    assert found.options == {"username": "me", "password": "p@w", "db": 3, "socket_timeout": 3.0}
    assert found.sentinel_options == {"password": "x"}


def test_nodes_of_a_cluster_through_tls():
    """IPv6 addresses, a password alone, a certificate of one's own."""
    found = addresses.parse("rediss+cluster://:pw@[::1]:7000,[::2]?ssl_ca_certs=/ca.pem")
    assert (found.kind, found.tls) == ("cluster", True)
    assert found.hosts == (("::1", 7000), ("::2", 6379))
    assert found.options == {"password": "pw", "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://h", "unix:///run/redis.sock?db=1"])
def test_one_server_is_redis_pys_own_matter(url: str):
    """Passed on as it is."""
    assert addresses.parse(url) == addresses.Address("server", url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "must start with"),
        ("redis+sentinel:/h", "must start with"),
        ("redis+sentinel://h", "the primary's name is missing"),
        ("redis+sentinel://h/a/b/0", "the primary's name is missing"),
        ("redis+sentinel:///pulse", "host 1"),
        ("redis+sentinel://h,,i/pulse", "host 2"),
        ("redis+cluster://h:99999", "host 1"),
        ("redis+cluster://h/1", "only database 0"),
        ("redis+cluster://h/name", "only database 0"),
        ("redis+cluster://h?db=1", "unknown option: db"),
        ("redis+cluster://h?sentinel_password=x", "unknown option: sentinel_password"),
        ("redis+sentinel://h/s?socket_timeout=soon", "socket_timeout"),
    ],
)
def test_what_is_wrong_is_said(url: str, said: str):
    """In words that name the part."""
    with pytest.raises(ValueError, match=said):
        addresses.parse(url)


def test_a_wrong_url_shows_no_password():
    """Not even when a slash in the password makes it look like a host."""
    with pytest.raises(ValueError, match="host 1") as told:
        addresses.parse("redis+cluster://:se/cret@h:1")
    assert "se" not in str(told.value).split()
    assert "x" not in logs.clean("redis+sentinel://h/s?sentinel_password=x").rpartition("=")[2]


def test_a_cluster_needs_a_queue_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """Which arq does not know: the setting that is missing is named, and one that is a cluster too is refused."""
    monkeypatch.setenv("PULSE_REDIS_URL", "redis+cluster://h:1")
    with pytest.raises(ConfigError, match="PULSE_QUEUE_REDIS_URL: must name a Redis of its own"):
        settings.load()
    with pytest.raises(ConfigError, match="PULSE_QUEUE_REDIS_URL: must not be a cluster"):
        settings.load(queue_redis_url="redis+cluster://h:2")
    for url in ("redis://h:2/0", "redis+sentinel://h:2/queue"):
        assert settings.load(queue_redis_url=url).queue_url == url
    with pytest.raises(ConfigError, match="PULSE_REDIS_URL: the primary's name is missing"):
        settings.load(redis_url="redis+sentinel://h:2")
