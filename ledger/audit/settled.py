"""Waits until the ledger has settled what the log had at some moment."""

import asyncio
from collections.abc import Sequence

from ledger.audit.findings import AuditError
from ledger.audit.snapshot import LedgerSession

_STILL_S = 30.0
_AGAIN_S = 0.05


async def wait_settled(session: LedgerSession, ends: Sequence[int]) -> frozenset[int]:
    """The shards that do not get there since a record holds them until a person decides.

    Raises AuditError where another one stands still for half a minute.
    """
    loop = asyncio.get_running_loop()
    before: list[tuple[int, int]] = []
    since_s = loop.time()
    while True:
        rows = await session.rows("positions")
        behind = [row for row in rows if row["next_offset"] < ends[row["shard"]]]
        held = frozenset(row["shard"] for row in behind if row["held"])
        if len(held) == len(behind):
            return held
        # Of those alone that are waited for: while claims are made, some shard moves at any time.
        offsets = [(row["shard"], row["next_offset"]) for row in behind]
        if offsets != before:
            before, since_s = offsets, loop.time()
        elif loop.time() - since_s > _STILL_S:
            shards = ", ".join(f"{it['shard']} at {it['next_offset']} of {ends[it['shard']]}" for it in behind)
            raise AuditError(f"the ledger does not settle: shard {shards}. Is a ledger worker running?")
        await asyncio.sleep(_AGAIN_S)
