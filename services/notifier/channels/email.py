"""Email: one message with a text and an HTML part to every address of the channel."""

import asyncio
import contextlib
import hashlib
import socket
import ssl
from datetime import UTC, datetime
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, parseaddr

import aiosmtplib

from services.notifier.channels.letter import Letter, Outlets
from services.notifier.forms import email_html, plain, subject
from shared.channels import EmailConfig
from shared.errors import DeliveryError
from shared.outbound import DEADLINE, Reply
from shared.smtp import SmtpServer, parse_smtp_url
from shared.targets import ANYWHERE

STARTTLS = {"smtp": None, "smtp+starttls": True, "smtps": False}
"""For aiosmtplib: None upgrades when the server offers it."""


async def send(config: EmailConfig, letter: Letter, outlets: Outlets) -> Reply:
    """Hands the message to the channel's mail server, else to the one of the settings.

    The address of a server given per channel is checked like any target. Success when at least one recipient
    was accepted, as a repetition would reach that one twice; the reply names those who were refused.
    """
    url = config.smtp_url or outlets.smtp_url
    sender = config.sender or outlets.smtp_from
    if not url or not sender:
        missing = "PULSE_SMTP_FROM" if url else "PULSE_SMTP_URL"
        raise DeliveryError(f"No mail server: set {missing}, or give the channel its own.", label="config")
    server = parse_smtp_url(url)
    message = compose(config, letter, sender)
    sock = await outlets.sender.connect(server.host, server.port, None if config.smtp_url else ANYWHERE)
    try:
        async with asyncio.timeout(outlets.sender.deadline):
            return await _hand_over(message, config, server, sock, _tls(server, outlets.sender.tls))
    except TimeoutError:
        raise DeliveryError(f"{server.host} did not take the mail in time.", label="timeout") from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise _failure(error, server) from None


def compose(config: EmailConfig, letter: Letter, sender: str) -> MIMEMultipart:
    """The message, the same on every attempt: whoever gets it twice can tell by its Message-ID.

    Not an EmailMessage: folding a long subject, it doubles spaces, and it reads `=?utf-8?…?=` in a name as encoding.
    """
    message = MIMEMultipart("alternative")
    message["From"] = sender
    message["To"] = ", ".join(config.to)
    # The stubs know str alone.
    message["Subject"] = Header(subject(letter.note), "utf-8")  # type: ignore[assignment]
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.at / 1000, UTC))
    message["Message-ID"] = message_id(letter, sender)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    message.attach(MIMEText(plain(letter.note), "plain", "utf-8"))
    message.attach(MIMEText(email_html(letter.note), "html", "utf-8"))
    return message


def message_id(letter: Letter, sender: str) -> str:
    """Made of event and channel alone; hashed, because an application may choose any event id."""
    name = hashlib.sha256(f"{letter.event_id}\n{letter.target}".encode("utf-8", "replace")).hexdigest()[:40]
    return f"<{name}@{parseaddr(sender)[1].rpartition('@')[2] or 'mishpulse'}>"


async def _hand_over(
    message: MIMEMultipart, config: EmailConfig, server: SmtpServer, sock: socket.socket, tls: ssl.SSLContext
) -> Reply:
    client = aiosmtplib.SMTP(
        hostname=server.host,
        sock=sock,
        use_tls=server.scheme == "smtps",
        start_tls=STARTTLS[server.scheme],
        tls_context=tls,
        local_hostname=socket.gethostname(),  # its default asks the name server
        username=server.user or None,
        password=server.password or None,
        timeout=DEADLINE,  # `send` has a deadline for the whole; some waits survive being cancelled
    )
    try:
        await client.connect()  # from here on the socket is its own
        refused, answer = await client.send_message(message, recipients=list(config.to))
        with contextlib.suppress(aiosmtplib.SMTPException, TimeoutError):
            await client.quit(timeout=1)  # accepted is accepted, whatever becomes of the farewell
    finally:
        client.close()
    notes = [f"{address}: {code} {text}" for address, (code, text) in refused.items()]
    return Reply(250, "; ".join([answer, *(f"refused {note}" for note in notes)])[:1000])


def _tls(server: SmtpServer, verified: ssl.SSLContext) -> ssl.SSLContext:
    """The context of the whole process, or for `smtp://` one that takes any certificate (see shared/smtp.py)."""
    if server.scheme != "smtp":
        return verified
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _failure(error: Exception, server: SmtpServer) -> DeliveryError:
    """Refusals with 5xx are permanent, except a refused login: that is mended in the settings, not in the
    mail.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refusal.code for refusal in error.recipients]
        words = "; ".join(f"{refusal.code} {refusal.message}" for refusal in error.recipients)[:500]
        return DeliveryError(
            f"{server.host} refused every recipient: {words}",
            permanent=all(code >= 500 for code in codes),
            status=max(codes),
            label="rejected",
        )
    if isinstance(error, aiosmtplib.SMTPResponseException):
        login = isinstance(error, aiosmtplib.SMTPAuthenticationError)
        mail = isinstance(error, aiosmtplib.SMTPSenderRefused | aiosmtplib.SMTPDataError)
        words = "refused the login" if login else f"answered {error.message}"[:500]
        return DeliveryError(
            f"{server.host} {words} ({error.code}).",
            permanent=mail and error.code >= 500,
            status=error.code,
            label="rejected",
        )
    if isinstance(error.__cause__ or error, ssl.SSLError):
        return DeliveryError(f"{server.host}: the TLS handshake failed.", label="tls")
    return DeliveryError(f"{server.host}: {type(error).__name__}.", label="disconnected")
