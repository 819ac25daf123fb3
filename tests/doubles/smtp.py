"""A mail server that keeps what it gets: plain, with STARTTLS, or TLS from the first byte.

Recipients decide its answers: `refused@…` gets 550, `later@…` 451, everybody else is accepted. With `user`
and `password` it wants a login.

As a program: `python tests/doubles/smtp.py --port 9003 [--out FILE]`, plain.
"""

import asyncio
import email
import email.policy
import ssl
import sys
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a program

from doubles.journal import Journal, parser, serve

ANSWERS = {"refused": "550 5.1.1 no such user", "later": "451 4.7.1 try again later"}


class MailServer:
    """A server on loopback; `starttls` and `tls` are server contexts."""

    def __init__(
        self,
        journal: Journal | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.journal = journal or Journal()
        self.host, self.port = host, port
        self.tls, self.starttls, self.login = tls, starttls, login
        self.refuse_data = ""
        self.hang = False
        self.connections = 0
        self._sessions: list[SMTP] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for session in self._sessions:
            if session.transport is not None:
                session.transport.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)

    def _session(self) -> SMTP:
        self.connections += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a login without TLS is unsafe: here it is meant to be
            session = SMTP(
                self,
                hostname="mail.test",
                ident="double",
                enable_SMTPUTF8=True,
                tls_context=self.starttls,
                authenticator=self._authenticate if self.login else None,
                auth_required=self.login is not None,
                auth_require_tls=False,
                loop=asyncio.get_running_loop(),
            )
        self._sessions.append(session)
        return session

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert self.login is not None
        given = (data.login.decode(), data.password.decode()) if isinstance(data, LoginPassword) else None
        return AuthResult(success=given == self.login, handled=False)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (answer := ANSWERS.get(address.partition("@")[0])) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.hang:
            await asyncio.Event().wait()
        if self.refuse_data:
            return self.refuse_data
        content = envelope.content
        raw = content if isinstance(content, bytes) else str(content).encode()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        self.journal.note(
            sender=envelope.mail_from,
            recipients=list(envelope.rcpt_tos),
            subject=str(message["Subject"]),
            message_id=str(message["Message-ID"]),
            headers=[[name, str(value)] for name, value in message.items()],
            text=_part(message, "plain"),
            html=_part(message, "html"),
            tls=session.ssl is not None or self.tls is not None,
            raw=raw.decode("utf-8", "replace"),
            at=time.time(),
        )
        return "250 OK: kept"


def _part(message: Any, kind: str) -> str:
    part = message.get_body((kind,))
    return part.get_content() if part is not None else ""


def main() -> None:
    options = parser("A mail server that keeps what it gets.").parse_args()
    serve(lambda journal: MailServer(journal, options.host, options.port), options.out)


if __name__ == "__main__":
    main()
