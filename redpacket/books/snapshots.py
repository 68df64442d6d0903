"""Snapshots for load: what the ledger knows of an operation or a wallet, and up to which offset it is so."""

from collections.abc import Iterator, Mapping
from datetime import date

import asyncpg
from msgspec import Struct, msgpack

from redpacket.books.database import Books
from redpacket.events import PacketTerms, Terms
from redpacket.ids import unix_ms
from redpacket.operations import Claim, KnownOperation

_decode_terms = msgpack.Decoder(Terms).decode


# Of one snapshot: some 0.1 s of Postgres.
_OPERATIONS_MAX, _CLAIMS_MAX = 16, 10_000


class KnownIdentities(Struct, frozen=True):
    """`days`: by identity, those of the ones asked for that the ledger, settled up to `next_offset`, knows; each with
    the day of its creation. `claims_max`: as many claims may be to it."""

    next_offset: int
    days: dict[str, date]
    claims_max: dict[str, int]

    def in_chunks(self) -> Iterator[dict[str, date]]:
        """The identities with their days, as many at a time as one snapshot should hold."""
        chunk: dict[str, date] = {}
        claims = 0
        for identity, day in self.days.items():
            count = self.claims_max[identity]
            if chunk and (len(chunk) == _OPERATIONS_MAX or claims + count > _CLAIMS_MAX):
                yield chunk
                chunk, claims = {}, 0
            chunk[identity] = day
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
    known = [identity.hex() for identity in row["identities"]]
    claims_max = dict(zip(known, map(_claims_max, row["terms"]), strict=True))
    return KnownIdentities(row["next_offset"], dict(zip(known, row["days"], strict=True)), claims_max)


async def operation_snapshots(books: Books, shard: int, known_days: Mapping[str, date]) -> OperationSnapshots:
    """`known_days`: identities, each with the day of its creation (KnownIdentities)."""
    identities = [bytes.fromhex(identity) for identity in known_days]
    rows = await books.rows("operation_snapshots", shard, identities, days=set(known_days.values()))
    known = {row["identity"].hex(): _known(row) for row in rows if row["identity"] is not None}
    return OperationSnapshots(rows[0]["next_offset"], known)


def _claims_max(packed: bytes) -> int:
    terms = _decode_terms(packed)
    return terms.split.shares if isinstance(terms, PacketTerms) else 0


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
