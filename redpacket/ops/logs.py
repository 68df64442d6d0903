"""Logs as lines of JSON: what did not go as it should, and what an operator wants to know of a process; no line for
each success, which metrics count."""

import logging
import sys
from datetime import UTC, datetime

import msgspec

from redpacket.ops.request_id import request_id

_QUIET = ("aiokafka", "uvicorn", "httpx")
# A library says at each of its attempts that a part is away; our own code tells such a thing now and then.
_OURS = ("redpacket", "service", "ledger")
LINES_MAX = 20
_WINDOW_S = 60.0
# Of the text that names a kind of line.
_KIND_CHARS = 100


class _Window:
    """What one place in a library's code has logged since `began_s`; `kind` is what its first line said."""

    def __init__(self, record: logging.LogRecord) -> None:
        self.began_s = record.created
        self.kind = f"{record.name}: {record.msg}"[:_KIND_CHARS]
        self.lines = 0

    def is_over(self, now_s: float) -> bool:
        return abs(now_s - self.began_s) >= _WINDOW_S  # the clock may be set back


class RatedLines(logging.Filter):
    """Lets through LINES_MAX lines a minute from each place in a library's code that logs, and all of ours.

    The first line after that minute, whoever's it is, tells how many were left out: its `left_out`, a dict by kind.
    What this keeps is bounded by the number of such places, whatever they say.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, int], _Window] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        self._end_windows(record.created)
        if record.name.partition(".")[0] not in _OURS:
            window = self._windows.setdefault((record.pathname, record.lineno), _Window(record))
            window.lines += 1
            if window.lines > LINES_MAX:
                return False
        if self._left_out:
            record.left_out, self._left_out = self._left_out, {}
        return True

    def _end_windows(self, now_s: float) -> None:
        for place, window in list(self._windows.items()):
            if window.is_over(now_s):
                self._windows.pop(place, None)
                if window.lines > LINES_MAX:
                    self._left_out[window.kind] = self._left_out.get(window.kind, 0) + window.lines - LINES_MAX


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger`, `message`; `request` where the line belongs to one; `error`: the traceback;
    `left_out`: how many lines of which kind were not written before it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if id := request_id():
            line["request"] = id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if left_out := getattr(record, "left_out", None):
            line["left_out"] = left_out
        return msgspec.json.encode(line).decode()


def log_to_stderr() -> None:
    """Once, at the start of a worker."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(RatedLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in _QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
