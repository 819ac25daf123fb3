"""`mishpulse export`: the whole configuration, read from Redis itself.

The API never shows a hash or a sealed secret, and an export must work while the HTTP services are down.
"""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from services.admin import status_pages
from services.console import records
from services.console.records import Configuration
from services.webhooks import subscriptions
from shared import auth, channels_store, keys, monitors
from shared.connection import Store
from shared.errors import ConfigError
from shared.secrets import SecretBox

HEADER = """\
# MishPulse's configuration, as `mishpulse import` reads it. History, incidents and deliveries are not in it.
# {secrets}
"""
SEALED = "Secrets are encrypted with the key of the server that wrote this; keep that key."
OPEN = "Secrets stand here in the open: keep this file as you keep them."

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


async def collect(store: Store, box: SecretBox | None) -> Configuration:
    """Everything that is configured; secrets open where there is a box."""
    shops = await _shops(store)
    return Configuration.model_construct(
        mishpulse=records.FORMAT,
        secrets="open" if box else "sealed",
        monitors=[
            records.of_monitor(monitor, shops.get(monitor.id, ""))
            async for page in monitors.pages(store)
            for monitor in page
        ],
        channels=[records.of_channel(one, box) for one in (await channels_store.load(store)).values()],
        webhooks=[records.of_webhook(one, box) for one in (await subscriptions.load(store)).values()],
        tokens=sorted(
            (records.of_token(token) for token in await auth.list_api_tokens(store)),
            key=lambda record: (record.created_at, record.token_hash),
        ),
        status_pages=[records.of_page(page) for page in await status_pages.every(store)],
    )


async def _shops(store: Store) -> dict[str, str]:
    """Domains by the ids of their monitors."""
    found: dict[str, str] = {}
    cursor = 0
    while True:
        cursor, page = await store.redis.hscan(keys.TELEMETRY, cursor, count=500)
        found |= {json.loads(text)["monitor"]: domain for domain, text in page.items()}
        if not cursor:
            return found


def dump(configuration: Configuration) -> str:
    """The configuration as YAML, the same text for the same configuration."""
    content = configuration.model_dump(exclude_defaults=True)
    header = HEADER.format(secrets=OPEN if configuration.secrets == "open" else SEALED)
    text: str = yaml.dump(
        content, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )
    return header + text


def write(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
