"""Axes with ticks at round numbers, few enough to be read on a telephone."""

import math

from msgspec import Struct

_TICKS = 5
_TIME_STEPS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)


class Tick(Struct, frozen=True):
    """`at`: how far along its axis, 0 to 1."""

    at: float
    label: str


class Axis(Struct, frozen=True):
    """From `low` to `high`, in proportion or, where `log`, by powers of ten."""

    low: float
    high: float
    log: bool
    ticks: list[Tick]

    def place(self, value: float) -> float:
        """How far along the axis, 0 to 1; what lies beyond an end is put there."""
        return _place(value, self.low, self.high, self.log)


def counting_axis(top: float) -> Axis:
    """From 0 to `top` or a little more, in whole steps of 1, 2 or 5 times a power of ten."""
    step = max(1.0, _round_up(top / _TICKS))
    return _axis([step * tick for tick in range(max(1, math.ceil(top / step)) + 1)], log=False)


def log_axis(bottom: float, top: float) -> Axis:
    """By powers of ten around `bottom` and `top`, both above 0; with 2 and 5 between them where there are few."""
    powers = [10.0**power for power in range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)]
    if len(powers) < 2:
        powers.append(10 * powers[0])
    if len(powers) > 3:
        return _axis(powers, log=True)
    return _axis([*(step * power for power in powers[:-1] for step in (1, 2, 5)), powers[-1]], log=True)


def time_axis(seconds: int) -> tuple[Axis, str]:
    """From 0 to the end of so many seconds, and the unit of its labels: "seconds" or "minutes"."""
    high = max(1, seconds)
    step = next((step for step in _TIME_STEPS_S if high <= step * (_TICKS + 1)), _TIME_STEPS_S[-1])
    unit_s, unit = (1, "seconds") if step < 60 else (60, "minutes")
    ticks = [Tick(at / high, f"{at // unit_s:,}") for at in range(0, high + 1, step)]
    return Axis(0, high, log=False, ticks=ticks), unit


def _axis(values: list[float], *, log: bool) -> Axis:
    low, high = values[0], values[-1]
    return Axis(low, high, log, [Tick(_place(value, low, high, log), f"{value:,.10g}") for value in values])


def _place(value: float, low: float, high: float, log: bool) -> float:
    value = min(max(value, low), high)
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


def _round_up(value: float) -> float:
    """To the next 1, 2 or 5 times a power of ten; 0 stays 0."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power)
