"""The files an operator installs: in step with the code, and valid to the programs that read them."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client.metrics import MetricWrapperBase

from shared import metrics, settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE_ONLY = {"PULSE_DOMAIN", "PULSE_PORT", "EDGE_TRUSTED_PROXIES"}
"""Read by docker-compose.yml, not by a service."""


def example() -> dict[str, str]:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", "\n".join(lines), re.MULTILINE))


def defaults() -> dict[str, object]:
    return {f"PULSE_{name.upper()}": field.default for name, field in settings.Settings.model_fields.items()}


def run(*command: str) -> None:
    """Runs a checker; skips where it is not installed, which CI never does."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_example_names_every_setting_and_no_other():
    """deploy/env.example and shared/settings.py list the same settings."""
    assert set(example()) == set(defaults()) | COMPOSE_ONLY


def test_example_shows_the_defaults(monkeypatch):
    """What deploy/env.example shows as default is the default, and is accepted as it stands."""
    for name in defaults():
        monkeypatch.setenv(name, example()[name])
    assert settings.load() == settings.Settings.model_construct(
        **{name: field.default for name, field in settings.Settings.model_fields.items()}
    )


def test_example_leaves_every_line_to_the_operator():
    """Copied as it is, deploy/env.example changes nothing."""
    lines = (DEPLOY / "env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


SAMPLES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
"""What a metric's samples are called after its name, by its type."""


def metric_names() -> set[str]:
    """Every sample name that shared/metrics.py can produce."""
    return {
        described.name + suffix
        for collector in vars(metrics).values()
        if isinstance(collector, MetricWrapperBase)
        for described in collector.describe()
        for suffix in SAMPLES[described.type]
    }


@pytest.mark.parametrize("name", ["alerts.yml", "grafana/mishpulse.json"])
def test_metrics_used_exist(name: str):
    """An alert or a panel on a metric that nobody writes stays silent for ever."""
    used = set(re.findall(r"\bmishpulse_[a-z_]+", (DEPLOY / name).read_text()))
    assert used
    assert used - metric_names() == set()


def test_dashboard_panels_do_not_overlap():
    """Each panel of the dashboard has its own place on the grid and its own id."""
    panels = json.loads((DEPLOY / "grafana/mishpulse.json").read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_alerts_are_valid():
    """The alerts are accepted by promtool."""
    run("promtool", "check", "rules", "deploy/alerts.yml")


def test_alerts_fire_when_they_should():
    """What must page does page, and a healthy system raises nothing."""
    run("promtool", "test", "rules", "tests/unit/alerts_test.yml")


def test_prometheus_configuration_is_valid():
    """The configuration is accepted by promtool (its rule file lies where the container has it)."""
    run("promtool", "check", "config", "--syntax-only", "deploy/prometheus.yml")


def test_systemd_units_are_valid():
    """systemd-analyze finds nothing to say about the units."""
    units = sorted(str(path.relative_to(ROOT)) for path in (DEPLOY / "systemd").glob("*.*"))
    run("systemd-analyze", "verify", *(unit for unit in units if unit.endswith((".service", ".target"))))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock"])
def test_lock_holds_versions_and_hashes_only(name: str):
    """Every pin has its hashes, and no line names a host or an index."""
    text = (ROOT / name).read_text()
    assert re.search(r"://|--(extra-)?index|--find-links|@ ", text) is None
    pins = re.split(r"\n(?=\S)", text.strip())
    pattern = re.compile(r"[a-z0-9-]+==\S+( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\\n)?)+")
    assert [pin for pin in pins if not pattern.fullmatch(pin)] == []


def test_locks_satisfy_the_project():
    """A dependency that pyproject.toml names is pinned at a version that it admits; `make lock` does it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = {
        name: dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-test.lock")
    }
    wanted = {
        "requirements.lock": [
            *project["project"]["dependencies"],
            *project["project"]["optional-dependencies"]["apprise"],
            *project["build-system"]["requires"],
        ],
        "requirements-test.lock": project["dependency-groups"]["test"],
    }
    wrong = [
        (name, line)
        for name, lines in wanted.items()
        for line, requirement in ((line, Requirement(line)) for line in lines)
        if not requirement.specifier.contains(pins[name].get(canonicalize_name(requirement.name), "0"))
    ]
    assert wrong == []
    shared = set(pins["requirements.lock"]) & set(pins["requirements-test.lock"])
    assert {name for name in shared if len({pins[lock][name] for lock in pins}) > 1} == set()
