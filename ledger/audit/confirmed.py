"""Reads what Redis has confirmed, into a table of the audit's own session, where Postgres compares it.

What is read here is final when it is read (audit.lua), so the record that it came from was acknowledged before this
reading ended. Who then asks where the log ends, and waits until all of that is settled, must find all of it in the
ledger: claims made meanwhile, keys that come and go, and shards that are opened anew change nothing of that. Nor can a
Fence have cut off what was confirmed: Redis is closed before the Fence is written, and confirms nothing from then on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import msgpack

from ledger.audit.findings import AuditError, Findings
from ledger.audit.snapshot import LedgerSession
from redpacket.commit.amounts import Amounts
from redpacket.events import PacketTerms
from redpacket.ids import date_of, parse_id
from redpacket.operations import Claim
from redpacket.shard.audit import (
    ConfirmedOperation,
    DamagedError,
    confirmed_claims,
    confirmed_operations,
    find_names,
    held_wallets,
)
from redpacket.shard.client import ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.split import SplitError, check_parameters

T = TypeVar("T")

# A shard that is being opened, or a Redis that is being restarted, is waited for.
_PATIENCE_S = 30.0
_AGAIN_S = 0.2
_ROWS_AT_ONCE = 10_000
_TOLD_EACH = 10_000

# What a column of Postgres takes.
_INTEGER_MAX, _BIGINT_MAX = 2**31 - 1, 2**63 - 1

_encode = msgpack.Encoder().encode


class ConfirmedReader:
    """Reads once through all that Redis holds."""

    def __init__(
        self,
        client: ShardClient,
        session: LedgerSession,
        amounts: Amounts,
        findings: Findings,
        tell: Callable[[str], None],
    ) -> None:
        self._client = client
        self._session = session
        self._amounts = amounts
        self._findings = findings
        self._tell = tell
        self._claims: list[tuple[object, ...]] = []
        self._seen = 0

    async def read(self, shards: int) -> None:
        """Raises AuditError where a shard stays closed, or Redis away."""
        # Also where there is nothing to be found: a closed shard would hide what it holds.
        for shard in range(shards):
            await self._ask(lambda shard=shard: confirmed_operations(self._client, shard, []))  # type: ignore[misc]
        try:
            async for shard, kind, names in find_names(self._client):
                await (self._read_wallets if kind == "wallet" else self._read_operations)(shard, names)
        except ShardUnreachableError as error:
            raise AuditError(f"redis: {error}") from error
        await self._keep_claims()

    async def _read_operations(self, shard: int, identities: Sequence[str]) -> None:
        rows = []
        for operation in await self._undamaged(confirmed_operations, "operation", shard, identities):
            try:
                rows.append(_row(shard, operation))
                await self._read_packet(shard, operation)
            except DamagedError as error:
                self._tell_damaged("operation", shard, operation.identity, error)
        await self._session.keep_operations(rows)
        before, self._seen = self._seen, self._seen + len(identities)
        if before // _TOLD_EACH != self._seen // _TOLD_EACH:
            self._tell(f"redis: {self._seen} operations")

    async def _read_wallets(self, shard: int, owners: Sequence[str]) -> None:
        rows = []
        for wallet in await self._undamaged(held_wallets, "wallet", shard, owners):
            if abs(wallet.credited_minor) <= _BIGINT_MAX and "\0" not in wallet.owner:
                rows.append((shard, wallet.owner, wallet.credited_minor))
            else:
                self._tell_damaged("wallet", shard, wallet.owner, DamagedError(f"credited {wallet.credited_minor}"))
        await self._session.keep_wallets(rows)

    async def _undamaged(
        self,
        read: Callable[[ShardClient, int, Sequence[str]], Awaitable[Sequence[T]]],
        kind: str,
        shard: int,
        names: Sequence[str],
    ) -> Sequence[T]:
        """What `read` gives of these, without those that are damaged, which are told."""
        try:
            return await self._ask(lambda: read(self._client, shard, names))
        except DamagedError as error:
            if len(names) == 1:
                self._tell_damaged(kind, shard, names[0], error)
                return []
        # Whichever of them it is.
        return [it for name in names for it in await self._undamaged(read, kind, shard, [name])]

    def _tell_damaged(self, kind: str, shard: int, name: str, error: DamagedError) -> None:
        self._findings.violate("I4", f"{kind} {name} of shard {shard} is damaged in Redis: {error}")

    async def _read_packet(self, shard: int, operation: ConfirmedOperation) -> None:
        if operation.amiss:
            self._findings.violate("I2", f"packet {operation.id} does not fit together in Redis: {operation.amiss}")
        if operation.shares and isinstance(operation.terms, PacketTerms):
            await self._read_claims(shard, operation, operation.terms)

    async def _read_claims(self, shard: int, operation: ConfirmedOperation, terms: PacketTerms) -> None:
        claims = await self._ask(lambda: confirmed_claims(self._client, shard, operation.identity))
        if not claims:
            return
        try:
            check_parameters(terms.split)
        except SplitError as error:
            raise DamagedError(f"there is no such split: {error}") from error
        amounts = await self._amounts.of_packet(operation.id, terms.split)
        day = date_of(operation.id)
        for claim in claims.values():
            _check_claim(claim)
            amount_minor = amounts[claim.share - 1] if 1 <= claim.share <= len(amounts) else 0
            row = (shard, day, operation.id, claim.share, claim.owner, claim.sequence, amount_minor, claim.at_ms)
            self._claims.append(row)
        if len(self._claims) >= _ROWS_AT_ONCE:
            await self._keep_claims()

    async def _keep_claims(self) -> None:
        await self._session.keep_claims(self._claims)
        self._claims = []

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    try:
                        return await call()
                    except (ShardClosedError, ShardUnreachableError) as error:
                        why = error
                    await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            raise AuditError(f"redis: {why}") from None


def _row(shard: int, operation: ConfirmedOperation) -> tuple[object, ...]:
    known = parse_id(operation.id)
    if known is None or known.identity != operation.identity:
        raise DamagedError(f"its id is {operation.id!r}")
    if max(abs(operation.at_ms), abs(operation.over_at_ms)) > _BIGINT_MAX:
        raise DamagedError(f"it is of {operation.at_ms}, over at {operation.over_at_ms}")
    identity, terms = bytes.fromhex(operation.identity), _encode(operation.terms)
    return shard, identity, operation.id, operation.at_ms, terms, operation.state, operation.over_at_ms


def _check_claim(claim: Claim) -> None:
    fits = max(claim.share, claim.sequence) <= _INTEGER_MAX and claim.at_ms <= _BIGINT_MAX
    if not fits or "\0" in claim.owner:
        raise DamagedError(f"it has a claim {claim}")
