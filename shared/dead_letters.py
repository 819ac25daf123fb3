"""A delivery out of attempts is an event of its own, so that another channel or webhook can tell of it. Pure.

The script that records the end of a delivery appends the event (`lua/delivery_record.lua`): no process can die between
the two. Its id is `mp.dead.<target>.<number>`, and it is about the target, so it never goes to it.
"""

import contextlib
import json
from typing import Final

from shared.channels import TEST_EVENT
from shared.deliveries import Delivery
from shared.events import canonical
from shared.retry import Outcome

TYPE: Final = "delivery.dead_letter"
WEBHOOK_TEST: Final = "webhook.test"
UNTOLD: Final = frozenset({TYPE, TEST_EVENT, WEBHOOK_TEST})
"""Two broken channels would tell each other of their dead letters for ever; a failed test answers whoever asked."""


def payload(delivery: Delivery, outcome: Outcome) -> str:
    """The JSON that the event carries if this outcome is the delivery's last one; "" when it is to be no event."""
    if delivery.type in UNTOLD:
        return ""
    return canonical(
        {
            "target": delivery.target,
            "delivery_id": delivery.id,
            "event_id": delivery.event,
            "event_type": delivery.type,
            "attempts": delivery.attempt + 1,
            "error": outcome.error or f"status {outcome.status}",
            "monitor": _name(delivery.meta),
        }
    )


def _name(meta: str) -> str | None:
    """The monitor's name where the delivery kept one; a record must not fail for want of it."""
    with contextlib.suppress(ValueError, AttributeError):
        return json.loads(meta).get("name") or None
    return None
