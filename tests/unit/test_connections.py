"""How many connections a worker holds, and for how long."""

import asyncio
import resource

import pytest

from redpacket.ops import metrics
from redpacket.ops.open_files import connections_within, ensure_open_files
from service import connection
from tests.served import GET, LONG_S, Connect, at_end, read_answer, running

KNOWN = b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_connection_is_kept_for_longer_once_its_caller_is_known(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STRANGER_S", 0.2)
    async with running() as service:
        known_reader, known_writer = await connect(service)
        known_writer.write(GET % 1 + KNOWN + GET % 2)
        for _ in range(3):
            await read_answer(known_reader)
        strange_reader, strange_writer = await connect(service)
        closed = metrics.CONNECTIONS_CLOSED.labels("silent")._value
        before = closed.get()
        strange_writer.write(GET % 1)
        assert (await read_answer(strange_reader))[2] == b"/1"
        assert await at_end(strange_reader)
        assert closed.get() == before + 1
        known_writer.write(GET % 3)
        assert (await read_answer(known_reader))[2] == b"/3"


async def test_a_worker_that_is_full_accepts_again_once_somebody_has_gone(connect: Connect) -> None:
    async with running(connections_max=1) as service:
        first_reader, first_writer = await connect(service)
        first_writer.write(GET % 1)
        assert (await read_answer(first_reader))[2] == b"/1"
        second_reader, second_writer = await connect(service)  # by the kernel
        second_writer.write(GET % 2)
        await asyncio.sleep(0.5)
        assert len(service.server.connections) == 1
        first_writer.write(GET % 3)
        assert (await read_answer(first_reader))[2] == b"/3"
        first_writer.close()
        async with asyncio.timeout(LONG_S):
            assert (await read_answer(second_reader))[2] == b"/2"


async def test_nobody_is_left_waiting_once_a_worker_with_a_socket_of_its_own_accepts_no_more(connect: Connect) -> None:
    async with running() as service:
        service.server.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            await connect(service)


def test_connections_leave_files_for_the_workers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, wanted, expected in ((20_000, 8_192, 8_192), (4_096, 8_192, 3_904), (100, 8_192, 1), (-1, 9, 9)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connections_within(wanted) == expected


def test_a_worker_may_have_as_many_files_as_it_is_allowed_to() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_000, before[1]), before[1]))
    try:
        ensure_open_files(1_000, "it")
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
