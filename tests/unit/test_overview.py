"""Which monitors a list shows first."""

import random

import pytest

from services.admin import overview
from services.admin.overview import Row


def row(number: int, rng: random.Random) -> Row:
    name = rng.choice(("Api", "api", "shop", "Übung", "worker"))
    status = rng.choice(list(overview.WORST))
    return Row(f"m{number:05}", status, "", name, "", rng.choice((None, 1, 2, 3)), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 50, 125, 300, 2_000])
@pytest.mark.parametrize("sort", overview.SORTS)
def test_the_first_of_many_are_those_of_the_whole_order(sort: str, count: int) -> None:
    """Whether few or nearly all are wanted, equals in the order in which they were made."""
    rng = random.Random(7)
    rows = [row(number, rng) for number in range(1_000)]
    whole = sorted(rows, key=overview.ORDERS[sort])
    assert overview.first(rows, sort, count) == (whole[::-1] if sort == "created" else whole)[:count]


@pytest.mark.parametrize("count", [0, 1, 50, overview.HELD, overview.HELD + 1, 20_000])
@pytest.mark.parametrize("sort", overview.SORTS)
def test_the_first_of_pages_are_those_of_all(sort: str, count: int) -> None:
    """Pages of any size, also empty ones; where few are wanted, few of 10,000 are held."""
    rng = random.Random(8)
    rows = [row(number, rng) for number in range(10_000)]
    best = overview.Best(sort, count)
    start, held = 0, 0
    while start < len(rows):
        size = rng.choice((0, 1, 300, 500))
        best.add(rows[start : start + size])
        start += size
        held = max(held, len(best._held))
    assert best.seen == len(rows)
    assert best.rows() == overview.first(rows, sort, count)
    assert held < 2 * overview.HELD if count <= overview.HELD else held == len(rows)


def test_the_worst_come_first_and_names_in_any_case() -> None:
    """The default order."""
    rows = [
        Row("1", "alive", "", "a", "", None, None),
        Row("2", "dead", "", "b", "", None, None),
        Row("3", "dead", "", "A", "", None, None),
        Row("4", "paused", "", "0", "", None, None),
    ]
    assert [one.id for one in overview.first(rows, "status", 4)] == ["3", "2", "1", "4"]
