"""To publish an entry again whose first publisher is gone: for a request that waits for it, and for the relay."""

from redpacket.commit.amounts import Amounts
from redpacket.commit.compose import compose_record
from redpacket.commit.rounds import Rounds
from redpacket.log.producer import LogProducer
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient
from redpacket.shard.outbox import Confirm, confirm, take_entry


class Repeater:
    """Repeats one entry at a time, among all processes as long as a publish may take. Close it with `aclose`."""

    def __init__(self, settings: Settings, client: ShardClient, producer: LogProducer, amounts: Amounts) -> None:
        self._lease_ms = settings.kafka_timeout_ms
        self._client = client
        self._producer = producer
        self._amounts = amounts
        self._repeats: Rounds[tuple[int, int], bool] = Rounds(self._repeat)

    async def aclose(self) -> None:
        await self._repeats.aclose()

    async def repeat(self, shard: int, entry: int) -> bool:
        """True where the entry is confirmed now, False where another is at it.

        Raises LogUnavailableError, ShardClosedError, ShardUnreachableError.
        """
        return await self._repeats.join((shard, entry))

    def begin(self, shard: int, entry: int) -> None:
        """The same, and nobody waits for it."""
        self._repeats.begin((shard, entry))

    async def _repeat(self, key: tuple[int, int]) -> bool:
        shard, number = key
        taken = await take_entry(self._client, shard, number, self._lease_ms)
        if taken.entry is None:
            return not taken.by_another
        # The whole entry, under its own epoch: the record must be the one that its first publisher would have sent.
        record = await compose_record(self._amounts, taken.epoch, number, taken.entry)
        await self._producer.append(shard, record)
        await confirm(self._client, shard, [Confirm(taken.epoch, number)])
        return True
