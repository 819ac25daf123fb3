"""A webhook: what it wants, where it goes, and when it was active. Pure.

An event is a webhook's if the webhook was active when the event happened: that says the same whenever it is asked, so
a dispatcher that runs late neither loses nor invents one, and `recover` knows what was missed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

from shared.events import Event
from shared.patterns import matches
from shared.secrets import SecretBox

NOW: Final = -1
"""Stands for the server's time, which is put in while the record is written."""
SPANS_KEPT: Final = 50
"""Older times of activity are dropped: the event stream reaches back 7 days only."""
OVERLAP_MS: Final = 24 * 3600 * 1000
"""How long a replaced secret goes on signing."""

Spans = tuple[tuple[int, int | None], ...]


class Disabled(NamedTuple):
    """That a webhook was switched off for its receiver's sake, at `at`; times in ms."""

    reason: str
    at: int
    failing_since: int | None


@dataclass(frozen=True, slots=True)
class Webhook:
    """A subscription. Secrets are sealed, "" for none; `spans` are the times of activity, oldest first.

    A span `(from, to)` covers the events after `from` up to and with `to` (ms of the stream), None while it lasts.
    `untold` is there from the switch until its event is in the stream, so that no death in between keeps it untold.
    """

    id: int
    name: str
    url: str
    event_type: str
    is_active: bool = True
    description: str | None = None
    secret: str = ""
    old_secret: str = ""
    old_secret_until: int = 0
    created_at: int = NOW
    updated_at: int = NOW
    disabled_reason: str = ""
    spans: Spans = ((NOW, None),)
    untold: Disabled | None = None

    @property
    def target(self) -> str:
        """Its name in the delivery ledger."""
        return f"webhook:{self.id}"

    def wants(self, event: Event) -> bool:
        """Whether the event is of its kind; never one about itself, for that would make a loop."""
        return event.about != self.target and matches(self.event_type, event.type)

    def was_active(self, at: int) -> bool:
        """Whether it was active at a time of the stream (ms). Its first and its last ms count: an event of the same ms
        came after the answer that it is on, for all that anybody can know.
        """
        return any(start <= at and (end is None or at <= end) for start, end in self.spans)


def time_of(event: Event) -> int:
    """When the event entered the stream, in ms of the server's clock."""
    return int(event.cursor.partition("-")[0])


def switched(webhook: Webhook, *, active: bool, reason: str = "") -> Webhook:
    """The webhook switched on or off from now on; unchanged when it is so already."""
    if webhook.is_active == active:
        return webhook
    if active:
        spans: Spans = (*webhook.spans, (NOW, None))[-SPANS_KEPT:]
    else:
        spans = tuple((start, NOW if end is None else end) for start, end in webhook.spans)
    return replace(webhook, is_active=active, disabled_reason=reason, spans=spans)


def covered(webhook: Webhook, start: int, end: int) -> Webhook:
    """The webhook as if it had been active from `start` up to `end` (ms) as well: what was missed is recovered."""
    return replace(webhook, spans=_joined([*webhook.spans, (start, end)]))


def _joined(spans: Sequence[tuple[int, int | None]]) -> Spans:
    joined: list[tuple[int, int | None]] = []
    for start, end in sorted(spans, key=lambda span: span[0]):
        last = joined[-1] if joined else None
        if last is None or (last[1] is not None and start > last[1]):
            joined.append((start, end))
        else:
            longest = None if last[1] is None or end is None else max(last[1], end)
            joined[-1] = (last[0], longest)
    return tuple(joined[-SPANS_KEPT:])


def sealed(webhook_id: int, secret: str, box: SecretBox) -> str:
    """A secret as it is stored; "" stays none."""
    return box.seal(secret, _place(webhook_id)) if secret else ""


def signing_secrets(webhook: Webhook, box: SecretBox, now: int) -> list[str]:
    """The secrets that sign at `now` (ms), newest first: two while a rotation lasts, none without a secret.

    Raises ConfigError when one cannot be opened.
    """
    found = [webhook.secret]
    if webhook.old_secret and now < webhook.old_secret_until:
        found.append(webhook.old_secret)
    return [box.open(secret, _place(webhook.id)) for secret in found if secret]


def resealed(webhook: Webhook, box: SecretBox) -> Webhook:
    """The webhook with its secrets under the newest key; raises ConfigError when one cannot be opened."""

    def renew(secret: str) -> str:
        if not secret or box.current(secret):
            return secret
        return sealed(webhook.id, box.open(secret, _place(webhook.id)), box)

    return replace(webhook, secret=renew(webhook.secret), old_secret=renew(webhook.old_secret))


def _place(webhook_id: int) -> str:
    return f"webhook:{webhook_id}:secret"


def dumps(webhook: Webhook, mark: str) -> list[str]:
    """The JSON to store, in the parts that the server's time joins; `mark` is a text that it does not contain."""

    def timed(value: Any) -> Any:
        if isinstance(value, tuple):
            return [timed(item) for item in value]
        return mark if value == NOW and isinstance(value, int) else value

    record = {name: timed(value) for name, value in asdict(webhook).items() if name != "id"}
    return json.dumps(record).split(f'"{mark}"')


def loads(webhook_id: int | str, text: str) -> Webhook:
    """The webhook of a stored record; unknown fields, from a newer version, are left out."""
    record = {name: value for name, value in json.loads(text).items() if name in Webhook.__slots__}
    spans: Spans = tuple((start, end) for start, end in record.pop("spans"))
    untold = record.pop("untold", None)
    return Webhook(id=int(webhook_id), spans=spans, untold=Disabled(*untold) if untold else None, **record)
