"""What every kind of channel is given, and what it has to do with it."""

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from services.notifier.note import Note
from shared.channels import Config
from shared.outbound import Reply, Sender

C_contra = TypeVar("C_contra", bound=Config, contravariant=True)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message for one channel, the same on every attempt but for `attempted`, the time of this one. `at` and
    `attempted` in ms by Redis' clock; `payload` JSON text of an object.
    """

    target: str
    event_id: str
    event_type: str
    at: int
    payload: str
    note: Note
    attempted: int

    @property
    def channel_id(self) -> str:
        """The number in `channel:3`."""
        return self.target.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Outlets:
    """The ways out of the process, and the mail server of the settings: PULSE_SMTP_URL and
    PULSE_SMTP_FROM.
    """

    sender: Sender
    smtp_url: str = field(default="", repr=False)
    smtp_from: str = ""


class Send(Protocol[C_contra]):
    """One attempt to bring a letter to its destination.

    Returns what it answered; raises DeliveryError, permanent where no further attempt can succeed. Its
    message is shown to people and logged: no secret of the config is in it.
    """

    async def __call__(self, config: C_contra, letter: Letter, outlets: Outlets, /) -> Reply: ...  # noqa: D102
