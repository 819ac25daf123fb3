"""Every recipe of docs/clients.md, run as it stands against a real collector.

`<!-- recipe: NAME -> KIND, KIND: MESSAGE -->` above a block names it and the heartbeats that must have arrived
afterwards, the message as a part of the real one. The block's language says how it is run.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
import yaml
from collecting import Collector, collecting
from servers import binaries

from shared.connection import Store

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "clients.md"
BLOCK = re.compile(
    r"^<!-- recipe: (?P<name>.+?)(?: -> (?P<beats>.+?))? -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
WANTED = os.environ.get("PULSE_TEST_SERVERS", "").split()
ONE_SERVER = [name for name in binaries() if not WANTED or name in WANTED][:1]


class Recipe(NamedTuple):
    name: str
    language: str
    code: str
    beats: list[tuple[str, str]]
    """Kind and a part of the message of each heartbeat, oldest first."""


def parse(page: str) -> list[Recipe]:
    found = []
    for match in BLOCK.finditer(page):
        wanted = [
            part.partition(": ") for part in re.split(r", (?=\w+(?::|,|$))", match["beats"] or "") if part
        ]
        beats = [(kind, message) for kind, _, message in wanted]
        found.append(Recipe(match["name"], match["language"], match["code"], beats))
    return found


RECIPES = parse(PAGE.read_text())


class Target(Protocol):
    """What a recipe beats: anything with an address that can say which heartbeats came."""

    url: str
    token: str

    async def beats(self) -> list[tuple[str, str]]:
        """Kind and message of each heartbeat, oldest first."""


class RealCollector(NamedTuple):
    collector: Collector
    monitor: str
    token: str

    @property
    def url(self) -> str:
        return self.collector.url

    async def beats(self) -> list[tuple[str, str]]:
        kept = await self.collector.beats(self.monitor)
        return [(kind, message) for kind, _, message in reversed(kept)]


@pytest.fixture
async def target(store: Store) -> AsyncIterator[Target]:
    """A monitor of its own for each recipe."""
    async with collecting(store) as collector:
        yield RealCollector(collector, *await collector.monitor())


def program(*names: str) -> str:
    """The first of the programs that is here; a test without it is skipped and says what is missing."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{' or '.join(names)} is not installed here")


def as_file(suffix: str, *command: str) -> Callable[[Recipe, Path], list[str]]:
    """Runs the block as a file by the first of the words that is a program, with the other words before the file."""

    def line(recipe: Recipe, folder: Path) -> list[str]:
        path = folder / f"recipe{suffix}"
        path.write_text(recipe.code)
        return [program(command[0]), *command[1:], str(path)]

    return line


def crontab(recipe: Recipe, folder: Path) -> list[str]:
    """Cron's own reading of a line: five fields, and an escaped percent sign (a bare one ends the command)."""
    *fields, command = recipe.code.strip().split(None, 5)
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields)
    assert not re.search(r"(?<!\\)%", command), "cron ends the command at a bare percent sign"
    return [program("sh"), "-c", command.replace(r"\%", "%")]


def systemd(recipe: Recipe, folder: Path) -> list[str]:
    """The unit passes systemd's own check where that is installed; then its ExecStart is run by a shell."""
    name = recipe.name.split()[-1]
    for other in RECIPES:
        if other.language == "ini":
            (folder / other.name.split()[-1]).write_text(other.code)
    if analyze := shutil.which("systemd-analyze"):
        check = [analyze, "verify", "--man=no", str(folder / name)]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    start = re.search(r"^ExecStart=(.*)$", recipe.code, re.MULTILINE)
    return [program("sh"), "-c", start[1] if start else ":"]


def kubernetes(recipe: Recipe, folder: Path) -> list[str]:
    """The manifest is a CronJob; its container's command is run here, with the shell that is here."""
    manifest = yaml.safe_load(recipe.code)
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    (container,) = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return [*container["command"], *container["args"]]


RUNNERS = {
    "sh": as_file(".sh", "sh"),
    "crontab": crontab,
    "ini": systemd,
    "yaml": kubernetes,
    "python": as_file(".py", sys.executable, "-W", "error"),
    "php": as_file(".php", "php"),
    "js": as_file(".mjs", "node"),
    "go": as_file(".go", "go", "run"),
    "powershell": as_file(".ps1", "pwsh", "-NoProfile", "-File"),
}


@pytest.fixture
def environment(target: Target, tmp_path: Path) -> dict[str, str]:
    """The two variables of the page, and our client as if it were installed."""
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "pulse").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mishpulse_client "$@"\n')
    (shims / "pulse").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
    return {
        **kept,
        "PATH": f"{shims}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": str(ROOT / "client"),
        "GOCACHE": kept.get("GOCACHE", str(tmp_path / "go")),
        "no_proxy": "127.0.0.1",
        "PULSE_URL": target.url,
        "TOKEN": target.token,
    }


@pytest.mark.parametrize("server", ONE_SERVER, indirect=True)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
async def test_recipe_beats_as_the_page_says(
    recipe: Recipe, target: Target, environment: dict[str, str], tmp_path: Path
) -> None:
    """The block runs without a word of complaint and exactly its heartbeats arrive."""
    line = RUNNERS[recipe.language](recipe, tmp_path)
    process = await asyncio.create_subprocess_exec(
        *line, env=environment, cwd=tmp_path, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(90):
        _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    beats = await target.beats()
    assert [kind for kind, _ in beats] == [kind for kind, _ in recipe.beats]
    for (_, message), (_, wanted) in zip(beats, recipe.beats, strict=True):
        assert wanted in message


def test_every_block_of_the_page_is_a_recipe() -> None:
    """No code on the page escapes the test above, and each kind of client has at least one block."""
    assert len(RECIPES) == PAGE.read_text().count("```") // 2
    assert {recipe.language for recipe in RECIPES} == set(RUNNERS)
