"""Whether each message that came again has a kill of its own. Pure.

A process that has one message under way at a time can leave one between its send and its record when it is killed. So
each further copy is owed to a kill of its own: of a process of the service that delivers, between the copy before it
and that copy's record. With several messages under way one kill repeats them all, and this says nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chaos.history import Facts, Fault
from chaos.verdict import TICK, Limits

DELIVERS: Final = {"channel": "notifier", "webhook": "webhooks-worker"}
"""Which service delivers to each kind of target."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A further copy of a message, and the times between which its kill must have fallen. Ms."""

    target: str
    message: str
    earliest: float
    latest: float

    @property
    def service(self) -> str:
        return DELIVERS[self.target.partition(":")[0]]


def found(facts: Facts, limits: Limits = Limits()) -> list[Repeat]:  # noqa: B008 - it is frozen
    """Every further copy of a message that had been taken."""
    came: dict[tuple[str, str], list[float]] = defaultdict(list)
    for receipt in facts.receipts:
        if 200 <= receipt.answered <= 299:
            came[receipt.target, receipt.message].append(receipt.at)
    return [
        Repeat(*pair, first - limits.reach_within, min(first + limits.record_within, second + TICK))
        for pair, times in came.items()
        for first, second in pairwise(sorted(times))
    ]


def without_a_kill(repeats: Sequence[Repeat], faults: Sequence[Fault]) -> list[Repeat]:
    """Those that are left over when as many as possible were given a kill, and none was given twice.

    Whose time ends first chooses first, and takes the earliest kill in it: no other choice serves more.
    """
    free = sorted((fault for fault in faults if fault.kind == "kill"), key=lambda fault: fault.start)
    left = []
    for repeat in sorted(repeats, key=lambda repeat: repeat.latest):
        own = next((fault for fault in free if _explains(fault, repeat)), None)
        if own:
            free.remove(own)
        else:
            left.append(repeat)
    return left


def _explains(fault: Fault, repeat: Repeat) -> bool:
    return fault.name.partition("#")[0] == repeat.service and repeat.earliest <= fault.start <= repeat.latest
