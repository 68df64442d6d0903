"""What a worker's log lines are, and the ids of requests in them."""

import asyncio
import json
import logging
import sys
from typing import Any

from redpacket.ops.logs import LINES_MAX, JsonLines, RatedLines
from redpacket.ops.request_id import begin_request, request_id


def _line(message: str, *args: object, exc_info: Any = None) -> dict[str, str]:
    record = logging.LogRecord("redpacket.x", logging.WARNING, "x.py", 1, message, args, exc_info)
    formatted = JsonLines().format(record)
    assert "\n" not in formatted
    line: dict[str, str] = json.loads(formatted)
    return line


def test_a_line_is_one_json_object() -> None:
    line = _line("shard %d: %r", 3, "a\nb")
    assert line.keys() == {"time", "level", "logger", "message"}
    assert (line["level"], line["logger"], line["message"]) == ("warning", "redpacket.x", "shard 3: 'a\\nb'")
    assert line["time"].endswith("Z")


def test_an_error_s_traceback_is_in_its_line() -> None:
    try:
        int("here")
    except ValueError:
        line = _line("it failed", exc_info=sys.exc_info())
    assert "ValueError: invalid literal" in line["error"]


async def test_a_line_names_the_request_at_hand_and_no_other() -> None:
    async def serve(given: bytes) -> tuple[str, str]:
        id = begin_request(given)
        await asyncio.sleep(0)
        return id, _line("x")["request"]

    for given, (id, logged) in zip((b"a", b"b"), await asyncio.gather(serve(b"a"), serve(b"b")), strict=True):
        assert (id, logged) == (given.decode(), given.decode())
    assert request_id() == ""
    assert "request" not in _line("x")


async def test_an_id_that_is_not_well_formed_is_replaced_by_a_new_one() -> None:
    async def begin(given: bytes | None) -> str:
        return begin_request(given)

    given = [None, b"", b"a b", b"a\n", b"x" * 65, "\u00e9".encode()]
    made = [await asyncio.create_task(begin(it)) for it in given]
    assert len(set(made)) == len(made)
    assert not {it.encode() for it in made} & {it for it in given if it is not None}
    assert await asyncio.create_task(begin(b"x" * 64)) == "x" * 64


def _record(logger: str, place: int, at_s: float, message: str = "attempt %d") -> logging.LogRecord:
    record = logging.LogRecord(logger, logging.ERROR, "x.py", place, message, (1,) if "%" in message else (), None)
    record.created = at_s
    return record


def test_a_library_that_says_a_thing_again_and_again_is_heard_so_often_a_minute_and_the_rest_is_counted() -> None:
    rated = RatedLines()
    let_through = [rated.filter(_record("aiokafka", 1, 0.0)) for _ in range(100_000)]
    assert let_through == [True] * LINES_MAX + [False] * (100_000 - LINES_MAX)
    # Another place of it, and what is ours.
    assert rated.filter(_record("aiokafka", 2, 1.0))
    assert all(rated.filter(_record("ledger.consume", 1, 1.0)) for _ in range(1_000))
    # The first line after that minute tells, and none after it.
    told, later = _record("redpacket.x", 3, 60.0), _record("aiokafka", 1, 60.5)
    assert rated.filter(told)
    assert rated.filter(later)
    left_out = {"aiokafka: attempt %d": 100_000 - LINES_MAX}
    assert json.loads(JsonLines().format(told))["left_out"] == left_out
    assert "left_out" not in json.loads(JsonLines().format(later))


def test_lines_that_all_differ_are_rated_too_and_nothing_is_kept_of_each() -> None:
    rated = RatedLines()
    for minute in range(5):
        let_through = [rated.filter(_record("asyncio", 1, 60.0 * minute, f"{minute} {n}")) for n in range(1_000)]
        assert sum(let_through) == LINES_MAX
    assert len(rated._windows) == 1
    assert len(rated._left_out) <= 1


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    rated = RatedLines()
    for _ in range(LINES_MAX + 1):
        rated.filter(_record("aiokafka", 1, 1_000.0))
    assert rated.filter(_record("aiokafka", 1, 10.0))
