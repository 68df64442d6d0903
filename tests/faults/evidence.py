"""What the ledger and the log hold once all is at rest, as plain data: fetched here, judged elsewhere."""

import asyncpg
import msgspec
from msgspec import Struct

from tests.faults.replaced import read_log
from tests.system import System


class Account(Struct, frozen=True):
    id: int
    owner: str
    kind: str
    debits: int
    credits: int
    version: int


class Posting(Struct, frozen=True):
    """Version and balance of each account are those that it made."""

    kind: str
    operation: str
    amount: int
    debit: int
    debit_version: int
    debit_balance: int
    credit: int
    credit_version: int
    credit_balance: int


class Packet(Struct, frozen=True):
    id: str
    owner: str
    kind: str
    total: int
    shares: int
    commitment: str
    opened_at_ms: int
    expires_at_ms: int
    state: str
    claimed: int
    claimed_shares: int
    refunded: int
    # When what was left went back; 0 where nothing has.
    over_at_ms: int


class Claim(Struct, frozen=True):
    packet: str
    owner: str
    share: int
    amount: int
    at_ms: int


class ShardLog(Struct, frozen=True):
    """`records`: the bytes of every record of the partition below next_offset. `chain`: the ledger's link of each that
    is settled, in their order; `head`: the last by itself."""

    next_offset: int
    head: bytes
    chain: tuple[bytes, ...]
    records: tuple[bytes, ...]


class Evidence(Struct, frozen=True):
    """`operations`: the id and the kind of each."""

    accounts: tuple[Account, ...] = ()
    postings: tuple[Posting, ...] = ()
    packets: tuple[Packet, ...] = ()
    claims: tuple[Claim, ...] = ()
    operations: tuple[tuple[str, str], ...] = ()
    shards: tuple[ShardLog, ...] = ()
    dead_letters: tuple[str, ...] = ()


_ACCOUNTS = "SELECT id, owner, kind, debits_minor, credits_minor, version FROM account"
_POSTINGS = """SELECT kind, operation, amount_minor, debit_account, debit_version, debit_balance_minor,
    credit_account, credit_version, credit_balance_minor FROM posting"""
_PACKETS = """SELECT id, owner, kind, total_minor, shares, commitment,
    (extract(epoch FROM opened_at) * 1000)::bigint, (extract(epoch FROM expires_at) * 1000)::bigint,
    state, claimed_minor, claimed_shares, refunded_minor,
    coalesce((extract(epoch FROM over_at) * 1000)::bigint, 0) FROM packet"""
_CLAIMS = """SELECT packet, owner, share, amount_minor, (extract(epoch FROM claimed_at) * 1000)::bigint
    FROM claim"""
_DEAD_LETTERS = "SELECT shard || '/' || kafka_offset || '/' || item || ': ' || reason FROM dead_letter"


async def gather_evidence(system: System) -> Evidence:
    """One reading of the ledger, and the log as it was just after it."""
    connection = await asyncpg.connect(system.settings.postgres_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            shards = await connection.fetch("SELECT next_offset, chain FROM shard ORDER BY shard")
            links = await connection.fetch("SELECT shard, chain FROM record ORDER BY shard, kafka_offset")
            topic = await connection.fetchval("SELECT topic FROM deployment")
            books = await _read_books(connection)
    finally:
        await connection.close()
    log = await read_log(system.settings.kafka_bootstrap, topic, system.settings.shards)
    chains: dict[int, list[bytes]] = {}
    for row in links:
        chains.setdefault(row["shard"], []).append(row["chain"])
    logs = (
        # A packet may have expired since the ledger was read.
        ShardLog(
            row["next_offset"], row["chain"], tuple(chains.get(shard, ())), tuple(log[shard][: row["next_offset"]])
        )
        for shard, row in enumerate(shards)
    )
    return msgspec.structs.replace(books, shards=tuple(logs))


async def _read_books(connection: asyncpg.Connection) -> Evidence:
    return Evidence(
        accounts=tuple(Account(*row) for row in await connection.fetch(_ACCOUNTS)),
        postings=tuple(Posting(*row) for row in await connection.fetch(_POSTINGS)),
        packets=tuple(Packet(*row) for row in await connection.fetch(_PACKETS)),
        claims=tuple(Claim(*row) for row in await connection.fetch(_CLAIMS)),
        operations=tuple((row["id"], row["kind"]) for row in await connection.fetch("SELECT id, kind FROM operation")),
        dead_letters=tuple(row[0] for row in await connection.fetch(_DEAD_LETTERS)),
    )
