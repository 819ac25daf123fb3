"""Runs the campaign: `python -m chaos.campaign --seed 7 --minutes 30 [--only name,…] [--jobs 2] [--write]`.

1. Find the scenarios and share the minutes out among them by weight. One that would get less than it needs to prove
   anything is left out, and said so.
2. Run each as a process of its own, with a time limit; its files are removed when it held.
3. Print the scorecard; with `--write` merge the results into `docs/reliability/` and the page.

Exit status 1 when any figure missed its goal or a scenario broke.
"""

import argparse
import asyncio
import importlib
import math
import pkgutil
import random
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Final

from chaos import leash, scenarios, scorecard
from chaos.score import Context
from chaos.scorecard import ROOT, Result

SLACK: Final = 180.0
"""Seconds beyond twice its budget after which a scenario is taken for hung."""
START: Final = 6.0
"""Seconds that starting an installation takes, outside of a scenario's budget."""
WHOLE: Final = 30.0
"""Minutes from which a campaign is told on the page without being asked to."""
SHORT: Final = 20.0
"""Minutes below which two scenarios run side by side: most of their time is waiting."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A scenario and the seconds it gets."""

    module: ModuleType
    budget: float

    @property
    def name(self) -> str:
        return str(self.module.NAME)

    @property
    def scale(self) -> float:
        """How large it is beside the run that its goals speak of; FULL is that run's length in seconds."""
        return min(1.0, self.budget / float(getattr(self.module, "FULL", 600.0)))


