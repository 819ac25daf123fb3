"""The event types that are offered for choosing: those of applications in the field, and MishPulse's own. Pure."""

from pydantic import BaseModel


class EventTypeOut(BaseModel):
    """One type: `value` is what to subscribe to."""

    value: str
    label: str
    description: str


_OFFERED = (
    ("user.created", "User created", "A user signed up."),
    ("payment.completed", "Payment completed", "A payment went through."),
    ("transaction.created", "Transaction created", "A transaction was recorded."),
    ("ticket.created", "Ticket created", "Somebody opened a support ticket."),
    ("ticket.status_changed", "Ticket status changed", "A support ticket moved to another status."),
    ("ticket.message_added", "Ticket message added", "A support ticket got a message."),
    ("monitor.created", "Monitor created", "A monitor was made."),
    ("monitor.updated", "Monitor updated", "The settings of a monitor changed."),
    ("monitor.deleted", "Monitor deleted", "A monitor was removed."),
    ("monitor.paused", "Monitor paused", "A monitor was paused: its silence counts no more."),
    ("monitor.resumed", "Monitor resumed", "A paused monitor counts again."),
    ("monitor.alive", "Monitor alive", "A monitor sent its first ok, or is ok after a warning."),
    ("monitor.warning", "Monitor warning", "A monitor sent a warning."),
    ("monitor.error", "Monitor error", "A monitor sent an error."),
    ("monitor.dead", "Monitor dead", "A monitor was silent past its deadline."),
    ("monitor.recovered", "Monitor recovered", "A monitor is back from dead or error."),
    ("webhook.disabled", "Webhook disabled", "A webhook was switched off because its receiver kept failing."),
    ("delivery.dead_letter", "Dead letter", "A delivery ran out of attempts."),
    ("system.blind", "System blind", "MishPulse itself could not listen for a while."),
    ("monitor.*", "Every monitor event", "Everything that happens to monitors."),
    ("*", "Every event", "Whatever happens."),
)

EVENT_TYPES = [
    EventTypeOut(value=value, label=label, description=description) for value, label, description in _OFFERED
]
