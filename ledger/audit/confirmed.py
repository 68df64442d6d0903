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
from redpacket.ids import date_of
from redpacket.shard.audit import ConfirmedOperation, confirmed_claims, confirmed_operations, find_identities
from redpacket.shard.client import ShardClient, ShardClosedError, ShardUnreachableError

T = TypeVar("T")

# A shard that is being opened, or a Redis that is being restarted, is waited for.
_PATIENCE_S = 30.0
_AGAIN_S = 0.2
_ROWS_AT_ONCE = 10_000
_TOLD_EACH = 10_000

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
            async for shard, identities in find_identities(self._client):
                await self._read_operations(shard, identities)
        except ShardUnreachableError as error:
            raise AuditError(f"redis: {error}") from error
        await self._keep_claims()

    async def _read_operations(self, shard: int, identities: Sequence[str]) -> None:
        operations = await self._ask(lambda: confirmed_operations(self._client, shard, identities))
        await self._session.keep_operations([_row(shard, operation) for operation in operations])
        for operation in operations:
            if operation.amiss:
                self._findings.violate("I2", f"packet {operation.id} does not fit together in Redis: {operation.amiss}")
            if operation.shares and isinstance(operation.terms, PacketTerms):
                await self._read_claims(shard, operation, operation.terms)
        before, self._seen = self._seen, self._seen + len(identities)
        if before // _TOLD_EACH != self._seen // _TOLD_EACH:
            self._tell(f"redis: {self._seen} operations")

    async def _read_claims(self, shard: int, operation: ConfirmedOperation, terms: PacketTerms) -> None:
        claims = await self._ask(lambda: confirmed_claims(self._client, shard, operation.identity))
        if not claims:
            return
        amounts = await self._amounts.of_packet(operation.id, terms.split)
        day = date_of(operation.id)
        for claim in claims.values():
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
    identity, terms = bytes.fromhex(operation.identity), _encode(operation.terms)
    return shard, identity, operation.id, operation.at_ms, terms, operation.state, operation.over_at_ms
