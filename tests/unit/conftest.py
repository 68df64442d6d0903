import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.served import Client, Connect, Service


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    writers: list[asyncio.StreamWriter] = []

    async def connect(service: Service) -> Client:
        reader, writer = await asyncio.open_connection(*service.address)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()
