"""What the ledger and the log hold once all is at rest, as plain data: read here, judged elsewhere."""

import asyncpg
from msgspec import Struct


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
    """`owners`: what is here is of all whose name begins so, and these deal with nobody else; empty: of everybody.
    `operations`: the id and the kind of each."""

    owners: str = ""
    accounts: tuple[Account, ...] = ()
    postings: tuple[Posting, ...] = ()
    packets: tuple[Packet, ...] = ()
    claims: tuple[Claim, ...] = ()
    operations: tuple[tuple[str, str], ...] = ()
    shards: tuple[ShardLog, ...] = ()
    dead_letters: tuple[str, ...] = ()


# $1: how owners begin. A system account (@) deals with them too.
_ACCOUNTS = """SELECT id, owner, kind, debits_minor, credits_minor, version FROM account
    WHERE starts_with(owner, $1) OR owner LIKE '@%'"""
_POSTINGS = """SELECT posting.kind, operation, amount_minor, debit_account, debit_version, debit_balance_minor,
    credit_account, credit_version, credit_balance_minor
    FROM posting LEFT JOIN account ON account.id = credit_account WHERE starts_with(coalesce(owner, ''), $1)"""
_PACKETS = """SELECT id, owner, kind, total_minor, shares, commitment,
    (extract(epoch FROM opened_at) * 1000)::bigint, (extract(epoch FROM expires_at) * 1000)::bigint,
    state, claimed_minor, claimed_shares, refunded_minor,
    coalesce((extract(epoch FROM over_at) * 1000)::bigint, 0) FROM packet WHERE starts_with(owner, $1)"""
_CLAIMS = """SELECT packet, claim.owner, share, amount_minor, (extract(epoch FROM claimed_at) * 1000)::bigint
    FROM claim LEFT JOIN packet ON packet.id = claim.packet AND packet.day = claim.day
    WHERE starts_with(coalesce(packet.owner, ''), $1)"""
# $2: their operations.
_OPERATIONS = "SELECT id, kind FROM operation WHERE $1 = '' OR id = ANY($2::text[])"
_DEAD_LETTERS = """SELECT shard || '/' || kafka_offset || '/' || item || ': ' || reason FROM dead_letter
    WHERE $1 = '' OR subject = ANY($2::text[]) OR starts_with(subject, 'wallet:' || $1)"""


async def read_books(connection: asyncpg.Connection, owners: str = "") -> Evidence:
    """What the ledger has of those whose names begin with `owners`. In one snapshot if the caller opened one."""
    postings = tuple(Posting(*row) for row in await connection.fetch(_POSTINGS, owners))
    ids = sorted({it.operation for it in postings})
    return Evidence(
        owners=owners,
        accounts=tuple(Account(*row) for row in await connection.fetch(_ACCOUNTS, owners)),
        postings=postings,
        packets=tuple(Packet(*row) for row in await connection.fetch(_PACKETS, owners)),
        claims=tuple(Claim(*row) for row in await connection.fetch(_CLAIMS, owners)),
        operations=tuple((row["id"], row["kind"]) for row in await connection.fetch(_OPERATIONS, owners, ids)),
        dead_letters=tuple(row[0] for row in await connection.fetch(_DEAD_LETTERS, owners, ids)),
    )
