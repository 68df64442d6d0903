"""Log lines that a client can cause at will, or that a library repeats: so many a minute of each kind, then a count."""

import json
import logging
from collections.abc import Iterator

import pytest

from redpacket.ops.logs import JsonLines
from redpacket.ops.rated_lines import LIBRARY_LINES_MAX, RatedLines
from tests.served import Connect, running


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[_Kept]:
    """What the root logger is told, through the filter."""
    handler = _Kept()
    handler.addFilter(RatedLines())
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def _record(logger: str, place: int, at_s: float, message: str = "attempt %d") -> logging.LogRecord:
    record = logging.LogRecord(logger, logging.ERROR, "x.py", place, message, (1,) if "%" in message else (), None)
    record.created = at_s
    return record


def test_a_library_that_says_a_thing_again_and_again_is_heard_so_often_a_minute_and_the_rest_is_counted() -> None:
    rated = RatedLines()
    let_through = [rated.filter(_record("aiokafka", 1, 0.0)) for _ in range(100_000)]
    assert let_through == [True] * LIBRARY_LINES_MAX + [False] * (100_000 - LIBRARY_LINES_MAX)
    # Another place of it, and what is ours.
    assert rated.filter(_record("aiokafka", 2, 1.0))
    assert all(rated.filter(_record("ledger.consume", 1, 1.0)) for _ in range(1_000))
    # The first line after that minute tells, and none after it.
    told, later = _record("redpacket.x", 3, 60.0), _record("aiokafka", 1, 60.5)
    assert rated.filter(told)
    assert rated.filter(later)
    left_out = {"aiokafka: attempt %d": 100_000 - LIBRARY_LINES_MAX}
    assert json.loads(JsonLines().format(told))["left_out"] == left_out
    assert "left_out" not in json.loads(JsonLines().format(later))


def test_lines_that_all_differ_are_rated_too_and_nothing_is_kept_of_each() -> None:
    rated = RatedLines()
    for minute in range(5):
        records = [_record("aiokafka.client", 1, 60.0 * minute, f"{minute} {n}") for n in range(1_000)]
        assert sum(rated.filter(record) for record in records) == LIBRARY_LINES_MAX
    assert len(rated._windows) == 1
    assert len(rated._left_out) <= 1


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    rated = RatedLines()
    for _ in range(LIBRARY_LINES_MAX + 1):
        rated.filter(_record("aiokafka", 1, 1_000.0))
    assert rated.filter(_record("aiokafka", 1, 10.0))


def test_what_clients_cause_is_one_line_a_minute_of_each_reason() -> None:
    rated = RatedLines()

    def let_through(reason: str, at_s: float) -> int:
        records = [_record("redpacket.ops.unreadable", 1, at_s) for _ in range(100)]
        for record in records:
            record.reason = reason
        return sum(rated.filter(record) for record in records)

    assert [let_through(reason, 0.0) for reason in ("BAD_REQUEST", "NOT_FOUND", "BAD_REQUEST")] == [1, 1, 0]
    told = _record("redpacket.x", 3, 60.0)
    assert rated.filter(told)
    left_out = {
        "redpacket.ops.unreadable: attempt %d BAD_REQUEST": 199,
        "redpacket.ops.unreadable: attempt %d NOT_FOUND": 99,
    }
    assert json.loads(JsonLines().format(told))["left_out"] == left_out


def test_errors_that_differ_are_of_different_kinds_though_one_statement_logs_them_all() -> None:
    rated = RatedLines()

    def let_through(error: Exception) -> bool:
        record = _record("asyncio", 1, 0.0)
        record.exc_info = (type(error), error, None)
        return rated.filter(record)

    assert [let_through(it) for it in (OSError(), OSError(), KeyError(), KeyError())] == [True, False, True, False]


async def test_bad_requests_are_one_line_of_each_status_with_who_sent_them(kept: _Kept, connect: Connect) -> None:
    async with running() as service:
        for raw in (b"nonsense\r\n\r\n", b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n") * 5:
            reader, writer = await connect(service)
            writer.write(raw)
            await reader.read()
    assert kept.lines == ["refused 400 Bad Request: from 127.0.0.1", "refused 405 Method Not Allowed: from 127.0.0.1"]