def discover() -> list[ModuleType]:
    """Every scenario, by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(scenarios.__path__))
    modules = [importlib.import_module(f"chaos.scenarios.{name}") for name in names]
    return [module for module in modules if hasattr(module, "NAME")]


def share(modules: list[ModuleType], seconds: float) -> tuple[list[Planned], list[ModuleType]]:
    """Shares `seconds` out by weight, none above FULL; those that would get less than LEAST are left out. Pure."""
    taken = list(modules)
    left_out: list[ModuleType] = []
    while taken:
        budgets = _budgets(taken, seconds)
        short = [module for module in taken if budgets[module.NAME] < _least(module)]
        if not short:
            return [Planned(module, budgets[module.NAME]) for module in taken], left_out
        worst = max(short, key=lambda module: _least(module) / budgets[module.NAME])
        taken.remove(worst)
        left_out.append(worst)
    return [], left_out


def _least(module: ModuleType) -> float:
    return float(getattr(module, "LEAST", 20.0))


def _budgets(modules: list[ModuleType], seconds: float) -> dict[str, float]:
    """Each its LEAST, or an equal part where those do not fit, and what is left by weight, up to FULL."""
    part = math.inf if sum(map(_least, modules)) <= seconds else seconds / len(modules)
    budgets = {module.NAME: min(_least(module), part) for module in modules}
    growing = list(modules)
    rest = seconds - sum(budgets.values())
    while growing and rest > 0.1:
        weights = sum(float(getattr(module, "WEIGHT", 1.0)) for module in growing)
        given = rest
        for module in list(growing):
            part = given * float(getattr(module, "WEIGHT", 1.0)) / weights
            room = max(0.0, float(getattr(module, "FULL", 600.0)) - budgets[module.NAME])
            budgets[module.NAME] += min(part, room)
            rest -= min(part, room)
            if part >= room:
                growing.remove(module)
    return budgets


async def run_one(planned: Planned, seed: int, folder: Path) -> Result:
    """Runs a scenario in a process of its own and returns its result."""
    out = folder / f"{planned.name}.json"
    arguments = [sys.executable, "-m", "chaos.campaign", "--child", planned.name, "--seed", str(seed)]
    arguments += [
        "--budget",
        f"{planned.budget:.1f}",
        "--scale",
        f"{planned.scale:.4f}",
        "--folder",
        str(folder),
    ]
    log = folder / f"{planned.name}.log"
    print(f"{planned.name}: {planned.budget:.0f} s", flush=True)  # noqa: T201 - progress
    began = time.monotonic()
    process = leash.start(arguments, log=log, cwd=ROOT)
    limit = began + 2 * planned.budget + SLACK
    while process.poll() is None and time.monotonic() < limit:  # noqa: ASYNC110 - a process sets no Event
        await asyncio.sleep(0.1)
    if process.poll() is None:
        process.kill()
        process.wait()
    if out.exists():
        result = scorecard.load(out)
    else:
        why = log.read_text("utf-8", "replace")[-4000:]
        took = time.monotonic() - began
        result = Result(
            planned.name, planned.module.PROMISE, seed, planned.scale, took, _today(), error=why or "hung"
        )
    verdict = "held" if result.held else "FAILED"
    print(f"{planned.name}: {verdict} after {result.seconds:.0f} s", flush=True)  # noqa: T201 - progress
    return result


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


async def run_all(planned: list[Planned], seed: int, folder: Path, jobs: int) -> list[Result]:
    """Runs all, `jobs` at a time, the longest first; the results in the order of `planned`."""
    places = asyncio.Semaphore(jobs)

    async def one(item: Planned) -> Result:
        async with places:
            return await run_one(item, seed, folder)

    order = sorted(planned, key=lambda item: -item.budget)
    results = await asyncio.gather(*(one(item) for item in order))
    return sorted(results, key=lambda result: result.name)


def child(name: str, seed: int, budget: float, scale: float, folder: Path) -> None:
    """Runs one scenario here and leaves its result in `folder`; its own files go when it held."""
    module = next(module for module in discover() if name == module.NAME)
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    context = Context(seed, random.Random(f"{seed}:{name}"), budget, scale, own)
    result = Result(name, module.PROMISE, seed, round(scale, 4), 0.0, _today())
    began = time.monotonic()
    try:
        score = asyncio.run(module.run(context))
        result.rows, result.notes = score.rows, score.notes
        result.scale = round(scale * score.part, 4)
    except BaseException:  # noqa: BLE001 - whatever ended it is its result
        result.error = traceback.format_exc()
    result.seconds = round(time.monotonic() - began, 1)
    scorecard.save(result, folder / f"{name}.json")
    if result.held:
        shutil.rmtree(own, ignore_errors=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--only", default="", help="names of scenarios, separated by commas")
    parser.add_argument("--jobs", type=int, default=0, help="scenarios that run side by side")
    parser.add_argument("--write", action="store_true", help="merge the results into docs/reliability.md")
    parser.add_argument("--results", type=Path, help="folder that gets the results as JSON")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seed, options.budget, options.scale, options.folder)
        return
    sys.exit(_campaign(options))


def _campaign(options: argparse.Namespace) -> int:
    wanted = {name for name in options.only.split(",") if name}
    modules = [m for m in discover() if (m.NAME in wanted if wanted else not getattr(m, "ALONE", False))]
    if unknown := wanted - {module.NAME for module in modules}:
        print(f"no such scenario: {', '.join(sorted(unknown))}", file=sys.stderr)  # noqa: T201
        return 2
    jobs = options.jobs or (2 if options.minutes < SHORT and len(modules) > 1 else 1)
    seconds = max(10.0, options.minutes * 60 * jobs - START * len(modules))
    planned, left_out = share(modules, seconds)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    results = asyncio.run(run_all(planned, options.seed, folder, jobs))
    print(scorecard.text(results))  # noqa: T201 - the scorecard is what this is for
    for module in left_out:
        print(f"left out: {module.NAME} needs at least {_least(module):.0f} s; give more MINUTES")  # noqa: T201
    if options.results:
        for result in results:
            scorecard.save(result, options.results / f"{result.name}.json")
    if options.write or (options.minutes >= WHOLE and not wanted):
        scorecard.merge(results)
        scorecard.write()
    if results and all(result.held for result in results):
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print(f"the traces are in {folder}")  # noqa: T201
    return 1


if __name__ == "__main__":
    main()
