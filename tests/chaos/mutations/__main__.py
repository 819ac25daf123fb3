"""`make mutants`, or `python -m chaos.mutations [NAME…]` with `tests` on the path: are seeded bugs noticed?"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.mutations import catalogue, page, trial
from chaos.mutations.catalogue import Mutation
from chaos.mutations.trial import Result


def main(wanted: list[str]) -> int:
    """0 when every mutation was caught. The page is written by a run of all of them."""
    known = catalogue.load()
    if unknown := set(wanted) - {mutation.name for mutation in known}:
        say(f"no such mutation: {', '.join(sorted(unknown))}")
        return 2
    chosen = [mutation for mutation in known if not wanted or mutation.name in wanted]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        results = try_all(trial.copy(Path(folder) / "copy"), chosen)
    caught = sum(result.verdict == "caught" for result in results)
    say(f"{caught} of {len(chosen)} caught in {time.monotonic() - began:.0f} s")
    if results and not wanted:
        page.write(results)
    return 0 if caught == len(chosen) else 1


def try_all(root: Path, chosen: Sequence[Mutation]) -> list[Result]:
    """One after another; none at all when the tests fail without any. LookupError for one that does not apply."""
    for mutation in chosen:
        mutation.applied(root)
    if complaint := trial.complaint(root, chosen):
        say(complaint)
        say("these tests fail without any mutation: mend that first")
        return []
    results = []
    for mutation in chosen:
        results.append(trial.attempt(root, mutation))
        say(page.line(results[-1]))
    return results


def say(line: str) -> None:
    """One line for whoever looks on."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
