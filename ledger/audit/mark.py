"""The mark: how far an audit in which all held has read the log, and what the ledger was below that.

With it the next audit reads only what is new, and still notices where something behind it was changed. It lies in the
same database as what it is about: against mistakes and broken disks, not against somebody who may write there and knows
what to write. Against him there are the heads of the chains, kept elsewhere, and an audit from the start.
"""

from collections.abc import Sequence

import asyncpg

from ledger.audit.findings import Findings
from ledger.audit.snapshot import LedgerSession


async def check_marks(
    session: LedgerSession, findings: Findings, shards: Sequence[asyncpg.Record]
) -> dict[int, asyncpg.Record]:
    """The ledger of the snapshot in sums, by shard, for the next marks; behind the last ones it must be as it was."""
    marks = [row["mark_offset"] or 0 for row in shards]
    bounds = [row["shard"] for row in shards], marks, [row["next_offset"] for row in shards]
    below = {row["shard"]: row for row in await session.rows("below", *bounds)}
    for shard in shards:
        if shard["mark_offset"] is None:
            continue
        findings.count("I6", "movements behind the marks", shard["movements"])
        where = f"shard {shard['shard']} below offset {shard['mark_offset']}, audited at {shard['at']:%F %T %Z}"
        if shard["next_offset"] < shard["mark_offset"]:
            findings.violate("I8", f"{where}: it is settled only up to {shard['next_offset']} now")
        elif shard["mark_offset"] and shard["chain_there"] != shard["mark_chain"]:
            now = "nothing" if shard["chain_there"] is None else shard["chain_there"].hex()
            findings.violate("I8", f"{where}: its chain ended in {shard['mark_chain'].hex()}, now {now}")
        was = shard["movements"], shard["moved_minor"], shard["digest"]
        row = below.get(shard["shard"])
        now_is = (row["marked_movements"], row["marked_minor"], row["marked_digest"]) if row else (0, 0, 0)
        if was != now_is:
            findings.violate(
                "I6",
                f"{where}: it had {was[0]} movements of {was[1]} (digest {was[2]}), now {now_is[0]} of {now_is[1]}"
                f" (digest {now_is[2]}): something settled was changed; `--since start` finds what",
            )
    return below


async def keep_marks(session: LedgerSession, findings: Findings, below: dict[int, asyncpg.Record]) -> None:
    """After the snapshot, and only where all holds in it. Not of a shard whose log was left out in part, between the
    last mark and what was read."""
    kept = [it for it in findings.shards if it.joins]
    sums = [below.get(it.shard) for it in kept]
    await session.write(
        "keep_mark",
        [it.shard for it in kept],
        [it.next_offset for it in kept],
        [it.head for it in kept],
        *([row[name] if row else 0 for row in sums] for name in ("movements", "moved_minor", "digest")),
    )
