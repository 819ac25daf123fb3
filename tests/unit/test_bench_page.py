"""The page of the measurements: plots that any browser draws, and verdicts that hide nothing."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are scripts beside each other, no package."""
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("page", "plots", "results", "rows", "report", "ground"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def table(value: float, goal: float, *, at_least: bool = False) -> dict[str, object]:
    from report import Measure  # noqa: PLC0415 - found by the fixture

    one = Measure("rate", f"{value}", value, goal, at_least)
    found = {"name": "rate", "text": one.text, "goal": goal, "at_least": at_least, "met": one.met}
    return {"title": "t", "measures": [found], "curves": []}


def test_a_plot_is_well_formed_and_stays_in_its_frame() -> None:
    """Every point lies between the axes, also the goal's line above all of them."""
    from plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Plot, draw  # noqa: PLC0415

    plot = Plot("Lag & more", "monitors", "ms", goals=(("goal", 250),))
    text = draw(plot, [("<a>", [(1_000, 30.0), (1_000_000, 224.0)]), ("b", [(10_000, 90.0)])])
    root = ET.fromstring(text)
    dots = [one for one in root.iter() if one.tag.endswith("circle") and one.get("r") == "3.5"]
    assert len(dots) == 3
    for dot in dots:
        assert LEFT <= float(dot.get("cx", "")) <= WIDTH - RIGHT
        assert TOP <= float(dot.get("cy", "")) <= HEIGHT - BOTTOM
    assert "&lt;a&gt;" in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.7, 0.6, 0.65), "yes (n = 3)"),
        ((0.7, 0.5, 0.65), "**2 of 3**"),
        ((0.5,), "**no** (n = 1)"),
    ],
)
def test_a_goal_is_met_when_all_of_the_newest_runs_reach_it(values: tuple[float, ...], verdict: str) -> None:
    """One good run among three is no met goal."""
    from page import _met  # noqa: PLC0415

    runs = [{"busy": 0.1, "tables": [table(value, 0.6, at_least=True)]} for value in values]
    assert _met("rate", runs) == verdict


def test_a_run_beside_other_work_says_so() -> None:
    """Whoever reads the table sees that the machine was not the measurement's alone."""
    from page import _met  # noqa: PLC0415

    assert _met("rate", [{"busy": 4.0, "tables": [table(3.0, 2.0)]}]) == "**no** (n = 1, busy)"


def test_a_run_whose_processor_was_lent_to_others_counts_only_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour on the same host is other work, though no process of ours shows it."""
    import results  # noqa: PLC0415

    monkeypatch.setattr(results, "FOLDER", tmp_path)
    quiet = {"row": "storm", "at": "2026-11-23 01:00", "busy": 0.0, "stolen": 0.0004, "tables": []}
    results.add(quiet, {"processor": "one"})
    results.add({**quiet, "at": "2026-11-23 02:00", "stolen": 0.024}, {"processor": "one"})
    assert [run["at"] for run in results.newest()[1]["storm"]] == ["2026-11-23 01:00"]


def test_a_run_on_another_processor_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names the newest run's machine once, and the others where they were."""
    import results  # noqa: PLC0415
    from page import _section  # noqa: PLC0415
    from rows import ROWS  # noqa: PLC0415

    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for at, row, processor in (("01:00", "ingest", "one"), ("02:00", "storm", "another")):
        run = {"row": row, "at": f"2026-11-23 {at}", "busy": 0.0, "stolen": 0.0, "commit": "c", "tables": []}
        results.add(run, {"processor": processor})
    machine, found = results.newest()
    assert machine == {"processor": "another"}
    rows = {row.name: "".join(_section(row, found.get(row.name, []), machine)) for row in ROWS}
    assert "at `c` on one." in rows["ingest"]
    assert "at `c`." in rows["storm"]


def test_every_row_is_a_file() -> None:
    """The list in `rows.py` and the files that report something are the same."""
    from rows import ROWS  # noqa: PLC0415

    reporting = {
        path.stem
        for path in BENCH.glob("*.py")
        if re.search(r"^    report\(", path.read_text(), re.MULTILINE)
    }
    assert reporting == {row.name for row in ROWS}
