"""Line plots as SVG, written by hand: no script, no font of its own, readable on light and on dark pages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 56, 58

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 16px; font-weight: 600; fill: #1f2328 }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .axis { stroke: #8c959f; stroke-width: 1 }
  .goal { stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 5 5 }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
  .s0 { stroke: #0969da } .f0 { fill: #0969da }
  .s1 { stroke: #bc4c00 } .f1 { fill: #bc4c00 }
  .s2 { stroke: #1a7f37 } .f2 { fill: #1a7f37 }
  .s3 { stroke: #8250df } .f3 { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title { fill: #f0f6fc } .grid { stroke: #30363d } .axis { stroke: #6e7681 }
    .goal { stroke: #6e7681 }
    .s0 { stroke: #4493f8 } .f0 { fill: #4493f8 } .s1 { stroke: #db6d28 } .f1 { fill: #db6d28 }
    .s2 { stroke: #3fb950 } .f2 { fill: #3fb950 } .s3 { stroke: #ab7df8 } .f3 { fill: #ab7df8 }
  }
"""


@dataclass(frozen=True, slots=True)
class Plot:
    """The words around the lines; `logarithmic` is the horizontal axis, `goals` are dashed lines by label."""

    title: str
    across: str
    up: str
    logarithmic: bool = True
    goals: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values are: from `low` to `high`, drawn between two pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        change = math.log10 if self.logarithmic else float
        share = (change(value) - change(self.low)) / ((change(self.high) - change(self.low)) or 1)
        return self.start + share * (self.end - self.start)


def draw(plot: Plot, lines: Sequence[tuple[str, Points]]) -> str:
    """The plot of these lines, each with its label."""
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points] + [goal for _, goal in plot.goals]
    across = _across(sorted(set(xs)), logarithmic=plot.logarithmic)
    up = _up(max(ys))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(plot.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(plot.title)}</text>',
        *_frame(plot, across, up),
        *_goals(plot, up),
    ]
    for number, (label, points) in enumerate(lines):
        parts += _line(number % 4, points, across, up)
        parts += _key(number, label, lines)
    return "\n".join([*parts, "</svg>\n"])


def _across(values: list[float], *, logarithmic: bool) -> Axis:
    ticks = tuple(values)
    if logarithmic:
        exponents = range(math.floor(math.log10(values[0])), math.ceil(math.log10(values[-1])) + 1)
        ticks = tuple(10.0**e for e in exponents if values[0] <= 10.0**e <= values[-1])
    low = values[0] if logarithmic else 0.0
    return Axis(low, values[-1], LEFT + 8, WIDTH - RIGHT - 8, logarithmic, ticks)


def _up(most: float) -> Axis:
    """From 0 to a round number above `most`, in four or five steps."""
    step = next(
        unit * 10.0**e for e in range(-6, 12) for unit in (1, 2, 2.5, 5) if most * 1.05 <= 5 * unit * 10.0**e
    )
    count = math.ceil(most * 1.05 / step)
    return Axis(0, step * count, HEIGHT - BOTTOM, TOP, False, tuple(step * n for n in range(count + 1)))


def _frame(plot: Plot, across: Axis, up: Axis) -> list[str]:
    parts = []
    for value in up.ticks:
        y = up.place(value)
        kind = "grid" if value else "axis"
        parts.append(f'<line class="{kind}" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for value in across.ticks:
        x, bottom = across.place(value), HEIGHT - BOTTOM
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{_number(value)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 16}" text-anchor="middle">{escape(plot.across)}</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 12}">{escape(plot.up)}</text>')
    return parts


def _goals(plot: Plot, up: Axis) -> list[str]:
    parts = []
    for label, value in plot.goals:
        y = up.place(value)
        parts.append(f'<line class="goal" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{y - 6:.1f}" text-anchor="end">{escape(label)}</text>')
    return parts


def _line(number: int, points: Points, across: Axis, up: Axis) -> list[str]:
    places = [(across.place(x), up.place(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle class="f{number}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    return [f'<polyline class="line s{number}" points="{path}"/>', *dots]


def _key(number: int, label: str, lines: Sequence[tuple[str, Points]]) -> list[str]:
    """The label of a line, in the row beside the vertical axis' name, from the right."""
    widths = [26 + 7.4 * len(name) for name, _ in lines]
    x = WIDTH - RIGHT - sum(widths[number:])
    return [
        f'<circle class="f{number % 4}" cx="{x + 6:.1f}" cy="{TOP - 16}" r="5"/>',
        f'<text x="{x + 16:.1f}" y="{TOP - 12}">{escape(label)}</text>',
    ]


def _number(value: float) -> str:
    """A number as an axis shows it: 250, 20k, 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
