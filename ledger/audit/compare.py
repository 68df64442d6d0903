"""The log against the ledger: reads both side by side, shard by shard, and has each record judged."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
from msgspec import Struct, msgpack

from ledger.audit.expect import in_words, unlike_what_is_known
from ledger.audit.findings import Findings, ShardCover
from ledger.audit.ignored import check_ignored
from ledger.audit.judge import Moved, ShardJudge, Unmoved
from ledger.audit.log import AuditLog, LoggedBytes
from ledger.audit.snapshot import LedgerSession
from redpacket.commit.amounts import Amounts
from redpacket.events import PacketClosed, PacketOpened, ShareClaimed, WalletToppedUp
from redpacket.ids import parse_id
from redpacket.split import SplitError, SplitParameters, commitment

_TOLD_EACH = 10_000

_encode_event = msgpack.Encoder().encode


class ShardRange(Struct, frozen=True):
    """What is read of a shard's log. `chain` and `epoch_fenced` are what they were before `from_offset`; `to_offset` is
    where the log is read to, `next_offset` where the ledger is settled, `head` its chain there and `fenced` its highest
    Fence. `joins` as in ShardCover."""

    shard: int
    from_offset: int
    to_offset: int
    next_offset: int
    chain: bytes
    epoch_fenced: int
    head: bytes
    fenced: int
    joins: bool


class LogComparison:
    """Compares ranges of the log with the snapshot that `session` is in."""

    def __init__(
        self, session: LedgerSession, log: AuditLog, amounts: Amounts, findings: Findings, tell: Callable[[str], None]
    ) -> None:
        self._session = session
        self._log = log
        self._amounts = amounts
        self._findings = findings
        self._tell = tell

    async def compare(self, ranges: Sequence[ShardRange], shards: int) -> None:
        """`ranges` in the order of their shards. Raises AuditError."""
        bounds = [[getattr(it, name) for it in ranges] for name in ("shard", "from_offset", "to_offset")]
        movements = _Ordered(self._session.stream("movements", *bounds))
        for wanted in ranges:
            judge = ShardJudge(self._findings, wanted.shard, shards, wanted.chain, wanted.epoch_fenced)
            read = 0
            async for chunk in self._log.read(wanted.shard, wanted.from_offset, wanted.to_offset):
                await self._judge_chunk(judge, chunk, movements)
                before, read = read, read + len(chunk)
                if before // _TOLD_EACH != read // _TOLD_EACH:
                    self._tell(f"log: shard {wanted.shard}: {read} of {wanted.to_offset - wanted.from_offset} records")
            self._close(judge, wanted)
            await check_ignored(self._session, self._log, self._findings, wanted.shard, judge.ignored)

    def _close(self, judge: ShardJudge, wanted: ShardRange) -> None:
        read = wanted.to_offset - wanted.from_offset
        self._findings.count("I8", "records read", read)
        offsets = wanted.from_offset, wanted.next_offset
        cover = ShardCover(wanted.shard, *offsets, read, judge.chain, wanted.head, wanted.joins)
        self._findings.shards.append(cover)
        if judge.epoch_fenced != wanted.fenced and wanted.to_offset == wanted.next_offset:
            # Of it depends what is ignored from here on.
            self._findings.violate(
                "I6",
                f"shard {cover.shard}: the ledger's highest Fence is {wanted.fenced}, the log's {judge.epoch_fenced}",
            )
        if cover.head != cover.kept and not judge.cut:
            self._findings.violate(
                "I8",
                f"shard {cover.shard}: the ledger's chain ends in {cover.kept.hex()}, the log's in {cover.head.hex()}",
            )

    async def _judge_chunk(self, judge: ShardJudge, chunk: Sequence[LoggedBytes], movements: "_Ordered") -> None:
        first, last = chunk[0].kafka_offset, chunk[-1].kafka_offset
        kept = {row["kafka_offset"]: row for row in await self._session.rows("records", judge.shard, first, last)}
        letters: defaultdict[int, dict[int, asyncpg.Record]] = defaultdict(dict)
        for row in await self._session.rows("letters", judge.shard, first, last):
            letters[row["kafka_offset"]][row["item"]] = row
        moved: defaultdict[int, defaultdict[int, list[asyncpg.Record]]] = defaultdict(lambda: defaultdict(list))
        async for row in movements.up_to(judge.shard, last):
            moved[row["kafka_offset"]][row["item"]].append(row)
        for logged in chunk:
            offset = logged.kafka_offset
            judge.judge(logged, kept.get(offset), letters[offset], moved[offset])
        await self._judge_unmoved(judge.unmoved)
        self._findings.count("I6", "events repeated", len(judge.unmoved))
        await self._judge_replayed(judge.replayed)
        await self._judge_amounts(judge.moved)
        judge.unmoved, judge.replayed, judge.moved = [], [], []

    async def _judge_replayed(self, replayed: Sequence[Unmoved]) -> None:
        """What was replayed is known since then, unless the replay was set aside in its turn."""
        if not replayed:
            return
        packed = [_encode_event(it.event) for it in replayed]
        again = {row["packed"] for row in await self._session.rows("letters_again", packed)}
        await self._judge_unmoved([it for it, key in zip(replayed, packed, strict=True) if key not in again])

    async def _judge_unmoved(self, unmoved: Sequence[Unmoved]) -> None:
        """What moved nothing must be known, just so."""
        claims = [it.event for it in unmoved if isinstance(it.event, ShareClaimed) and parse_id(it.event.packet)]
        known: dict[object, asyncpg.Record] = {}
        if claims:
            days = [parsed.date for it in claims if (parsed := parse_id(it.packet))]
            keys = days, [it.packet for it in claims], [it.share for it in claims]
            for row in await self._session.rows("claims_known", *keys):
                known[row["packet"], row["share"]] = row
        if ids := [id for it in unmoved if isinstance(id := _key(it), str)]:
            known.update({row["id"]: row for row in await self._session.rows("operations_known", ids)})
        for it in unmoved:
            found = known.get(_key(it))
            if why := unlike_what_is_known(it.event, it.at_ms, found):
                invariant = "I4" if found is None else "I6"
                self._findings.violate(invariant, f"{in_words(it.event)} at {it.place} moved nothing: {why}")

    async def _judge_amounts(self, moved: Sequence[Moved]) -> None:
        """The split is computed anew from the seed."""
        for it in moved:
            row = it.row
            parameters = (row[name] for name in ("split_kind", "total_minor", "shares", "cap_minor", "min_minor"))
            split = SplitParameters(*parameters)
            try:
                if isinstance(it.event, PacketOpened):
                    given = commitment(self._amounts.seed(it.event.id), split)
                    said = it.event.commitment
                else:
                    amounts = await self._amounts.of_packet(it.event.packet, split)
                    given, said = str(amounts[it.event.share - 1]), str(it.event.amount_minor)
                    self._findings.count("I2", "amounts computed from the seed")
            except (SplitError, TypeError, IndexError) as error:
                given, said = f"nothing: {error}", ""
            if given != said:
                self._findings.violate(
                    "I2", f"{in_words(it.event)} at {it.place}: it says {said}, the seed gives {given}"
                )


class _Ordered:
    """Rows in the order of (shard, kafka_offset), taken piece by piece."""

    def __init__(self, rows: AsyncIterator[asyncpg.Record]) -> None:
        self._rows = rows
        self._next: asyncpg.Record | None = None

    async def up_to(self, shard: int, last: int) -> AsyncIterator[asyncpg.Record]:
        while True:
            row = self._next or await anext(self._rows, None)
            self._next = row
            if row is None or (row["shard"], row["kafka_offset"]) > (shard, last):
                return
            self._next = None
            yield row


def _key(unmoved: Unmoved) -> tuple[str, int] | str:
    match unmoved.event:
        case ShareClaimed(packet=packet, share=share):
            return packet, share
        case PacketClosed(packet=packet):
            return packet
        case PacketOpened(id=id) | WalletToppedUp(id=id):
            return id
