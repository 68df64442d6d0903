"""The one path of every outflow: an item goes in, and what comes out is final, refused, or honestly not known yet."""

import asyncio
from collections.abc import Iterator
from typing import Literal

from msgspec.structs import replace

from redpacket.commit.amounts import Amounts
from redpacket.commit.funds import Funds
from redpacket.commit.lane import Answer, Lane
from redpacket.commit.load import Absent, Loaded, Loader
from redpacket.commit.repeat import Repeater
from redpacket.commit.sold_out import SoldOut
from redpacket.events import PacketTerms, Terms
from redpacket.ids import OperationId
from redpacket.log.producer import LogProducer, LogUnavailableError
from redpacket.ops.request_id import request_id
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient
from redpacket.shard.reserve import (
    ClaimItem,
    CloseItem,
    Item,
    Missing,
    OperationItem,
    Pending,
    Refused,
    Short,
    Stalled,
    packet_part,
)

# An entry older than this has lost its publisher, or its publisher has lost Kafka: whoever repeats the request
# publishes it again. A healthy one is confirmed within some milliseconds.
_REPEAT_AFTER_MS = 500
# How often what may change within milliseconds is looked at again before the caller is told to come back.
_BUSY_TRIES = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.1


class CommitPath:
    """Reserves, publishes and confirms for this process. Close it with `aclose` once nothing new comes in."""

    def __init__(
        self,
        settings: Settings,
        client: ShardClient,
        producer: LogProducer,
        amounts: Amounts,
        loader: Loader,
        funds: Funds,
        repeater: Repeater,
    ) -> None:
        self._timeout_s = settings.request_timeout_ms / 1000
        self._client = client
        self._loader = loader
        self._funds = funds
        self._repeater = repeater
        self._sold_out = SoldOut(client)
        self._lanes = [Lane(shard, settings, client, producer, amounts) for shard in range(settings.shards)]

    async def aclose(self) -> None:
        for lane in self._lanes:
            await lane.aclose()
        await self._sold_out.aclose()

    async def claim_share(self, packet: OperationId, owner: str) -> Answer:
        """A share of the packet for `owner`, the one he has where he has one. ClaimFound, Pending or Refused.

        Raises ShardClosedError, ShardUnreachableError, MemoryFullError, BooksUnavailableError.
        """
        deadline_s, deadline_ms = self._deadline()
        if self._sold_out.is_too_late(packet, owner):
            return Answer(Refused("sold_out"), 0)
        item = ClaimItem(packet.identity, str(packet), deadline_ms, owner, request_id())
        answer = await self._resolve(packet.shard, item, deadline_s)
        if answer.result == Refused("sold_out"):
            self._sold_out.remember(packet)
        return answer

    async def reserve_operation(
        self, shard: int, identity: str, payer: str | None, amount_minor: int, terms: Terms
    ) -> Answer:
        """The operation of this identity, made now or found. OperationFound (compare its terms), Pending or Refused.

        `payer`'s wallet, on `shard`, is where the money comes from; None for a funding account. Raises as claim_share,
        and LogUnavailableError.
        """
        deadline_s, deadline_ms = self._deadline()
        part = packet_part(terms) if isinstance(terms, PacketTerms) else ()
        payer = payer or ""
        item = OperationItem(identity, shard, deadline_ms, -1, payer, amount_minor, 0, terms, part, request_id())
        return await self._resolve(shard, item, deadline_s)

    async def close_packet(self, packet: OperationId, why: Literal["closed", "expired"]) -> Answer:
        """Ends the packet, and gives back what nobody has claimed. PacketOver, Pending or Refused.

        Raises as claim_share.
        """
        deadline_s, deadline_ms = self._deadline()
        item = CloseItem(packet.identity, str(packet), deadline_ms, why, request_id())
        return await self._resolve(packet.shard, item, deadline_s)

    def _deadline(self) -> tuple[float, int]:
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        return deadline_s, self._client.clock.redis_ms(deadline_s)

    async def _resolve(self, shard: int, item: Item, deadline_s: float) -> Answer:
        attempt = _Attempt(item)
        try:
            async with asyncio.timeout_at(deadline_s):
                while True:
                    answer = await self._lanes[shard].submit(attempt.item, attempt.note)
                    attempt.note(answer)
                    if await self._is_final(shard, attempt, answer):
                        return attempt.refusal or answer
        except TimeoutError:
            # Recorded but not known to be final: 202. Never recorded, as far as is known: come back.
            last = attempt.last
            return last if isinstance(last.result, Pending) else Answer(Refused("late"), last.now_ms)

    async def _is_final(self, shard: int, attempt: "_Attempt", answer: Answer) -> bool:
        """False after having done what makes it worth to submit the item again."""
        match answer.result:
            case Missing():
                return await self._bring_in(shard, attempt, answer.result)
            case Pending(entry, at_ms):
                await self._see_to_entry(shard, entry, answer.now_ms - at_ms, attempt)
                return False
            case Stalled(entry):
                # Where its publisher has died, this ends it; where Kafka is away, nobody waits here for it.
                self._repeater.begin(shard, entry)
                attempt.refusal = Answer(Refused("stalled"), answer.now_ms)
                return True
            case Refused("busy") if attempt.busy < _BUSY_TRIES:
                attempt.busy += 1
                await asyncio.sleep(next(attempt.pauses))
                return False
            case Short(reserved_minor) if isinstance(attempt.item, OperationItem):
                needed_minor = reserved_minor + attempt.item.amount_minor
                credited_minor = await self._read_credited(shard, attempt.item.payer, needed_minor)
                if credited_minor < needed_minor:
                    attempt.refusal = Answer(Refused("short"), answer.now_ms)
                    return True
                # Others may take it meanwhile: then what had gone out by then is held against another reading.
                attempt.item = replace(attempt.item, credited_minor=credited_minor)
                return False
            case _:
                return True

    async def _read_credited(self, shard: int, payer: str, needed_minor: int) -> int:
        """All that ever came in to the wallet: less than needed only if so much had not come in when this was asked."""
        credited_minor = await self._funds.credited(shard, payer)
        if credited_minor < needed_minor:
            credited_minor = await self._funds.credited_after_all(shard, payer)
        return credited_minor

    async def _bring_in(self, shard: int, attempt: "_Attempt", missing: Missing) -> bool:
        item = attempt.item
        loaded: list[Loaded | Absent] = []
        if missing.operation:
            found = await self._loader.load_operation(shard, item.identity)
            loaded.append(found)
            if isinstance(found, Absent):
                if not isinstance(item, OperationItem):
                    attempt.refusal = Answer(Refused("not_found"), 0)
                    return True
                attempt.item = replace(item, proof=found.next_offset)
        if missing.wallet and isinstance(item, OperationItem):
            loaded.append(await self._loader.load_wallet(shard, item.payer))
        if Loaded.BEHIND in loaded:
            await asyncio.sleep(next(attempt.pauses))
        return False

    async def _see_to_entry(self, shard: int, entry: int, age_ms: int, attempt: "_Attempt") -> None:
        # One from the future is as old as the time by which Redis's clock was set back, or older.
        if not 0 <= age_ms < _REPEAT_AFTER_MS:
            try:
                if await self._repeater.repeat(shard, entry):
                    return
            except LogUnavailableError:
                pass  # the entry is still there; until the deadline Kafka may be back
        await asyncio.sleep(next(attempt.pauses))


def _pauses() -> Iterator[float]:
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _Attempt:
    """What one request has learned so far."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.last = Answer(Refused("late"), 0)
        self.refusal: Answer | None = None
        self.busy = 0
        self.pauses = _pauses()

    def note(self, answer: Answer) -> None:
        self.last = answer
