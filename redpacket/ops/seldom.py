"""Rate limit for log lines that a client can cause at will: one a minute of each kind, with a count of the others."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

_PAUSE_S = 60.0
# A line's kind is the statement that logs it, and its `reason` if it has one: dozens. Any above this count as one kind.
_KINDS_MAX = 1_000


@dataclass
class _Told:
    until_s: float
    left_out: int = 0


class Seldom(logging.Filter):
    """Limits the loggers whose names start with one of `loggers`. Drops a line that repeats within a minute; the next
    one of its kind states how many were dropped."""

    def __init__(self, loggers: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._loggers = loggers
        self._clock = clock
        self._told: dict[tuple[object, ...], _Told] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(self._loggers):
            return True
        kind: tuple[object, ...] = (record.pathname, record.lineno, getattr(record, "reason", ""))
        if kind not in self._told and len(self._told) >= _KINDS_MAX:
            kind = ()
        now_s = self._clock()
        told = self._told.get(kind)
        if told is not None and now_s < told.until_s:
            told.left_out += 1
            return False
        self._told[kind] = _Told(now_s + _PAUSE_S)
        if told is not None and told.left_out:
            record.msg = f"{record.getMessage()} (and {told.left_out} more like it since the last such line)"
            record.args = ()
        return True
