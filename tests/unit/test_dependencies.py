"""What the code imports is what the project depends on."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(folder: str) -> set[str]:
    """The top-level modules of other people that a package imports, anywhere in its files."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"services", "shared", folder}


@pytest.mark.parametrize("folder", ["services", "shared"])
def test_every_import_is_in_the_runtime_lock(folder: str):
    """A module that only the test tools bring is missing from the image."""
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    owners = packages_distributions()
    missing = {
        module
        for module in imported(folder)
        if pinned.isdisjoint(re.sub(r"[-_.]+", "-", name).lower() for name in owners.get(module, ()))
    }
    assert missing == set()
