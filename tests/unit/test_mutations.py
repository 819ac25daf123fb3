"""The list of bugs on purpose does not rot: each still applies, and every promise has its share."""

from collections import Counter
from pathlib import Path

import pytest
from chaos.mutations import catalogue, page
from chaos.mutations.catalogue import Mutation
from chaos.mutations.trial import Result

ALL = catalogue.load()


def test_every_promise_has_its_bugs():
    """At least 30 in all, and four for each promise."""
    counts = Counter(mutation.promise for mutation in ALL)
    assert counts.keys() == catalogue.PROMISES.keys()
    assert min(counts.values()) >= 4
    assert len(ALL) >= 30


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name)
def test_a_bug_still_applies(mutation: Mutation):
    """Its old text stands in its file exactly once, what results is Python where it should be, its tests are there."""
    text = mutation.applied()
    assert text != (catalogue.ROOT / mutation.file).read_text()
    if mutation.file.endswith(".py"):
        compile(text, mutation.file, "exec")
    assert mutation.why
    assert mutation.tests
    for test in mutation.tests:
        file, _, name = test.partition("::")
        for part in name.partition("[")[0].split("::"):
            assert part in (catalogue.ROOT / file).read_text()


def test_a_bug_that_no_longer_applies_is_an_error(tmp_path: Path):
    """Gone or doubled, its old text is missed."""
    mutation = Mutation(1, "some", "a.py", "x = 1", "x = 2", ("t",), "why")
    for text in ("", "x = 1\nx = 1\n"):
        (tmp_path / "a.py").write_text(text)
        with pytest.raises(LookupError, match="some"):
            mutation.applied(tmp_path)


def test_the_page_names_every_bug_and_keeps_the_rest(tmp_path: Path):
    """Written twice it is the same page, with the prose around the table."""
    path = tmp_path / "reliability.md"
    path.write_text("# Reliability\n\nProse.\n")
    results = [Result(mutation, "caught", 1.0, "test_it", "assert 0") for mutation in ALL]
    page.write(results, path)
    once = path.read_text()
    page.write(results, path)
    assert path.read_text() == once
    assert once.startswith("# Reliability\n\nProse.\n")
    assert all(f"`{mutation.name}`" in once for mutation in ALL)
    assert f"{len(ALL)} of {len(ALL)}" in once
