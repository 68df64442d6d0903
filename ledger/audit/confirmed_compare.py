"""What Redis has confirmed against the ledger, which has settled all that was in the log when that had been read."""

from collections.abc import Sequence

import asyncpg
from msgspec import msgpack

from ledger.audit.expect import decoded_terms
from ledger.audit.findings import Findings
from ledger.audit.snapshot import LedgerSession
from redpacket.events import Event, PacketClosed, PacketOpened, PacketTerms, ShareClaimed

# More are not looked at one by one: that many are no misunderstanding.
_LOOKED_AT_MAX = 1_000

_decode_event = msgpack.Decoder(Event).decode


async def check_confirmed(session: LedgerSession, findings: Findings, held: frozenset[int]) -> None:
    """In the snapshot of `session`. `held`: shards in which a record waits for a person, and so all behind it."""
    figures = await session.row("confirmed_figures")
    findings.figures["I4"] |= {
        "operations in Redis": figures["operations"],
        "in Postgres": figures["operations_there"],
        "claims in Redis": figures["claims"],
        "these in Postgres": figures["claims_there"],
        "their amount in Redis": figures["claims_minor"],
        "their amount in Postgres": figures["claims_there_minor"],
    }
    claims = await session.rows("claims_unlike_the_ledger", _LOOKED_AT_MAX)
    operations = await session.rows("operations_unlike_the_ledger", _LOOKED_AT_MAX)
    letters = await _letters(session, claims, operations)
    for row in claims:
        claim, absent = (row["packet"], row["share"], row["owner"]), row["there_owner"] is None
        if _excused(findings, absent, claim, row["shard"] in held, letters):
            continue
        has = (
            f"{row['there_owner']} with {row['there_minor']}, sequence {row['there_sequence']}, at {row['there_at_ms']}"
            if row["there_owner"] is not None
            else "nobody"
        )
        findings.violate(
            "I4",
            f"share {row['share']} of packet {row['packet']} is confirmed in Redis for {row['owner']} with"
            f" {row['amount_minor']}, sequence {row['sequence']}, at {row['at_ms']}; Postgres has {has}",
        )
    for row in operations:
        if _excused(findings, row["there_id"] is None, row["id"], row["shard"] in held, letters):
            continue
        # Its refund may be what waits.
        absent, close = row["there_state"] == "open", (row["id"], "close")
        if row["state"] and _excused(findings, absent, close, row["shard"] in held, letters):
            continue
        if wrong := _unlike(row):
            findings.violate("I4", f"operation {row['id']} is confirmed in Redis; {wrong}")


async def check_wallets(session: LedgerSession, findings: Findings) -> None:
    """In the snapshot of `session`, which is later than every reading of the ledger that Redis was told of."""
    for row in await session.rows("wallets_beyond_the_ledger", _LOOKED_AT_MAX):
        findings.violate(
            "I4",
            f"the wallet of {row['owner']} (shard {row['shard']}) has credits of {row['credited_minor']} in Redis, of"
            f" {row['there_minor']} in Postgres",
        )


def _unlike(row: asyncpg.Record) -> str:
    if row["there_id"] is None:
        return "Postgres has nothing of it"
    pairs = [("id", row["id"], row["there_id"]), ("at", row["at_ms"], row["there_at_ms"])]
    pairs.append(("terms", decoded_terms(row["terms"]), decoded_terms(row["there_terms"])))
    if row["state"]:
        pairs += [("state", row["state"], row["there_state"]), ("over at", row["over_at_ms"], row["there_over_at_ms"])]
    return "; ".join(
        f"its {name} is {here!r} there, {there!r} in Postgres" for name, here, there in pairs if here != there
    )


def _excused(findings: Findings, absent: bool, key: object, held: bool, letters: dict[object, str]) -> bool:
    """Not in Postgres, by design: set aside, or behind a record of its shard that a person has to decide about."""
    if decision := letters.get(key):
        findings.count("I4", f"set aside, {decision}")
        return True
    if absent and held:
        findings.count("I4", "waiting behind a held record")
    return absent and held


async def _letters(
    session: LedgerSession, claims: Sequence[asyncpg.Record], operations: Sequence[asyncpg.Record]
) -> dict[object, str]:
    """What is set aside, by claim (packet, share, owner), operation id or (packet, "close"): waiting or rejected."""
    subjects = {row["packet"] for row in claims} | {row["id"] for row in operations}
    for row in operations:
        terms = decoded_terms(row["terms"])
        if isinstance(terms, PacketTerms):
            subjects.add(f"wallet:{terms.owner}")
    # A top-up that is set aside freezes nothing.
    subjects.add("")
    letters: dict[object, str] = {}
    for row in await session.rows("letters_of", sorted(subjects)):
        decision = row["decision"] or "waiting for a person"
        match _decode_event(row["packed"]) if row["packed"] else None:
            case ShareClaimed(packet=packet, share=share, owner=owner):
                letters[packet, share, owner] = decision
            case PacketClosed(packet=packet):
                letters[packet, "close"] = decision
            case PacketOpened(id=id):
                letters[id] = decision
            case None:
                pass
            case topup:
                letters[topup.id] = decision
    return letters
