"""The addresses that answers point to."""

import ipaddress
import re

from fastapi import Request

from shared.settings import Network, Settings

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


def heartbeat_url(request: Request, settings: Settings, token: str) -> str:
    """Where a monitor's heartbeats go."""
    return f"{origin(request, settings)}/api/heartbeat/{token}"


def origin(request: Request, settings: Settings) -> str:
    """PULSE_PUBLIC_URL, or where the client found us: its Host header, and the scheme that a trusted proxy saw."""
    if settings.public_url:
        return settings.public_url
    scheme = request.url.scheme
    forwarded = request.headers.get("x-forwarded-proto", "")
    if forwarded in ("http", "https") and _from_proxy(request, settings.trusted_proxies):
        scheme = forwarded
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = request.scope.get("server") or ("127.0.0.1", 8080)
        host = f"{name}:{port}" if port else name
    return f"{scheme}://{host}"


def _from_proxy(request: Request, trusted: tuple[Network, ...]) -> bool:
    peer = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer == ""  # a unix socket: only a proxy on this machine can be there
    return any(address in network for network in trusted)
