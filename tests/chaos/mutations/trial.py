"""One mutation put to the test, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from chaos.mutations.catalogue import ROOT, Mutation

LEFT_OUT: Final = (
    ".git",
    ".venv",
    "data",
    "node_modules",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "*.egg-info",
)
LIMIT: Final = 180
"""Seconds for the tests of one mutation; they take some five."""
TEST_LIMIT: Final = 60
"""Seconds for one test: what a mutation makes hang is noticed too."""
NO_BUG: Final = re.compile(
    r"\b(SyntaxError|IndentationError|ImportError|ModuleNotFoundError|NameError|UnboundLocalError|"
    r"Error compiling script|nonexistent global variable)\b"
)
"""Signs of a mutation that is not a bug but a typing error: the code does not even run."""

Verdict = Literal["caught", "survived", "broken"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutation: `by` names the test that noticed, `how` is the first line of its complaint."""

    mutation: Mutation
    verdict: Verdict
    seconds: float
    by: str = ""
    how: str = ""


def copy(folder: Path) -> Path:
    """A copy of the work tree as it is now, without what was made from it."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    return folder


def complaint(root: Path, mutations: Sequence[Mutation]) -> str:
    """What their tests say while nothing is mutated: "" when they pass. Without that, red would mean nothing."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    run = _pytest(root, tests, limit=60 + 10 * len(mutations))
    return run.stdout[-20_000:] if run.returncode else ""


def attempt(root: Path, mutation: Mutation) -> Result:
    """Plants the mutation in the copy at `root`, runs its tests, takes it out again."""
    path = root / mutation.file
    sound, began = path.read_text(), time.monotonic()
    path.write_text(mutation.applied(root))
    try:
        run = _pytest(root, mutation.tests, limit=LIMIT)
    finally:
        path.write_text(sound)
    return _judge(mutation, root, run, time.monotonic() - began)


def _pytest(root: Path, tests: Sequence[str], *, limit: float) -> subprocess.CompletedProcess[str]:
    """One run, until the first failure, against one server: a bug of ours is not one of Redis."""
    (root / "report.xml").unlink(missing_ok=True)
    options = ("-x", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml", f"--timeout={TEST_LIMIT}")
    environment = {"PULSE_TEST_SERVERS": "valkey", **os.environ}
    environment |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        return subprocess.run(
            command,
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, -1, (error.stdout or b"").decode(), "")


def _judge(mutation: Mutation, root: Path, run: subprocess.CompletedProcess[str], seconds: float) -> Result:
    """Caught is only what a test found by what the product did; a run that could not begin shows nothing."""
    if run.returncode == 0:
        return Result(mutation, "survived", seconds)
    if sign := NO_BUG.search(run.stdout):
        return Result(mutation, "broken", seconds, how=sign[0])
    report = root / "report.xml"
    failed = ET.parse(report).getroot().find(".//testcase[failure]") if report.exists() else None
    failure = None if failed is None else failed.find("failure")
    if run.returncode != 1 or failed is None or failure is None:
        return Result(
            mutation, "broken", seconds, how=f"pytest ended with {run.returncode}: {run.stdout[-300:]}"
        )
    words = failure.get("message", "").strip().splitlines()
    return Result(mutation, "caught", seconds, failed.get("name", ""), words[0] if words else "")
