"""What became of a request whose answer the caller never got: asked for by its idempotency key."""

import asyncio

from redpacket.events import PacketTerms
from redpacket.ids import identity_of, shard_of
from redpacket.settings import Settings
from service.reading import PacketReader, packet_id
from service.settled import SettledOperations
from service.show import state_of
from service.words import Operation, Pending


class Operations:
    def __init__(self, settings: Settings, id_key: bytes, ledger: SettledOperations, reader: PacketReader) -> None:
        self._shards = settings.shards
        self._timeout_s = settings.request_timeout_ms / 1000
        self._id_key = id_key
        self._ledger = ledger
        self._reader = reader

    async def see_operation(self, owner: str, key: str) -> tuple[int, Operation | Pending]:
        """200 with the operation that the owner's request with this key made, 202 while it may yet die.

        Its identity is made of the owner too, so nobody can ask for another's. Raises ProblemError `not_found` where
        the ledger proves that there is none, TimeoutError, BooksUnavailableError, and as PacketReader.
        """
        shard, identity = shard_of(owner, self._shards), identity_of(self._id_key, owner, key)
        async with asyncio.timeout(self._timeout_s):
            held = await self._reader.operation(shard, identity)
            if held.entry:
                return 202, Pending(id=held.id)
            if isinstance(held.terms, PacketTerms):
                return await self._see_packet(held.id)
            # A top-up is final once it is in the ledger: while that is away it can be called neither of both.
            settled = await self._ledger.has(identity)
        return (200, Operation("topup", held.id, "captured")) if settled else (202, Pending(id=held.id))

    async def _see_packet(self, id: str) -> tuple[int, Operation | Pending]:
        held = await self._reader.packet(packet_id(id, self._shards))
        # Looked at again: Redis may have been lost in between.
        if held.head.send_entry:
            return 202, Pending(id=id)
        return 200, Operation("packet", id, state_of(id, held))
