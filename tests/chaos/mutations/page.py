"""The results as a table: on the terminal, and in `docs/reliability.md` between its markers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chaos.mutations.catalogue import PROMISES, ROOT
from chaos.mutations.trial import Result

PAGE: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- mutations: begin -->"
END: Final = "<!-- mutations: end -->"
HEADING: Final = "## Bugs on purpose"
RULE: Final = (
    "Each was planted alone in a copy of the repository and had to turn a test red by what the product did, not by "
    "failing to run."
)
HEAD: Final = ("| bug | why the line is there | noticed by |", "|---|---|---|")


def line(result: Result) -> str:
    """One result for the terminal."""
    told = f"{result.by}: {result.how}" if result.by else result.how
    return f"{result.verdict:8} {result.mutation.name:34} {result.seconds:5.1f} s  {told[:160]}"


def table(results: Sequence[Result]) -> str:
    """What was planted, where, and which test noticed, by promise."""
    caught = sum(result.verdict == "caught" for result in results)
    rows = [f"{caught} of {len(results)} seeded bugs were caught, {datetime.now(UTC):%Y-%m-%d}. {RULE}"]
    for number, promise in PROMISES.items():
        rows += ["", f"**{number}. {promise}**", "", *HEAD]
        rows += [_row(result) for result in results if result.mutation.promise == number]
    return "\n".join(rows)


def _row(result: Result) -> str:
    mutation = result.mutation
    noticed = f"`{result.by}`" if result.verdict == "caught" else f"**{result.verdict}**"
    return f"| `{mutation.name}` in `{mutation.file}` | {mutation.why} | {noticed} |"


def write(results: Sequence[Result], page: Path = PAGE) -> None:
    """Puts the table between the page's markers, which are appended when it has none."""
    text = page.read_text() if page.exists() else "# Reliability\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{HEADING}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}")
