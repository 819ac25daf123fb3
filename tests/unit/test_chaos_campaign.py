"""How the campaign shares its minutes out, and how its results become a page."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from chaos import memory, scorecard
from chaos.campaign import share
from chaos.score import Row, Score
from chaos.scorecard import Result


def scenario(name: str, *, weight: float = 1.0, least: float = 20.0, full: float = 600.0) -> ModuleType:
    module = ModuleType(name)
    module.NAME, module.WEIGHT, module.LEAST, module.FULL = name, weight, least, full  # type: ignore[attr-defined]
    return module


def result(name: str, scale: float = 1.0, value: str = "0") -> Result:
    rows = [Row("a promise", "things lost", value, 3000, "0", value == "0")]
    return Result(name, "a promise", 7, scale, 60.0, "2026-11-22", rows, ["a note"])


def test_time_is_shared_by_weight_and_no_scenario_gets_more_than_it_needs() -> None:
    """What a small one cannot use goes to the others."""
    planned, left_out = share([scenario("big", weight=3), scenario("other"), scenario("small", full=30)], 430)
    assert {one.name: round(one.budget) for one in planned} == {"big": 290, "other": 110, "small": 30}
    assert [one.scale for one in planned if one.name == "small"] == [1.0]
    assert left_out == []


def test_what_would_prove_nothing_is_left_out() -> None:
    """The one furthest from what it needs first, until the others have enough."""
    planned, left_out = share([scenario("a"), scenario("b", least=70), scenario("c", least=25)], 60)
    assert [one.name for one in planned] == ["a", "c"]
    assert [module.__name__ for module in left_out] == ["b"]
    assert sum(one.budget for one in planned) == pytest.approx(60)


def test_what_fits_is_left_in_however_unlike_the_scenarios_are() -> None:
    """One that needs more than an equal part gets it when the others need less, whatever its weight."""
    planned, left_out = share([scenario("a", weight=9), scenario("b", weight=0.1, least=70)], 100)
    assert {one.name: round(one.budget) for one in planned} == {"a": 30, "b": 70}
    assert left_out == []


def test_a_smaller_run_does_not_replace_a_larger_one(tmp_path: Path) -> None:
    """Nor does one that broke."""
    broken = result("kills")
    broken.error = "Traceback"
    scorecard.merge([result("kills", 0.5)], tmp_path)
    scorecard.merge([result("kills", 0.2), broken], tmp_path)
    assert scorecard.load(tmp_path / "kills.json").scale == 0.5
    scorecard.merge([result("kills", 1.0)], tmp_path)
    assert scorecard.load(tmp_path / "kills.json").scale == 1.0


def test_a_log_that_is_cut_short_tells_what_failed() -> None:
    """The figure that was missed and the notes stand right below the scenario's name; else figures come first."""
    missed = result("kills", value="2")
    missed.rows.insert(0, Row("a promise", "kills", "17", 17, "17 wanted", held=True))
    lines = scorecard.text([missed, result("soak")]).splitlines()
    assert [line.split()[0] for line in lines] == ["FAILED", "NO", "a", "ok", "held", "ok", "a"]


def test_fewer_faults_than_wanted_are_no_ok() -> None:
    """Nothing broke, but less was tried than the figure's goal says; only none at all fails."""
    score = Score()
    for found in (7, 17, 0):
        score.reach("a promise", "kills", found, 17)
    lines = scorecard.text([replace(result("kills"), rows=score.rows)]).splitlines()
    assert [line.split()[0] for line in lines] == ["FAILED", "NO", "a", "few", "ok"]


def test_the_page_keeps_its_prose(tmp_path: Path) -> None:
    """Only what stands between the markers is written anew; a failed figure is marked."""
    page, folder = tmp_path / "page.md", tmp_path / "results"
    page.write_text(f"before\n{scorecard.BEGIN}\nold\n{scorecard.END}\nafter\n")
    scorecard.merge([result("kills"), result("soak", 0.5, "2")], folder)
    scorecard.write(page, folder)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| things lost | 0 | 0 | 3,000 (rate below 0.001) |" in text
    assert "| things lost | 2 **failed** | 0 | 3,000 |" in text
    assert "50% of full scale" in text


def test_a_score_holds_only_with_something_seen() -> None:
    """0 of 0 proves nothing."""
    score = Score()
    assert not score.held
    score.zero("a promise", "lost", 0, 10)
    assert score.held
    score.zero("a promise", "lost", 0, 0)
    assert not score.held


def test_growth_is_that_of_most_points() -> None:
    """One outlier moves nothing, and what happened while warming up does not count."""
    points = [
        (float(t), 1_000.0 * min(t, 100) + (10 * (t - 100) if t > 100 else 0)) for t in range(0, 400, 5)
    ]
    points[50] = (points[50][0], 10_000_000.0)
    assert memory.growth_per_hour(points, 100) == pytest.approx(36_000)
