"""Fewer points for a line: some 600 at most, whatever the rehearsal's length.

`mean` keeps the mean of every so many seconds: right for rates, whose sums stay true while their peaks are flattened
(those are told in words, as they were). `extremes` keeps the least and the greatest of every so many seconds where they
were: right for latencies and lags, whose peaks matter. A second without a value is a gap; of a longer rehearsal, so
many seconds of which none has one."""

from collections.abc import Iterator, Sequence
from typing import Literal

POINTS_MAX = 600

Values = Sequence[float | None]
Point = tuple[float, float | None]
Keep = Literal["mean", "extremes"]


def bucket_s(count: int, keep: Keep) -> int:
    return -(-count // (POINTS_MAX if keep == "mean" else POINTS_MAX // 2)) or 1


def thin(values: Values, keep: Keep) -> Iterator[Point]:
    """(second, value) in order, POINTS_MAX at most."""
    size = bucket_s(len(values), keep)
    for start in range(0, len(values), size):
        there = [(at, value) for at, value in enumerate(values[start : start + size], start) if value is not None]
        if not there:
            yield start, None
        elif keep == "mean":
            yield sum(at for at, _ in there) / len(there), sum(value for _, value in there) / len(there)
        else:
            yield from sorted({min(there, key=lambda it: it[1]), max(there, key=lambda it: it[1])})


def tell_thinning(count: int, keep: Keep) -> str:
    if (size := bucket_s(count, keep)) == 1:
        return ""
    kept = "the mean" if keep == "mean" else "the least and the greatest value"
    return f"Each {size} seconds are drawn as {kept} of them."
