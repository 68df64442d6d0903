"""Logs as lines of JSON: what did not go as it should, and what an operator wants to know of a process; no line for
each success, which metrics count."""

import logging
import sys
from datetime import UTC, datetime

import msgspec

from redpacket.ops.rated_lines import RatedLines
from redpacket.ops.request_id import request_id

_QUIET = ("aiokafka", "uvicorn", "httpx")


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
