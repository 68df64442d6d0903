"""What was ignored because its epoch had been fenced off: does an opening explain it?

Redis is closed before the Fence is written, and confirms nothing from then on. So what comes behind the Fence was
reserved before it, and was told to nobody. What was reserved after it comes from a Redis that went on although its
successor was open, which may have confirmed it: acknowledged money that the ledger does not have.
"""

from collections import defaultdict
from collections.abc import Sequence

from ledger.audit.findings import Findings
from ledger.audit.judge import Ignored
from ledger.audit.log import AuditLog
from ledger.audit.snapshot import LedgerSession
from ledger.fenced import CLOCKS_APART_MS


async def check_ignored(
    session: LedgerSession, log: AuditLog, findings: Findings, shard: int, ignored: Sequence[Ignored]
) -> None:
    """`ignored`: of one shard, all that was read. Raises AuditError."""
    by_epoch: defaultdict[int, list[Ignored]] = defaultdict(list)
    for batch in ignored:
        by_epoch[batch.epoch].append(batch)
    for epoch, batches in sorted(by_epoch.items()):
        fence = await session.row("fenced_at", shard, epoch)
        fenced_ms = None
        if fence["kafka_offset"] is not None:
            fenced_ms = await log.written_ms(shard, fence["kafka_offset"])
        judge_ignored(findings, shard, epoch, batches, fenced_ms)


def judge_ignored(
    findings: Findings, shard: int, epoch: int, batches: Sequence[Ignored], fenced_ms: int | None
) -> None:
    """`fenced_ms`: when the first Fence above this epoch was written, None where the log does not have it any more."""
    what = f"of shard {shard} and epoch {epoch}"
    if fenced_ms is None:
        events = sum(it.events for it in batches)
        findings.unchecked.append(
            f"{events} events {what} were ignored, and when that epoch was fenced off is not in the log any more"
        )
        return
    late = [it for it in batches if it.at_ms > fenced_ms + CLOCKS_APART_MS]
    if late:
        events, most_ms = sum(it.events for it in late), max(it.at_ms for it in late) - fenced_ms
        findings.violate(
            "I4",
            f"{events} events {what} (the first in record {shard}/{late[0].kafka_offset}) are ignored, and were"
            f" reserved up to {most_ms / 1000:.1f} s after that epoch had been fenced off: a Redis went on whose"
            " successor was open, and who was told 201 for them has nothing",
        )
    if early := sum(it.events for it in batches) - sum(it.events for it in late):
        findings.count("I5", "of these reserved before their shard was opened anew", early)
