"""Logs as lines of JSON: what did not go as it should, and what an operator wants to know of a process; no line for
each success, which metrics count."""

import logging
import sys
from datetime import UTC, datetime

import msgspec

from redpacket.ops.request_id import request_id
from redpacket.ops.seldom import Seldom

_QUIET = ("aiokafka", "uvicorn", "httpx")
# What clients do is told by these.
_SELDOM = ("asyncio", "uvicorn", "redpacket.ops.server", "redpacket.ops.unreadable")


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger`, `message`; `request` where the line belongs to one; `error`: the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if id := request_id():
            line["request"] = id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_to_stderr() -> None:
    """Once, at the start of a worker."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Seldom(_SELDOM))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in _QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
