"""Where Redis is: the URL of one server, of a primary that sentinels watch, or of a cluster. Pure.

    redis://[[user]:password@]host[:port][/db]
    unix:///path/to/socket[?db=0]
    redis+sentinel://[[user]:password@]host[:port][,host2[:port2]…]/service[/db]
    redis+cluster://[[user]:password@]host[:port][,host2[:port2]…]

`rediss…` is the same through TLS. User and password, percent-encoded, are the data servers'; the sentinels' own are
`?sentinel_username=` and `?sentinel_password=`. Options of redis-py follow as a query.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlencode

from redis.asyncio.connection import parse_url

Kind = Literal["server", "sentinel", "cluster"]
Place = tuple[str, int]
"""A host and its port."""

SCHEMES: Final = {
    "redis": "server",
    "rediss": "server",
    "unix": "server",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
PORTS: Final = {"sentinel": 26379, "cluster": 6379}
OPTIONS: Final = frozenset(
    {
        "client_name",
        "health_check_interval",
        "max_connections",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_keyfile",
    }
)
"""What the query of a Sentinel or cluster URL may set; redis-py documents them."""
WHOLE = re.compile(r"(?P<scheme>[a-z+]+)://(?P<place>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]@]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. `options` are redis-py's connection arguments; those of one server are in its `url`."""

    kind: Kind
    url: str
    hosts: tuple[Place, ...] = ()
    service: str = ""
    tls: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    sentinel_options: Mapping[str, Any] = field(default_factory=dict)


def parse(url: str) -> Address:
    """What `url` says; raises ValueError that says what is wrong with it, without showing its password."""
    found = WHOLE.fullmatch(url)
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ValueError(f"must start with one of {', '.join(one + '://' for one in SCHEMES)}")
    kind: Any = SCHEMES[scheme]
    if kind == "server":
        return Address(kind, url)
    if found is None:
        raise ValueError("is no URL")
    user, at, hosts = found["place"].rpartition("@")
    places = tuple(_host(one, number, PORTS[kind]) for number, one in enumerate(hosts.split(","), 1))
    service, database = _service(kind, found["path"] or "")
    options, sentinel_options = _options(scheme, user + at, found["query"] or "")
    if database:
        options["db"] = database
    return Address(kind, url, places, service, scheme.startswith("rediss"), options, sentinel_options)


def _service(kind: Kind, path: str) -> tuple[str, int]:
    """The name under which sentinels know the primary, and the database."""
    words = [unquote(word) for word in path.split("/") if word]
    database = words.pop() if words and words[-1].isdigit() and len(words) + (kind == "cluster") > 1 else "0"
    if kind == "cluster":
        if words or int(database):
            raise ValueError(
                "a cluster has no path and only database 0: redis+cluster://host:port,host2:port2"
            )
        return "", 0
    if len(words) != 1:
        raise ValueError("the primary's name is missing: redis+sentinel://host:port,host2:port2/name/0")
    return words[0], int(database)


def _options(scheme: str, user: str, query: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The connection arguments for the data servers, and those for the sentinels."""
    pairs = parse_qsl(query, keep_blank_values=True)
    special = {name: value for name, value in pairs if name.startswith("sentinel_")}
    unknown = [name for name, _ in pairs if name not in OPTIONS | special.keys()]
    unknown += [name for name in special if name not in ("sentinel_username", "sentinel_password")]
    if special and not scheme.endswith("+sentinel"):
        unknown += special
    if unknown:
        raise ValueError(f"has an unknown option: {', '.join(dict.fromkeys(unknown))}")
    plain = [pair for pair in pairs if pair[0] not in special]
    parsed = parse_url(f"{scheme.partition('+')[0]}://{user}host?{urlencode(plain)}")
    options = {name: value for name, value in parsed.items() if name not in ("host", "connection_class")}
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return options, {**tls, **{name.removeprefix("sentinel_"): value for name, value in special.items()}}


def _host(text: str, number: int, port: int) -> Place:
    found = HOST.fullmatch(text)
    if found is None or int(found["port"] or port) > 65535:  # not shown: it may be half a password
        raise ValueError(f"is wrong at host {number}: host:port, with commas between them")
    return found["host"].strip("[]"), int(found["port"] or port)
