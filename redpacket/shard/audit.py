"""What Redis holds as confirmed, all of it, bit by bit: for an audit."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec import Struct, msgpack
from redis.exceptions import ResponseError

from redpacket.events import Terms
from redpacket.operations import Claim
from redpacket.shard.client import ShardClient

_KEYS_AT_ONCE = 500
# Of one call: some hundred microseconds of Redis.
_NAMES_AT_ONCE, _CLAIMS_AT_ONCE = 100, 250

_NAME = re.compile(r"\{rp(\d+)\}\d+:(op|wallet):(.+)")


class DamagedError(Exception):
    """What Redis holds there is nothing that this system has written."""


class ConfirmedOperation(Struct, frozen=True, array_like=True):
    """`shares` is 0 of what is no packet; `state` is 'closed' or 'expired' once the refund is confirmed, else ''.
    `amiss`: what of a packet does not fit together there, '' where all does."""

    identity: str
    id: str
    at_ms: int
    terms: Terms
    shares: int
    state: str
    over_at_ms: int
    amiss: str


class HeldWallet(Struct, frozen=True, array_like=True):
    """`credited_minor` is what some reading of the ledger found; `reserved_minor` has what is unconfirmed, too."""

    owner: str
    credited_minor: int
    reserved_minor: int


class _ClaimPage(Struct, frozen=True, array_like=True):
    further: str
    claims: tuple[Claim, ...]


# A function that fails on what it finds, and what is none of the words and numbers that should be there.
_DAMAGES = (ResponseError, msgspec.DecodeError, UnicodeDecodeError)

_encode = msgpack.Encoder().encode
_decode_operations = msgpack.Decoder(tuple[ConfirmedOperation, ...]).decode
_decode_wallets = msgpack.Decoder(tuple[HeldWallet, ...]).decode
_decode_page = msgpack.Decoder(_ClaimPage).decode


async def find_names(client: ShardClient) -> AsyncIterator[tuple[int, str, list[str]]]:
    """Shards, each with the identities of some operations ('op') or with the owners of some wallets ('wallet') that it
    holds, under whatever epoch; some maybe twice.

    What is there from the first to the last step is found; what is loaded or evicted meanwhile may be or not.
    """
    cursor = 0
    while True:
        cursor, names = await client.scan(cursor, _KEYS_AT_ONCE)
        by_shard: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for name in names:
            if found := _NAME.fullmatch(name):
                by_shard[int(found[1]), found[2]].append(found[3])
        for (shard, kind), held in by_shard.items():
            for start in range(0, len(held), _NAMES_AT_ONCE):
                yield shard, kind, held[start : start + _NAMES_AT_ONCE]
        if cursor == 0:
            return


async def confirmed_operations(
    client: ShardClient, shard: int, identities: Sequence[str]
) -> tuple[ConfirmedOperation, ...]:
    """Those of `identities` that are held under the shard's present epoch, and confirmed.

    Raises DamagedError, for one that is damaged, and what ShardClient.call raises.
    """
    try:
        return _decode_operations(await client.call("audit_operations", shard, _encode(identities)))
    except _DAMAGES as error:
        raise DamagedError(str(error)) from error


async def held_wallets(client: ShardClient, shard: int, owners: Sequence[str]) -> tuple[HeldWallet, ...]:
    """Those of `owners` that are held under the shard's present epoch. Raises as `confirmed_operations` does."""
    try:
        return _decode_wallets(await client.call("audit_wallets", shard, _encode(owners)))
    except _DAMAGES as error:
        raise DamagedError(str(error)) from error


async def confirmed_claims(client: ShardClient, shard: int, identity: str) -> dict[str, Claim]:
    """By owner. No more than a packet has shares. Raises as `confirmed_operations` does."""
    claims: dict[str, Claim] = {}
    cursor = "0"
    while True:
        try:
            page = _decode_page(await client.call("audit_claims", shard, identity, cursor, _CLAIMS_AT_ONCE))
        except _DAMAGES as error:
            raise DamagedError(str(error)) from error
        claims.update((claim.owner, claim) for claim in page.claims)
        if page.further == "0":
            return claims
        cursor = page.further
