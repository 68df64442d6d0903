"""What a worker's log lines are, and the ids of requests in them."""

import asyncio
import json
import logging
import sys
from typing import Any

from redpacket.ops.logs import JsonLines
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
