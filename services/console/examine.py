"""What `mishpulse doctor` looks at: Redis, the secret key, mail servers and Telegram."""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiosmtplib
from redis.exceptions import RedisError

from services.console import findings
from services.console.findings import Finding
from services.webhooks import subscriptions
from services.webhooks.subscription import signing_secrets
from shared import channels, channels_store, keys, logs
from shared.channels import Channel, EmailConfig, TelegramConfig
from shared.cluster import primaries
from shared.connection import UNAVAILABLE, RedisClient, Store, connect
from shared.errors import ConfigError, DeliveryError, PulseError
from shared.outbound import Sender, tls_context
from shared.secrets import SecretBox, load_key
from shared.settings import Settings
from shared.smtp import SmtpServer, parse_smtp_url
from shared.targets import ANYWHERE

WITHIN = 10.0
"""Seconds for each mail server and Bot API."""
STARTTLS = {"smtp": None, "smtp+starttls": True, "smtps": False}


async def everything(settings: Settings) -> list[Finding]:
    """Every finding; without a Redis that answers, what can be looked at without one."""
    found: list[Finding] = []
    redis = connect(settings.redis_url)
    store = Store(redis, settings.shards or 1)  # only the small control data is read, which is in no shard
    try:
        found += await _redis(redis, settings)
        answers = found[0].verdict == "ok"
        if settings.queue_redis_url and settings.queue_redis_url != settings.redis_url:
            found.append(await _queue(settings))
        box = _key(settings, found)
        known = list((await channels_store.load(store)).values()) if answers else []
        if box and answers:
            found.append(await _secrets(store, box, known))
        async with Sender(settings.allow_private_targets, deadline=WITHIN) as sender:
            if answers or settings.smtp_url:
                found += await _mail(settings, known, box, sender)
            if answers:
                found += await _telegram(known, box, sender)
    finally:
        await redis.aclose()
    return found


async def _redis(redis: RedisClient, settings: Settings) -> list[Finding]:
    where = logs.clean(settings.redis_url)
    try:
        servers = await primaries(redis)
        found = [finding for server in servers for finding in await _server(server, many=len(servers) > 1)]
        stored: dict[str, str] = await redis.hgetall(keys.SCHEMA)  # type: ignore[misc]
        seconds, micros = await redis.time()
        stamp = await redis.get(keys.ingest(0))
        told = await redis.get(keys.SELF_PING)
    except (RedisError, *UNAVAILABLE) as error:
        why = logs.clean(str(error)) or type(error).__name__
        return [
            Finding(
                "redis", "fail", f"{where} does not answer: {why}", "start it, or correct PULSE_REDIS_URL"
            )
        ]
    now = seconds + micros / 1e6
    return [
        Finding("redis", "ok", where),
        *found,
        findings.data(stored, settings.shards),
        findings.listening(now - int(stamp) / 1000 if stamp else None),
        findings.self_ping(
            now - int(told) / 1000 if told else None,
            2.5 * settings.self_ping_interval,
            wanted=bool(settings.self_ping_url),
        ),
    ]


async def _server(redis: RedisClient, *, many: bool) -> list[Finding]:
    """What one server says of itself; of `many`, each finding names the server."""
    before = time.time()
    seconds, micros = await redis.time()
    after = time.time()
    info: Mapping[str, Any] = await redis.info("everything")
    flags, fsync = await _config(redis, "notify-keyspace-events"), await _config(redis, "appendfsync")
    found = [
        findings.version(info),
        findings.persistence(info, fsync or ""),
        findings.eviction(info),
        findings.memory(info),
        findings.notifications(flags),
        findings.clock(seconds + micros / 1e6, before, after),
    ]
    if not many:
        return found
    options = redis.connection_pool.connection_kwargs
    return [replace(one, found=f"{options['host']}:{options['port']}: {one.found}") for one in found]


async def _config(redis: RedisClient, name: str) -> str | None:
    """A setting of Redis; None where it may not be read, as with managed ones."""
    try:
        found: dict[str, str] = await redis.config_get(name)
    except RedisError:
        return None
    return found.get(name)


async def _queue(settings: Settings) -> Finding:
    redis = connect(settings.queue_redis_url)
    try:
        await redis.ping()
    except (RedisError, *UNAVAILABLE) as error:
        why = logs.clean(str(error)) or type(error).__name__
        found = f"{logs.clean(settings.queue_redis_url)} does not answer: {why}"
        return Finding("queue", "fail", found, "start it, or correct PULSE_QUEUE_REDIS_URL")
    finally:
        await redis.aclose()
    return Finding("queue", "ok", logs.clean(settings.queue_redis_url))


def _key(settings: Settings, found: list[Finding]) -> SecretBox | None:
    """The box for secrets, None without a key; what is wrong with the key is added to `found`."""
    file = Path(settings.secret_key_file) if settings.secret_key_file else None
    try:
        box = load_key(settings.secret_key, file)
    except ConfigError as error:
        mend = "set PULSE_SECRET_KEY or PULSE_SECRET_KEY_FILE; `mishpulse init-key` makes a key"
        found.append(Finding("secret key", "fail", str(error), mend))
        return None
    if file and not settings.secret_key and file.stat().st_mode & 0o077:
        found.append(Finding("secret key", "warn", f"others can read {file}", f"chmod 600 {file}"))
    else:
        found.append(Finding("secret key", "ok", "PULSE_SECRET_KEY" if settings.secret_key else str(file)))
    return box


