"""A worker's memory of packets that are sold out: most of a crowd comes too late, and costs Redis nothing."""

from collections import OrderedDict

from redpacket.commit.rounds import Rounds
from redpacket.ids import OperationId
from redpacket.shard.client import MemoryFullError, ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.shard.read import Absent, read_winners

# What is remembered, in winners: some 100 bytes each. A packet by itself takes as much as five. Those asked for last
# are kept.
_WINNERS_KEPT = 500_000
_PACKET_WEIGHT = 5


class SoldOut:
    """Remembers a packet only when every share is in a confirmed claim, which nothing undoes, with all who have one,
    and only while the epoch is believed under which it was read: what a Redis that was left behind confirms is void.

    Close it with `aclose`.
    """

    def __init__(self, client: ShardClient) -> None:
        self._client = client
        self._winners: OrderedDict[OperationId, tuple[int, frozenset[str]]] = OrderedDict()
        self._weight = 0
        self._readings: Rounds[OperationId, None] = Rounds(self._read)

    async def aclose(self) -> None:
        await self._readings.aclose()

    def is_too_late(self, packet: OperationId, owner: str) -> bool:
        """True where it is known that no share is left and that `owner` has none."""
        epoch, winners = self._winners.get(packet, (0, frozenset[str]()))
        if not winners or owner in winners:
            return False
        if not self._client.believes(packet.shard, epoch):
            self._forget(packet)
            return False
        self._winners.move_to_end(packet)
        return True

    def remember(self, packet: OperationId) -> None:
        """Somebody was told that the packet is sold out: from some moment on it is answered from here."""
        if packet not in self._winners:
            self._readings.begin(packet)

    async def _read(self, packet: OperationId) -> None:
        # The answer is of this epoch or a later one.
        epoch = self._client.least_epoch(packet.shard)
        try:
            winners = await read_winners(self._client, packet.shard, packet.identity, str(packet))
        except (ShardClosedError, ShardUnreachableError, MemoryFullError):
            return  # the next one who is too late is the next chance
        if isinstance(winners, Absent) or not winners:
            return
        self._winners[packet] = epoch, frozenset(winners)
        self._weight += len(winners) + _PACKET_WEIGHT
        while self._weight > _WINNERS_KEPT and len(self._winners) > 1:
            self._forget(next(iter(self._winners)))

    def _forget(self, packet: OperationId) -> None:
        _, winners = self._winners.pop(packet)
        self._weight -= len(winners) + _PACKET_WEIGHT
