"""Lines over time, drawn as paths for an inline SVG: chart.html puts them on the page."""

from collections.abc import Sequence

from msgspec import Struct

from loadtest.rehearsal.figures import Mark
from loadtest.rehearsal.page.axis import Axis, Tick, counting_axis, log_axis, time_axis
from loadtest.rehearsal.page.thin import Keep, Values, tell_thinning, thin

WIDTH, HEIGHT = 1200, 300

# The share of the plot's width that a letter of a label takes on the narrowest screen.
_LETTER = 0.026


class Line(Struct, frozen=True):
    """`values`: one for each second from the beginning, None where nothing was measured."""

    name: str
    values: Values


class Chart(Struct, frozen=True, kw_only=True):
    """What is to be drawn. `unit`: what follows a value: "a second", "ms"."""

    title: str
    explained: str
    unit: str
    lines: list[Line]
    keep: Keep
    log: bool = False


class Trace(Struct, frozen=True):
    """A line as it is drawn, in SVG's words: `path` where values follow each other, `dots` where one is alone
    between gaps. `peak`: the greatest value in words, as it was and not thinned."""

    name: str
    path: str
    dots: str
    peak: str


class Label(Struct, frozen=True):
    """A mark's: `at` along the time axis, 0 to 1; its text stands left or right of it; `row`: from above, so that no
    two lie on each other."""

    at: float
    what: str
    leftward: bool
    row: int


class Drawing(Struct, frozen=True, kw_only=True):
    """A chart in coordinates of WIDTH and HEIGHT. `told`: the same in words. `is_measured`: there is a value at all;
    `is_flat`: there is none but 0. `thinned`: what a point stands for, "" where it is its second."""

    chart: Chart
    told: str
    is_measured: bool
    is_flat: bool
    traces: list[Trace]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    x_unit: str
    labels: list[Label]
    thinned: str


def draw(chart: Chart, marks: Sequence[Mark]) -> Drawing:
    seconds = max((len(line.values) for line in chart.lines), default=0)
    values = [value for line in chart.lines for _, value in thin(line.values, chart.keep) if value is not None]
    x, x_unit = time_axis(seconds)
    y = _value_axis(values, log=chart.log)
    traces = [_trace(line, chart, x, y) for line in chart.lines]
    return Drawing(
        chart=chart,
        told=f"{chart.title}, over time. {'; '.join(f'{it.name}: {it.peak}' for it in traces)}.",
        is_measured=bool(values),
        is_flat=not any(values),
        traces=traces,
        x_ticks=x.ticks,
        y_ticks=y.ticks,
        x_unit=x_unit,
        labels=_place_labels(marks, x),
        thinned=tell_thinning(seconds, chart.keep),
    )


def _value_axis(values: Sequence[float], *, log: bool) -> Axis:
    above = [value for value in values if value > 0]
    if log and above:
        return log_axis(min(above), max(above))
    return counting_axis(max(values, default=0))


def _trace(line: Line, chart: Chart, x: Axis, y: Axis) -> Trace:
    runs: list[list[str]] = [[]]
    for at, value in thin(line.values, chart.keep):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{x.place(at) * WIDTH:.0f} {(1 - y.place(value)) * HEIGHT:.0f}")
    path = "".join(f"M{'L'.join(run)}" for run in runs if len(run) > 1)
    dots = "".join(f"M{run[0]}h.1" for run in runs if len(run) == 1)
    return Trace(line.name, path, dots, _tell_peak(line.values, chart.unit))


def _place_labels(marks: Sequence[Mark], x: Axis) -> list[Label]:
    """To the right where there is room on the narrowest screen; each in the first row in which it lies on no other."""
    labels: list[Label] = []
    taken: list[tuple[int, float, float]] = []
    for mark in sorted(marks, key=lambda it: it.at_s):
        at = x.place(mark.at_s)
        leftward = at > 0.5 and at + len(mark.what) * _LETTER > 1
        room = min(len(mark.what) * _LETTER, at if leftward else 1 - at)
        left, right = (at - room, at) if leftward else (at, at + room)
        row = 0
        while any(row == other and left < end and start < right for other, start, end in taken):
            row += 1
        taken.append((row, left, right))
        labels.append(Label(at, mark.what, leftward, row))
    return labels


def _tell_peak(values: Values, unit: str) -> str:
    there = [(value, -at) for at, value in enumerate(values) if value is not None]
    if not there:
        return "not measured"
    peak, at = max(there)
    return f"at most {round(peak, 1):,.10g} {unit}, in second {-at:,}" if peak else "never above 0"
