"""`redpacket audit`: the order in which it reads, which is what makes it sound while the system works.

1. Redis: what is confirmed there (confirmed.py). All of it was in the log by the end of this reading.
2. Where the log ends now. So all of 1 lies before that.
3. Wait until the ledger is settled so far.
4. One snapshot of the ledger. What Redis had confirmed must be in it, and all that is in it must be in the log below
   the shards' offsets of the same snapshot: what happens meanwhile lies above these, and concerns the next audit.
5. The log up to these offsets, from the marks or from where it was asked for.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Literal

import asyncpg

from ledger.audit.compare import LogComparison, ShardRange
from ledger.audit.confirmed import ConfirmedReader
from ledger.audit.confirmed_compare import check_confirmed, check_wallets
from ledger.audit.findings import AuditError, Findings
from ledger.audit.ledger import check_below_zero, check_ledger
from ledger.audit.log import AuditLog, reading_log
from ledger.audit.mark import check_marks, keep_marks
from ledger.audit.settled import wait_settled
from ledger.audit.snapshot import LedgerSession, ledger_session
from redpacket.books.database import Books
from redpacket.books.deployment import check_deployment, read_keys
from redpacket.books.locks import lock_shortage
from redpacket.commit.amounts import Amounts
from redpacket.commit.place import check_redis, deployments_redis
from redpacket.log.topic import cluster_id
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient, ShardUnreachableError
from redpacket.shard.mark import Mark

# From the marks, from the first record that is there, or from a time on.
Since = Literal["mark", "start"] | datetime


def parse_since(text: str) -> Since:
    """Raises ValueError."""
    if text in ("mark", "start"):
        return text  # type: ignore[return-value]
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    # Kafka knows no time before 1970, and from a time to come on there is nothing of which anything could hold.
    if not datetime.fromtimestamp(0, UTC) <= at <= datetime.now(UTC):
        raise ValueError(text)
    return at


async def audit(settings: Settings, since: Since, tell: Callable[[str], None]) -> Findings:
    """Checks all of it, and keeps the marks where all holds. `tell` is told how far it is.

    Raises AuditError where it could not be made: nothing is said then. DeploymentError, also where the settings lead to
    another Redis, BooksUnavailableError.
    """
    keys = read_keys(settings)
    books = Books(settings)
    await books.start()
    async with aclosing(books):
        deployment = await check_deployment(books, settings, keys, await cluster_id(settings))
        mark = await deployments_redis(books, deployment)
        if shortage := await lock_shortage(books, times=1):
            raise AuditError(shortage)
    findings, amounts = Findings(), Amounts(keys.split_key)
    async with ledger_session(settings) as session, reading_log(settings, deployment.topic) as log:
        await _read_confirmed(settings, mark, session, amounts, findings, tell)
        tell("waiting until the ledger is settled up to where the log ends now")
        held = await wait_settled(session, await log.ends())
        async with session.snapshot():
            shards = await session.rows("shards")
            tell("postgres: what is behind the marks")
            below = await check_marks(session, findings, shards)
            await check_ledger(session, findings, tell)
            await check_confirmed(session, findings, held)
            await check_wallets(session, findings)
            tell("log: reading what is settled")
            ranges = await _ranges(session, log, findings, shards, since)
            await LogComparison(session, log, amounts, findings, tell).compare(ranges, deployment.shards)
            low = await session.rows("below_zero")
        await check_below_zero(session, log, findings, low)
        for shard in sorted(held):
            findings.unchecked.append(
                f"shard {shard} is held at offset {shards[shard]['next_offset']}, and what is behind that waits: see"
                " `redpacket deadletters list`"
            )
        if findings.all_hold:
            await keep_marks(session, findings, below)
    return findings


async def _read_confirmed(
    settings: Settings,
    mark: Mark,
    session: LedgerSession,
    amounts: Amounts,
    findings: Findings,
    tell: Callable[[str], None],
) -> None:
    tell("redis: reading what is confirmed")
    client = ShardClient(settings)
    async with aclosing(client):
        await check_redis(client, settings, mark)
        try:
            await client.load_library()
        except ShardUnreachableError as error:
            raise AuditError(f"redis: {error}") from error
        await ConfirmedReader(client, session, amounts, findings, tell).read(settings.shards)


async def _ranges(
    session: LedgerSession, log: AuditLog, findings: Findings, shards: Sequence[asyncpg.Record], since: Since
) -> list[ShardRange]:
    begins, ends = await log.begins(), await log.ends()
    wanted = await _wanted(log, shards, since)
    ranges = []
    for shard, begin, end, want in zip(shards, begins, ends, wanted, strict=True):
        number, next_offset = shard["shard"], shard["next_offset"]
        first = min(max(want, begin), next_offset)
        if want < begin:
            gone = f"shard {number}: records {want} to {begin - 1} are not in the log any more"
            if since == "mark":
                # No audit has read them; with a mark behind them nobody would ever be told again.
                findings.unchecked.append(f"{gone}, and no audit has read them: `--since start` goes on without them")
            else:
                findings.notes.append(gone)
        if begin > next_offset or end < next_offset:
            findings.violate("I8", f"shard {number} is settled up to {next_offset}, the log has {begin} to {end}")
        state = await session.row("state_at", number, first)
        # From the mark, which is compared with the ledger by itself; else what the ledger says that was before.
        chain = shard["mark_chain"] if first == shard["mark_offset"] else state["chain"]
        ranges.append(
            ShardRange(
                shard=number,
                from_offset=first,
                to_offset=max(first, min(end, next_offset)),
                next_offset=next_offset,
                chain=chain or bytes(32),
                epoch_fenced=state["epoch_fenced"],
                head=shard["chain"],
                fenced=shard["epoch_fenced"],
                joins=want <= (shard["mark_offset"] or 0),
            )
        )
    return ranges


async def _wanted(log: AuditLog, shards: Sequence[asyncpg.Record], since: Since) -> list[int]:
    if since == "start":
        return [0] * len(shards)
    marks = [shard["mark_offset"] or 0 for shard in shards]
    if since == "mark":
        return marks
    # A shard that has had nothing since then has nothing to be read.
    found = await log.offsets_at(since)
    return [shard["next_offset"] if at is None else at for at, shard in zip(found, shards, strict=True)]
