"""Days of service, made in seconds: records dated on past days, in the log, which the ledger worker settles."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from redpacket.events import Event, PacketClosed, PacketOpened, PacketTerms, ShareClaimed, TopUpTerms, WalletToppedUp
from redpacket.ids import OperationId
from redpacket.log.record import Batch
from redpacket.split import SplitParameters, commitment
from service.statements import Statements
from service.words import Entry
from tests.deployment import LONG_S, Deployment, Worker

OWNER = "alice"
HISTORY_SPLIT = SplitParameters("lucky", 100, 2, 100, 1)
_EPOCH_DAY = date(1970, 1, 1)
# The ledger worker settles what it finds in one transaction, which locks the partitions of all of its days.
_DAYS_AT_ONCE = 50


def past_days(days: int) -> list[date]:
    """The days before today, the oldest first."""
    today = datetime.now(UTC).date()
    return [today - timedelta(days=ago) for ago in range(days, 0, -1)]


async def make_history(
    deployment: Deployment, worker: Worker, days: Sequence[date], left_open: frozenset[date] = frozenset()
) -> list[OperationId]:
    """On each day OWNER is topped up, sends a packet of two shares, claims one, and closes the packet, but for those of
    `left_open`, whose time is over and which nobody has ended. The packets."""
    shard, packets = deployment.shard_of(OWNER), []
    for start in range(0, len(days), _DAYS_AT_ONCE):
        (fenced,) = await deployment.rows("SELECT epoch_fenced FROM shard WHERE shard = $1", shard)
        for number, day in enumerate(days[start : start + _DAYS_AT_ONCE], start):
            ordinal = (day - _EPOCH_DAY).days
            packet = OperationId(shard, ordinal, f"{ordinal:031x}a")
            top_up = OperationId(shard, ordinal, f"{ordinal:031x}b")
            events = await _events(worker, top_up, packet, closed=day not in left_open)
            await worker.producer.append(
                shard, Batch(fenced["epoch_fenced"], number + 1, ordinal * 86_400_000 + number, events)
            )
            packets.append(packet)
        await deployment.settled(worker)
    return packets


async def _events(worker: Worker, top_up: OperationId, packet: OperationId, *, closed: bool) -> tuple[Event, ...]:
    id = str(packet)
    terms = PacketTerms(OWNER, "CNY", HISTORY_SPLIT, "Happy New Year", 3_600)
    amounts = await worker.amounts.of_packet(id, HISTORY_SPLIT)
    events: list[Event] = [
        WalletToppedUp(str(top_up), TopUpTerms(OWNER, OWNER, "CNY", HISTORY_SPLIT.total_minor)),
        PacketOpened(id, terms, commitment(worker.amounts.seed(id), HISTORY_SPLIT)),
        ShareClaimed(id, OWNER, 1, amounts[0], 1),
    ]
    if closed:
        events.append(PacketClosed(id, "closed", HISTORY_SPLIT.total_minor - amounts[0]))
    return tuple(events)


async def sealed(deployment: Deployment) -> None:
    """Waits until all past days are sealed, and nobody looks after their packets any more. Some minutes after they were
    written, which pass at once."""
    await deployment.rows("UPDATE ledger_day SET asked_at = asked_at - interval '1 hour' WHERE day < current_date")
    wanted = (
        "SELECT FROM ledger_day WHERE sealed_at IS NULL AND day < (now() AT TIME ZONE 'UTC')::date - 1"
        " UNION ALL SELECT FROM ending WHERE day < (now() AT TIME ZONE 'UTC')::date - 1"
    )
    async with asyncio.timeout(LONG_S):
        while await deployment.rows(wanted):
            await asyncio.sleep(0.1)


async def statement_of(deployment: Deployment, worker: Worker) -> list[Entry]:
    """All of it, page by page."""
    statements = Statements(deployment.settings, worker.books)
    listed, after = list[Entry](), 0
    while True:
        page = await statements.list_entries(OWNER, after, 100)
        listed += page.entries
        if page.next is None:
            break
        assert len(page.entries) == 100
        after = int(page.next)
    return listed
