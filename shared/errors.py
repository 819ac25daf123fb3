"""Every error MishPulse raises on purpose."""

from typing import Literal

Failure = Literal[
    "config",
    "disconnected",
    "dns",
    "forbidden_address",
    "other",
    "protocol",
    "refused",
    "rejected",
    "status",
    "timeout",
    "tls",
    "unreachable",
    "vanished",
]
"""Why an attempt failed: the closed set of the failure label in metrics and logs."""


class PulseError(Exception):
    """The root: a sentence that tells the reader what to do."""


class ConfigError(PulseError):
    """A setting, flag or file is wrong; the message names each one."""


class NotFound(PulseError):  # noqa: N818 - the field's word, as in HTTP's 404
    """The named monitor, channel, webhook, delivery or token does not exist."""


class Conflict(PulseError):  # noqa: N818 - HTTP's 409
    """What was asked for clashes with what is there, such as a token already in use."""


class DeliveryError(PulseError):
    """An attempt failed.

    `permanent` says that no further attempt can succeed (a wrong chat id); `retry_after` is the wait in
    seconds that the destination asked for, `exact` that it is kept to the second and holds for everything
    that goes there (Telegram's flood control); `status` is its HTTP status and `body` its answer, where there
    was one; `label` says why in one word of the closed set.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        exact: bool = False,
        status: int | None = None,
        body: str = "",
        label: Failure = "other",
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after
        self.exact = exact
        self.status = status
        self.body = body
        self.label: Failure = label
