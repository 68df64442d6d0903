"""Snapshots for load: what the ledger knows of an operation or a wallet, and up to which offset it is so."""

from msgspec import Struct, msgpack

from redpacket.books.database import Books
from redpacket.events import Terms
from redpacket.ids import unix_ms
from redpacket.packets import Claim

_decode_terms = msgpack.Decoder(Terms).decode


class KnownOperation(Struct, frozen=True):
    id: str
    at_ms: int
    terms: Terms
    state: str
    claims: tuple[Claim, ...]


class OperationSnapshot(Struct, frozen=True):
    """`operation` is None where the ledger, settled up to `next_offset`, does not know the identity."""

    next_offset: int
    operation: KnownOperation | None


class WalletSnapshot(Struct, frozen=True):
    next_offset: int
    credits_minor: int
    debits_minor: int


class WalletAfterAll(Struct, frozen=True):
    next_offsets: list[int]
    credits_minor: int


async def operation_snapshot(books: Books, shard: int, identity: str) -> OperationSnapshot:
    (row,) = await books.rows("operation_snapshot", shard, bytes.fromhex(identity))
    if row["id"] is None:
        return OperationSnapshot(row["next_offset"], None)
    claims = zip(row["owners"] or (), row["shares"] or (), row["sequences"] or (), row["times"] or (), strict=True)
    known = KnownOperation(
        row["id"],
        unix_ms(row["at"]),
        _decode_terms(row["terms"]),
        row["state"] or "",
        tuple(Claim(owner, share, sequence, unix_ms(at)) for owner, share, sequence, at in claims),
    )
    return OperationSnapshot(row["next_offset"], known)


async def wallet_snapshot(books: Books, shard: int, owner: str) -> WalletSnapshot:
    (row,) = await books.rows("wallet_snapshot", shard, owner)
    return WalletSnapshot(row["next_offset"], row["credits_minor"], row["debits_minor"])


async def wallet_after_all(books: Books, shard: int, owner: str) -> WalletAfterAll:
    (row,) = await books.rows("wallet_after_all", shard, owner)
    return WalletAfterAll(row["next_offsets"], row["credits_minor"])
