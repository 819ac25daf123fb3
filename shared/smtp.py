"""The address of a mail server as one URL. Pure.

| scheme | connection | default port |
|---|---|---|
| `smtp://` | plain; STARTTLS when the server offers it, its certificate not checked | 25 |
| `smtp+starttls://` | STARTTLS or no mail at all | 587 |
| `smtps://` | TLS from the first byte | 465 |

Checking the certificate of an upgrade that anyone in between could simply strike out would protect nothing
and break the many local servers with a certificate of their own making (RFC 7435); the other two schemes
check it.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from shared.targets import TargetError, check_url

DEFAULT_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server and how to talk to it; `scheme` is a key of DEFAULT_PORTS."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)


def parse_smtp_url(url: str) -> SmtpServer:
    """The server of `smtp://user:password@host:port`; user and password percent-encoded where needed.

    Raises TargetError, a ValueError, with a sentence that does not repeat the URL.
    """
    check_url(url, tuple(DEFAULT_PORTS), credentials=True)
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise TargetError("The mail server's URL must end after its host and port.")
    return SmtpServer(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=parts.port or DEFAULT_PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