async def _secrets(store: Store, box: SecretBox, known: list[Channel]) -> Finding:
    """Whether the key opens every stored secret."""
    lost = []
    for channel in known:
        try:
            channels.unseal(channel, box)
        except ConfigError:
            lost.append(f"channel {channel.id} ({channel.name})")
    for webhook in (await subscriptions.load(store)).values():
        try:
            signing_secrets(webhook, box, 0)
        except ConfigError:
            lost.append(f"webhook {webhook.id} ({webhook.name})")
    if lost:
        mend = "add the older key to PULSE_SECRET_KEY, or enter these secrets again"
        return Finding("secrets", "fail", f"sealed with another key: {', '.join(lost[:10])}", mend)
    return Finding("secrets", "ok", "the key opens every one")


async def _mail(
    settings: Settings, known: list[Channel], box: SecretBox | None, sender: Sender
) -> list[Finding]:
    """Each mail server that is in use answers and takes the login."""
    asked: dict[str, bool] = {settings.smtp_url: True} if settings.smtp_url else {}
    needed = ""
    for channel in known:
        config = _opened(channel, box)
        if isinstance(config, EmailConfig):
            needed = needed or ("" if config.smtp_url else f"channel {channel.id} ({channel.name})")
            if config.smtp_url:
                asked.setdefault(config.smtp_url, False)
    if needed and not settings.smtp_url:
        mend = "set PULSE_SMTP_URL and PULSE_SMTP_FROM"
        return [Finding("mail", "fail", f"{needed} needs a mail server and none is set", mend)]
    if not asked:
        return [Finding("mail", "ok", "not used")]
    return [await _mail_server(url, sender, trusted=ours) for url, ours in asked.items()]


async def _mail_server(url: str, sender: Sender, *, trusted: bool) -> Finding:
    mend = "correct PULSE_SMTP_URL" if trusted else "correct the channel's smtp_url"
    try:
        server = parse_smtp_url(url)
    except ValueError as error:
        return Finding("mail", "fail", str(error), mend)
    where = f"{server.host}:{server.port}"
    try:
        async with asyncio.timeout(WITHIN):
            await _greet(server, sender, trusted=trusted)
    except (aiosmtplib.SMTPException, DeliveryError, OSError, TimeoutError, ValueError) as error:
        why = logs.clean(str(error)) or type(error).__name__
        return Finding("mail", "fail", f"{where}: {why}", f"{mend}, or the server")
    return Finding("mail", "ok", f"{where} answers" + (" and takes the login" if server.user else ""))


async def _greet(server: SmtpServer, sender: Sender, *, trusted: bool) -> None:
    """Connects, upgrades and logs in as the notifier does, and says goodbye."""
    sock = await sender.connect(server.host, server.port, ANYWHERE if trusted else None)
    tls = tls_context()
    if server.scheme == "smtp":
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE  # as shared/smtp.py says
    client = aiosmtplib.SMTP(
        hostname=server.host,
        sock=sock,
        use_tls=server.scheme == "smtps",
        start_tls=STARTTLS[server.scheme],
        tls_context=tls,
        local_hostname="localhost",
        username=server.user or None,
        password=server.password or None,
        timeout=WITHIN,
    )
    try:
        await client.connect()
        await client.quit()
    finally:
        client.close()


async def _telegram(known: list[Channel], box: SecretBox | None, sender: Sender) -> list[Finding]:
    """Each bot in use is known to its Bot API."""
    bots: dict[tuple[str, str], str] = {}
    for channel in known:
        config = _opened(channel, box)
        if isinstance(config, TelegramConfig):
            bots.setdefault((config.api_base, config.bot_token), f"channel {channel.id} ({channel.name})")
    if not bots:
        return [Finding("telegram", "ok", "not used")]
    return [await _bot(base, token, name, sender) for (base, token), name in bots.items()]


async def _bot(base: str, token: str, name: str, sender: Sender) -> Finding:
    host = urlsplit(base).hostname or base
    try:
        reply = await sender.post(f"{base}/bot{token}/getMe", b"{}", {"Content-Type": "application/json"})
        answer = json.loads(reply.body)
    except PulseError as error:
        mend = f"let this machine reach {host}, or set the channel's api_base"
        return Finding("telegram", "fail", f"{name}: {error}", mend)
    except ValueError:
        answer = {}
    if reply.status == 200 and isinstance(answer, dict) and answer.get("ok"):
        return Finding("telegram", "ok", f"{name}: {host} knows the bot")
    words = answer.get("description", "no answer of a Bot API") if isinstance(answer, dict) else "no Bot API"
    return Finding(
        "telegram", "fail", f"{name}: {host} answered {reply.status}: {words}", "correct the bot_token"
    )


def _opened(channel: Channel, box: SecretBox | None) -> Any:
    """The channel's config, None when it cannot be opened; `_secrets` has told that."""
    try:
        return channels.config_of(channel, box) if box else None
    except ConfigError:
        return None
