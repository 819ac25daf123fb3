"""The self-ping's monitor and channel: what the collector, the watchdog, the stream and the delivery ledger treat like
any other, and nobody else sees. Pure.

A monitor's list of all monitors leaves it out, its events go to no webhook, no live client and no other channel, and it
opens no incident.
"""

from typing import Final

MONITOR: Final = "self-ping"
"""Its hyphen keeps it from the watchdog's expiry hints, so that only the sweep can declare it dead; `transition.lua`
and `perish.lua` name it too."""
CHANNEL: Final = 0
"""Other channels are numbered from 1."""
TARGET: Final = f"channel:{CHANNEL}"
