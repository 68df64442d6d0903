"""What Redis holds of an operation, in words."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

from redpacket.ids import OperationId
from redpacket.shard.client import ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.shard.read import Absent, read_claim, read_operation, read_packet

T = TypeVar("T")

_ABSENT = "not there: nobody has asked since its shard was opened, or it was evicted; the ledger has it"
_NO_CLAIM = "the packet is there, without this claim"
_CONFIRMED = "confirmed"


class RedisReader:
    # What says that Redis knows nothing of it.
    NOTHING: ClassVar = (_ABSENT, _NO_CLAIM)

    def __init__(self, client: ShardClient) -> None:
        self._client = client

    async def operation(self, id: OperationId) -> str:
        return await _tell(read_operation(self._client, id.shard, id.identity), lambda it: _entry(it.entry))

    async def claim(self, id: OperationId, owner: str) -> str:
        return await _tell(
            read_claim(self._client, id.shard, id.identity, str(id), owner),
            lambda it: f"share {it.claims[0].share}, {_entry(it.entry)}" if it.claims else _NO_CLAIM,
        )

    async def end(self, id: OperationId) -> str:
        return await _tell(
            read_packet(self._client, id.shard, id.identity, str(id)),
            lambda it: f"the packet is {it.head.state or 'open'}",
        )


async def _tell(reading: Awaitable[T | Absent], words: Callable[[T], str]) -> str:
    try:
        found = await reading
    except (ShardClosedError, ShardUnreachableError) as error:
        return f"cannot be asked: {error}"
    return _ABSENT if isinstance(found, Absent) else words(found)


def _entry(entry: int) -> str:
    return f"in entry {entry} of the outbox, not confirmed: nobody was told that it is final" if entry else _CONFIRMED
