"""The ledger by itself: what violations.sql finds wrong in it, the figures that were compared, and its marks."""

from collections.abc import Callable, Sequence

import asyncpg

from ledger.audit.findings import Findings
from ledger.audit.log import AuditLog
from ledger.audit.settled import wait_settled
from ledger.audit.snapshot import VIOLATIONS, LedgerSession

Tell = Callable[[str], None]


async def check_ledger(session: LedgerSession, findings: Findings, tell: Tell) -> None:
    """Every block of violations.sql, in the snapshot of `session`."""
    for name in VIOLATIONS:
        tell(f"postgres: {name.replace('_', ' ')}")
        findings.violate_often(name.split("_")[0], *await session.violations(name))
    figures = dict(await session.row("figures"))
    distinct = await session.row("counts_of_packets")
    left_minor = figures["total_minor"] - figures["claimed_minor"] - figures["refunded_minor"]
    findings.figures["I1"] |= {
        "packets": figures["packets"],
        "total": figures["total_minor"],
        "claimed": figures["claimed_minor"],
        "refunded": figures["refunded_minor"],
        "remaining": left_minor,
        "in escrow": figures["escrow_minor"],
        "accounts": figures["accounts"],
        "debits": figures["debits_minor"],
        "credits": figures["credits_minor"],
        "posted": figures["posted_minor"],
    }
    findings.figures["I2"] |= {"claims": figures["claims"], "different (packet, share)": distinct["shares"]}
    findings.figures["I3"] |= {"claims": figures["claims"], "different (packet, person)": distinct["owners"]}
    findings.figures["I5"] |= {
        "postings": figures["postings"],
        "operations": figures["operations"],
        "claims": figures["claims"],
        "dead letters waiting": figures["letters_waiting"],
        "dead letters rejected": figures["letters_rejected"],
    }
    if waiting := figures["letters_waiting"]:
        # What Redis has confirmed of them excuses nothing for good: no mark moves over them.
        findings.unchecked.append(f"{waiting} dead letters wait for a person: see `redpacket deadletters list`")
    if rejected := figures["letters_rejected"]:
        findings.notes.append(f"{rejected} dead letters were rejected: whoever was told of them was told wrong")


async def check_below_zero(
    session: LedgerSession, log: AuditLog, findings: Findings, low: Sequence[asyncpg.Record]
) -> None:
    """Wallets that were below zero in the snapshot: shards are settled at different paces, so what was credited to them
    may have been on its way. It was in the log, though, before it was spent. Once all of that is settled, the credits
    must make up for what the snapshot had as debits; credits never go down. Outside of the snapshot."""
    findings.count("I1", "wallets below zero", 0)
    if not low:
        return
    await wait_settled(session, await log.ends())
    credits = {row["id"]: row["credits_minor"] for row in await session.rows("credits_of", [it["id"] for it in low])}
    for wallet in low:
        if credits.get(wallet["id"], 0) < wallet["debits_minor"]:
            findings.count("I1", "wallets below zero")
            findings.violate(
                "I1",
                f"the wallet of {wallet['owner']} is below zero: debits {wallet['debits_minor']}, credits"
                f" {credits.get(wallet['id'], 0)} with all settled that was in the log",
            )
