"""Snapshots for load: what the ledger knows of an operation or a wallet, and up to which offset it is so."""

from collections.abc import Iterator, Sequence

import asyncpg
from msgspec import Struct, msgpack

from redpacket.books.database import Books
from redpacket.events import Terms
from redpacket.ids import unix_ms
from redpacket.operations import Claim, KnownOperation

_decode_terms = msgpack.Decoder(Terms).decode


# Of one snapshot: some 0.1 s of Postgres.
_OPERATIONS_MAX, _CLAIMS_MAX = 16, 10_000


class KnownIdentities(Struct, frozen=True):
    """`claims`: by identity, those of the ones asked for that the ledger, settled up to `next_offset`, knows; each with
    the number of claims to it."""

    next_offset: int
    claims: dict[str, int]

    def in_chunks(self) -> Iterator[list[str]]:
        """The identities, as many at a time as one snapshot should hold."""
        chunk: list[str] = []
        claims = 0
        for identity, count in self.claims.items():
            if chunk and (len(chunk) == _OPERATIONS_MAX or claims + count > _CLAIMS_MAX):
                yield chunk
                chunk, claims = [], 0
            chunk.append(identity)
            claims += count
        if chunk:
            yield chunk


class OperationSnapshots(Struct, frozen=True):
    """`operations`: by identity, those of the ones asked for that the ledger knows."""

    next_offset: int
    operations: dict[str, KnownOperation]


class WalletSnapshots(Struct, frozen=True):
    """`wallets`: by owner, all that ever came in and all that ever went out, in minor units. `frozen`: the owners
    of whom a send is set aside until a person has decided."""

    next_offset: int
    wallets: dict[str, tuple[int, int]]
    frozen: frozenset[str]


async def known_identities(books: Books, shard: int, identities: list[str]) -> KnownIdentities:
    (row,) = await books.rows("known_identities", shard, [bytes.fromhex(identity) for identity in identities])
    known = zip(row["identities"], row["claims"], strict=True)
    return KnownIdentities(row["next_offset"], {identity.hex(): claims for identity, claims in known})


async def operation_snapshots(books: Books, shard: int, identities: Sequence[str]) -> OperationSnapshots:
    rows = await books.rows("operation_snapshots", shard, [bytes.fromhex(identity) for identity in identities])
    known = {row["identity"].hex(): _known(row) for row in rows if row["identity"] is not None}
    return OperationSnapshots(rows[0]["next_offset"], known)


def _known(row: asyncpg.Record) -> KnownOperation:
    claims = zip(row["owners"] or (), row["shares"] or (), row["sequences"] or (), row["times"] or (), strict=True)
    return KnownOperation(
        row["id"],
        unix_ms(row["at"]),
        _decode_terms(row["terms"]),
        row["state"] or "",
        tuple(Claim(owner, share, sequence, unix_ms(at)) for owner, share, sequence, at in claims),
        unix_ms(row["over_at"]) if row["over_at"] else 0,
        row["frozen"],
    )


async def wallet_snapshots(books: Books, shard: int, owners: list[str]) -> WalletSnapshots:
    rows = await books.rows("wallet_snapshots", shard, owners)
    return WalletSnapshots(
        rows[0]["next_offset"],
        {row["owner"]: (row["credits_minor"], row["debits_minor"]) for row in rows},
        frozenset(row["owner"] for row in rows if row["frozen"]),
    )
