"""Log lines that a client can cause at will: one a minute of each kind."""

import logging
from collections.abc import Iterator

import pytest

from redpacket.ops.seldom import Seldom
from tests.served import Connect, running

now_s = 0.0


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[_Kept]:
    """What the root logger is told, through the filter, at `now_s`."""
    global now_s
    now_s = 0.0
    handler = _Kept()
    handler.addFilter(Seldom(("asyncio", "noisy", "redpacket.ops.unreadable"), lambda: now_s))
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_a_line_that_repeats_is_counted_and_told_again_after_a_minute(kept: _Kept) -> None:
    global now_s
    for now_s in (0.0, 1.0, 59.0, 60.0, 61.0, 200.0):
        logging.getLogger("noisy.part").warning("from %s", now_s)
    assert kept.lines == [
        "from 0.0",
        "from 60.0 (and 2 more like it since the last such line)",
        "from 200.0 (and 1 more like it since the last such line)",
    ]


def test_lines_of_other_loggers_statements_or_reasons_are_not_held_back(kept: _Kept) -> None:
    for n in range(2):
        logging.getLogger("other").warning("a %d", n)
        logging.getLogger("noisy").warning("b %d", n)
        logging.getLogger("noisy").warning("c %d", n, extra={"reason": n})
    assert kept.lines == ["a 0", "b 0", "c 0", "a 1", "c 1"]


def test_reasons_without_end_take_no_memory_without_end(kept: _Kept) -> None:
    for n in range(5_000):
        logging.getLogger("noisy").warning("%d", n, extra={"reason": n})
    assert len(kept.lines) == 1_001


async def test_bad_requests_are_one_line_of_each_status_with_who_sent_them(kept: _Kept, connect: Connect) -> None:
    async with running() as service:
        for raw in (b"nonsense\r\n\r\n", b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n") * 5:
            reader, writer = await connect(service)
            writer.write(raw)
            await reader.read()
    assert kept.lines == ["refused 400 Bad Request: from 127.0.0.1", "refused 405 Method Not Allowed: from 127.0.0.1"]
