"""Where outgoing requests may go: rules for addresses and for URLs. Pure.

`ipaddress.is_private` is no help: it misses carrier-grade NAT, NAT64, 6to4, Teredo and `::127.0.0.1`, so the
list is written out, after the special-purpose registries of IANA (RFC 6890) and the metadata services of the
large clouds.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from shared.errors import ConfigError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_URL = 2048
"""Longer than any webhook endpoint in use; keeps a line of history readable."""

FORBIDDEN: tuple[tuple[str, str], ...] = (
    ("168.63.129.16/32", "a metadata address"),
    ("169.254.169.254/32", "a metadata address"),
    ("169.254.170.2/32", "a metadata address"),
    ("100.100.100.200/32", "a metadata address"),
    ("192.0.0.192/32", "a metadata address"),
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a carrier-grade NAT address"),
    ("127.0.0.0/8", "a loopback address"),
    ("169.254.0.0/16", "a link-local address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a protocol assignment"),
    ("192.0.2.0/24", "a documentation address"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "a benchmarking address"),
    ("198.51.100.0/24", "a documentation address"),
    ("203.0.113.0/24", "a documentation address"),
    ("224.0.0.0/4", "a multicast address"),
    ("255.255.255.255/32", "the broadcast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("fd00:ec2::254/128", "a metadata address"),
    ("fd20:ce::254/128", "a metadata address"),
    ("::/128", "the unspecified address"),
    ("::1/128", "the loopback address"),
    ("::/96", "an IPv4-compatible address"),
    ("::ffff:0:0:0/96", "an IPv4-translated address"),
    ("64:ff9b::/96", "a NAT64 address"),
    ("64:ff9b:1::/48", "a NAT64 address"),
    ("100::/64", "a discard address"),
    ("2001::/32", "a Teredo address"),
    ("2001:2::/48", "a benchmarking address"),
    ("2001:db8::/32", "a documentation address"),
    ("2001::/23", "a protocol assignment"),
    ("2002::/16", "a 6to4 address"),
    ("3fff::/20", "a documentation address"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a site-local address"),
    ("ff00::/8", "a multicast address"),
    # Last: whatever is not global unicast (2000::/3).
    ("::/3", "a reserved address"),
    ("4000::/2", "a reserved address"),
    ("8000::/1", "a reserved address"),
)

_FORBIDDEN: tuple[tuple[Network, str], ...] = tuple((ip_network(cidr), what) for cidr, what in FORBIDDEN)

ANYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""Allows every address: for hosts that the operator named in the settings."""

_UNSAFE = re.compile(
    r"[\x00-\x20\x7f-\xa0\\\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ud800-\udfff]"
)


class TargetError(ValueError):
    """A URL or address that no request may be made to; the message is a sentence for whoever typed it."""


def parse_networks(text: str, name: str = "PULSE_ALLOW_PRIVATE_TARGETS") -> tuple[Network, ...]:
    """The networks of a comma-separated list of CIDRs or single addresses.

    Raises ConfigError that names every bad entry.
    """
    networks: list[Network] = []
    bad: list[str] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(entry))
        except ValueError as error:
            bad.append(f"{entry!r} ({error})")
    if bad:
        raise ConfigError(f"{name} must list networks such as 10.0.0.0/8, fd00::/8; wrong: {'; '.join(bad)}")
    return tuple(networks)


def forbidden(address: str, allowed: Iterable[Network] = ()) -> str | None:
    """Why no request may go to `address`, such as "a loopback address"; None when it may.

    `address` is a literal as the socket gets it, scope id included; anything else is refused. An IPv4-mapped
    address reaches the IPv4 one, so that one is judged. The other forms that carry an IPv4 address (NAT64,
    6to4, Teredo) are refused whole: who routes them must allow their network by name.
    """
    try:
        parsed = _unmapped(ip_address(address))
    except ValueError:
        return "no address"
    if any(parsed in network for network in allowed):
        return None
    return next((what for network, what in _FORBIDDEN if parsed in network), None)


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def check_url(url: str, schemes: Sequence[str] = ("http", "https"), *, credentials: bool = False) -> str:
    """Returns `url` when a request may be made to it as far as its spelling tells; raises TargetError
    otherwise.

    The address is not looked at: names change their answers, so only the socket's check counts.
    """
    if not url or len(url) > MAX_URL:
        raise TargetError(f"The URL must have 1 to {MAX_URL} characters.")
    if _UNSAFE.search(url):
        raise TargetError("The URL must not contain spaces, backslashes or control characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetError("The URL has a malformed host or port.") from None
    if parts.scheme not in schemes:
        raise TargetError(f"The URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}.")
    if "@" in parts.netloc and not credentials:
        raise TargetError("The URL must not contain a user name or password.")
    if port == 0:
        raise TargetError("The URL's port must be 1 to 65535.")
    check_host(parts.hostname or "")
    return url


def check_host(host: str) -> str:
    """Returns `host` when it can be looked up or is an address without a scope; raises TargetError
    otherwise.
    """
    if not host:
        raise TargetError("The URL must name a host.")
    if ":" in host or "%" in host:
        try:
            IPv6Address(host)
        except ValueError:
            raise TargetError("The URL's host is no valid IPv6 address.") from None
        if "%" in host:
            raise TargetError("The URL's host must not carry an IPv6 scope.")
        return host
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        raise TargetError("The URL's host is no valid name.") from None
    if len(name) > 253 or not re.fullmatch(r"[a-z0-9_.-]+", name, re.IGNORECASE):
        raise TargetError("The URL's host is no valid name.")
    return host
