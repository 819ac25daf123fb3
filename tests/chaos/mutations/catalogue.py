"""The list of mutations, read from the TOML file of each promise."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]

PROMISES: Final = {
    1: "An acknowledged heartbeat counts; a silent monitor becomes dead",
    2: "Exactly one transition and one event per change",
    3: "Every event reaches every matching channel and webhook, or ends as a visible dead letter",
    4: "Our own blindness is not their death",
    5: "One slow or broken destination delays no other",
    6: "The delivery ledger decides, arq only executes",
}
"""The design's promises, in short."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug: `new` instead of `old` in `file`. `tests` are pytest's names of those that must notice it."""

    promise: int
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str

    def applied(self, root: Path = ROOT) -> str:
        """The text of the file with the bug in it. LookupError unless the old text stands there exactly once."""
        path = root / self.file
        text = path.read_text() if path.exists() else ""
        if (count := text.count(self.old)) != 1:
            where = f"its old text stands {count} times in {self.file}, not once"
            raise LookupError(f"{self.name}: {where}; adapt promise-{self.promise}.toml to the code as it is")
        return text.replace(self.old, self.new)


def load() -> list[Mutation]:
    """Every mutation, by promise and in the order of its file. ValueError when two have the same name."""
    found = [
        Mutation(promise=promise, **{**entry, "tests": tuple(entry["tests"])})
        for promise in PROMISES
        for entry in tomllib.loads((HERE / f"promise-{promise}.toml").read_text())["mutation"]
    ]
    names = [mutation.name for mutation in found]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"names used twice: {', '.join(sorted(doubled))}")
    return found
