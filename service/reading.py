"""A packet, or any operation, as Redis holds it, loaded from the ledger where it is absent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redpacket.commit import load
from redpacket.ids import OperationId, parse_id
from redpacket.shard.client import ShardClient
from redpacket.shard.read import (
    Absent,
    ClaimAnswer,
    ClaimPage,
    HeldOperation,
    HeldPacket,
    read_claim,
    read_claims,
    read_operation,
    read_packet,
)
from service.problems import Code, ProblemError

T = TypeVar("T")

_LOOK_AGAIN_S = 0.05
# At once, of the connections to Redis, which are twice as many: a burst of reads, as when what has waited for a worker
# comes at once, must neither fail because all are taken nor take them from claims.
_READS_MAX = 32


class PacketReader:
    """Every method waits as long as the ledger takes to be read: the caller has the deadline.

    They raise ProblemError `not_found`, and as Loader and ShardClient do.
    """

    def __init__(self, client: ShardClient, loader: load.Loader) -> None:
        self._client = client
        self._loader = loader
        self._turns = asyncio.Semaphore(_READS_MAX)

    async def operation(self, shard: int, identity: str) -> HeldOperation:
        return await self._present(shard, identity, lambda: read_operation(self._client, shard, identity), "request")

    async def packet(self, id: OperationId) -> HeldPacket:
        return await self._of(id, lambda: read_packet(self._client, id.shard, id.identity, str(id)))

    async def claims(self, id: OperationId, after: int, limit: int) -> ClaimPage:
        return await self._of(id, lambda: read_claims(self._client, id.shard, id.identity, str(id), after, limit))

    async def claim(self, id: OperationId, owner: str) -> ClaimAnswer:
        return await self._of(id, lambda: read_claim(self._client, id.shard, id.identity, str(id), owner))

    async def _of(self, id: OperationId, read: Callable[[], Awaitable[T | Absent]]) -> T:
        return await self._present(id.shard, id.identity, read, "packet")

    async def _present(self, shard: int, identity: str, read: Callable[[], Awaitable[T | Absent]], what: str) -> T:
        while True:
            async with self._turns:
                found = await read()
            if not isinstance(found, Absent):
                return found
            if found is Absent.OTHER:
                raise not_found(what)
            loaded = await self._loader.load_operation(shard, identity)
            if isinstance(loaded, load.Absent):
                raise not_found(what)
            if loaded is load.Loaded.BEHIND:
                await asyncio.sleep(_LOOK_AGAIN_S)


def packet_id(text: str, shards: int) -> OperationId:
    """Raises ProblemError `not_found` for what can be no id of this deployment."""
    id = parse_id(text)
    if id is None or id.shard >= shards:
        raise not_found()
    return id


def not_found(what: str = "packet") -> ProblemError:
    return ProblemError(Code.NOT_FOUND, f"There is no such {what}.")
