"""Rate limit for log lines that a client can cause at will, or that a library repeats at each of its attempts."""

import logging

# What clients do is logged by these: one line a minute of each kind.
_CAUSED_BY_CLIENTS = ("asyncio", "uvicorn", "redpacket.ops.server", "redpacket.ops.unreadable")
# Other lines of ours are not limited: our code limits its own.
_OURS = ("redpacket", "service", "ledger")
LIBRARY_LINES_MAX = 20
_WINDOW_S = 60.0
# Of the text that names a kind of line.
_KIND_CHARS = 100

# A kind of line: the statement that logs it, and the line's `reason` if it has one, or the class of its error: asyncio
# logs all errors by one statement. Both are of a fixed set.
_Kind = tuple[str, int, str]


class _Window:
    """What one kind of line has had since `began_s`; `name` is what its first line said."""

    def __init__(self, record: logging.LogRecord, lines_max: int) -> None:
        self.began_s = record.created
        self.lines_max = lines_max
        self.name = f"{record.name}: {record.msg} {_reason(record)}"[:_KIND_CHARS].rstrip()
        self.lines = 0

    def is_over(self, now_s: float) -> bool:
        return abs(now_s - self.began_s) >= _WINDOW_S  # the clock may be set back


class RatedLines(logging.Filter):
    """Lets through so many lines a minute of each kind.

    The first line after that minute, of whatever kind, has as `left_out` how many were dropped: a dict by kind. What is
    kept here is bounded by the number of statements that log, whatever they say.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[_Kind, _Window] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        self._end_windows(record.created)
        if lines_max := _lines_max(record.name):
            kind = (record.pathname, record.lineno, _reason(record))
            window = self._windows.setdefault(kind, _Window(record, lines_max))
            window.lines += 1
            if window.lines > lines_max:
                return False
        if self._left_out:
            record.left_out, self._left_out = self._left_out, {}
        return True

    def _end_windows(self, now_s: float) -> None:
        for kind, window in list(self._windows.items()):
            if window.is_over(now_s):
                self._windows.pop(kind, None)
                if window.lines > window.lines_max:
                    left_out = window.lines - window.lines_max
                    self._left_out[window.name] = self._left_out.get(window.name, 0) + left_out


def _reason(record: logging.LogRecord) -> str:
    if reason := getattr(record, "reason", ""):
        return str(reason)
    return record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""


def _lines_max(logger: str) -> int:
    """Lines a minute; 0 where they are not limited."""
    if logger.startswith(_CAUSED_BY_CLIENTS):
        return 1
    return 0 if logger.partition(".")[0] in _OURS else LIBRARY_LINES_MAX
