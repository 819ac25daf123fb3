# ruff: noqa: RUF001 - digits that only look like digits are what is tested
"""Addresses and spellings that no request may reach: the rows of test_ssrf.py."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

FORBIDDEN_V4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "100.100.100.200/32", "127.0.0.0/8", "168.63.129.16/32",
    "169.254.0.0/16", "169.254.169.254/32", "169.254.170.2/32", "172.16.0.0/12", "192.0.0.0/24", "192.0.0.192/32",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
)  # fmt: skip
FORBIDDEN_V6 = (
    "::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
    "2001::/32", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:db8::/32", "2002::/16", "3fff::/20",
    "4000::/3", "5f00::/16", "fc00::/7", "fd00:ec2::254/128", "fd20:ce::254/128", "fe80::/10", "fec0::/10",
    "ff00::/8", "ff02::1/128",
)  # fmt: skip
PERMITTED = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.215.14", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255",
    "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
    "203.0.112.255", "203.0.114.0", "223.255.255.255", "::ffff:8.8.8.8", "2001:200::1", "2001:4860:4860::8888",
    "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2606:4700::1111", "2a00:1450:4001::200e", "3ffe::1",
)  # fmt: skip

VICTIMS = (
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16",
    "169.254.169.254", "172.16.5.4", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255",
)  # fmt: skip


def ends(cidr: str) -> list[str]:
    """The first, second, middle and last address of a network."""
    network = ip_network(cidr)
    picks = {0, min(1, network.num_addresses - 1), network.num_addresses // 2, network.num_addresses - 1}
    return [str(network[pick]) for pick in sorted(picks)]


def in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def spellings(address: str) -> list[str]:
    """The ways to write an IPv4 address that some parser or resolver understands."""
    number = int(IPv4Address(address))
    a, b, c, d = (int(part) for part in address.split("."))
    fullwidth = str.maketrans("0123456789.", "０１２３４５６７８９．")
    circled = str.maketrans("123456789", "①②③④⑤⑥⑦⑧⑨")
    return [
        address,
        f"{address}.",
        str(number),
        hex(number),
        hex(number).upper().replace("X", "x"),
        f"0{number:o}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:03d}.{b:03d}.{c:03d}.{d:03d}",
        f"0x{a:02x}.{b}.0{c:o}.{d}",
        f"{a}.{(b << 16) + (c << 8) + d}",
        f"{a}.{b}.{(c << 8) + d}",
        f"0x{a:x}.0x{(b << 16) + (c << 8) + d:x}",
        f"{a}.{b}.0{(c << 8) + d:o}",
        f"%3{str(a)[0]}{str(a)[1:]}.{b}.{c}.{d}",
        address.replace(".", "。"),
        address.translate(fullwidth),
        address.translate(circled),
        f"{number + (1 << 32)}",
    ]


def embedded(address: str) -> list[str]:
    """IPv6 addresses that lead to an IPv4 one by some mechanism."""
    number = int(IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    teredo_high, teredo_low = high ^ 0xFFFF, low ^ 0xFFFF
    return [
        f"::ffff:{address}",
        f"::ffff:{high:x}:{low:x}",
        f"0:0:0:0:0:ffff:{high:04x}:{low:04x}",
        f"::FFFF:{high:X}:{low:X}",
        f"::{address}",
        f"::ffff:0:{address}",
        f"64:ff9b::{address}",
        f"64:ff9b::{high:x}:{low:x}",
        f"64:ff9b:1::{address}",
        f"2002:{high:x}:{low:x}::",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}:0:0:{teredo_high:x}:{teredo_low:x}",
        f"fe80::5efe:{high:x}:{low:x}",
    ]


LITERALS = tuple(
    dict.fromkeys(
        [address for cidr in FORBIDDEN_V4 + FORBIDDEN_V6 for address in ends(cidr)]
        + [address for victim in VICTIMS for address in embedded(victim)]
    )
)
"""Forbidden addresses in their plain form, for the URL and for the resolver's answers."""

HOSTS = tuple(
    dict.fromkeys(
        [in_brackets(address) for address in LITERALS]
        + [spelling for victim in VICTIMS for spelling in spellings(victim)]
        + [
            "localhost", "LOCALHOST", "localhost.", "ip6-localhost", "[::]", "[::%25lo]", "[fe80::1%25lo]",
            "[::1%25lo]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "127.1", "127.0.1", "0",
            "0x0", "00", "0.0", "①②⑦.⓪.⓪.①", "127.0.0.1:80@127.0.0.1", "example.org@127.0.0.1",
        ]
    )
)  # fmt: skip
"""Hosts as they stand in a URL."""


def info(address: str, port: int) -> tuple:
    """What getaddrinfo answers for an address."""
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (str(IPv6Address(address)), port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
