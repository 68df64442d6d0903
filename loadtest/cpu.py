"""What processes have spent of the processors, from /proc: no sampling, so nothing is missed between two looks."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# Where fields stand in /proc/PID/stat behind the name in brackets, which may hold anything (proc(5)).
_PARENT, _USER, _SYSTEM, _ENDED_USER, _ENDED_SYSTEM = 1, 11, 12, 13, 14


class _Stat(Struct, frozen=True):
    """`own_s`: all its threads; `ended_s`: its children that have ended and were waited for, with theirs."""

    parent: int
    own_s: float
    ended_s: float


def cpu_s(pid: int) -> float:
    """Seconds of CPU of a process and of all that it has started, living or ended, in user and in kernel mode.

    Exact to a tick (10 ms) a process. Raises OSError where the process is gone.
    """
    while True:
        ended_s = _read_stat(pid).ended_s
        living = [stat for other, stat in _all_stats().items() if other == pid or stat.parent == pid]
        if _read_stat(pid).ended_s == ended_s:  # else a child has ended meanwhile: seen twice, or not at all
            return sum(stat.own_s + stat.ended_s for stat in living)


def cpu_of_parts(pids: Mapping[str, list[int]]) -> dict[str, float]:
    return {part: sum(map(cpu_s, of_part)) for part, of_part in pids.items()}


def spent_since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {part: after[part] - before[part] for part in before}


def ended_children_s() -> float:
    """Of the processes that this one has started and that have ended: a generator's cost, once it is over."""
    times = os.times()
    return times.children_user + times.children_system


def _read_stat(pid: int) -> _Stat:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, ended = int(fields[_USER]) + int(fields[_SYSTEM]), int(fields[_ENDED_USER]) + int(fields[_ENDED_SYSTEM])
    return _Stat(int(fields[_PARENT]), own * _TICK_S, ended * _TICK_S)


def _all_stats() -> dict[int, _Stat]:
    stats = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                stats[int(name)] = _read_stat(int(name))
            except OSError:  # ended since
                continue
    return stats
