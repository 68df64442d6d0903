"""After a rehearsal: what is unknown is asked again, the ledger drains, everybody looks at his wallet, and all that was
told is held against the ledger."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncpg
from msgspec import Struct

from ledger.audit.findings import Findings
from ledger.audit.run import audit as audit_stores
from loadtest.auditor.audit import audit as audit_answers
from loadtest.auditor.evidence import Evidence, read_books
from loadtest.ledger import open_ledger
from loadtest.record.operations import resolve, unresolved
from loadtest.record.phones import Phones
from loadtest.record.recorder import read_requests
from loadtest.record.words import Asked, Request
from loadtest.rehearsal.error import RehearsalError
from loadtest.rehearsal.prepare import Cast
from redpacket.settings import Settings, read_key

# What is still unknown after that is a violation (I7).
_PATIENCE_S = 120.0
_LOOKED_AT = 50
_READ_S = 300.0


class Aftermath(Struct, frozen=True):
    """`findings`: of the audit that knows nothing of what people were told."""

    requests: list[Request]
    violations: list[str]
    findings: Findings


def read_record(folder: Path) -> list[Request]:
    return read_requests(*folder.glob("requests-*.jsonl"))


async def wait_drained(settings: Settings) -> None:
    """Until the ledger has everything that the log had when this was called.

    Raises RehearsalError, and what its parts raise where one is away.
    """
    async with open_ledger(settings) as ledger:
        try:
            await ledger.wait_drained()
        except TimeoutError:
            raise RehearsalError("the ledger does not come to the end of the log: is a shard held?") from None


async def settle_accounts(
    settings: Settings, phones: Phones, cast: Cast, folder: Path, say: Callable[[str], None]
) -> Aftermath:
    """Raises RehearsalError, AuditError, and what its parts raise where one is away."""
    open = unresolved(read_record(folder))
    say(f"asking again for {len(open)} operations that were not known at some time and have no yes")
    await resolve(phones, open, _PATIENCE_S)
    await wait_drained(settings)
    say("everybody looks at his wallet")
    await _look_at_the_end(phones, cast, read_record(folder))
    requests = read_record(folder)
    say(f"auditing {len(requests)} requests, then the three stores")
    evidence = await _evidence(settings, cast.prefix)
    violations = await asyncio.to_thread(audit_answers, requests, evidence, read_key(settings, "id.key"))
    return Aftermath(requests, violations, await audit_stores(settings, "mark", say))


async def _look_at_the_end(phones: Phones, cast: Cast, requests: Sequence[Request]) -> None:
    """All wallets, and some packets with their claims. What was not answered is not looked at by the audit either, so
    that each is asked until it is. Raises RehearsalError."""
    sent = [(it.asked.owner, it.answer.body["id"]) for it in requests if it.asked.kind == "send" and it.answer.body]
    looks = [Asked(kind="see_wallet", owner=owner) for owner in (it.owner for it in (*cast.persons, *cast.senders))]
    packets = sorted(set(sent))
    for owner, packet in random.Random(cast.prefix).sample(packets, min(_LOOKED_AT, len(packets))):
        looks += [Asked(kind=kind, owner=owner, packet=packet) for kind in ("see_packet", "see_claims")]
    unseen = sum(answer.outcome == "unknown" for answer in await resolve(phones, looks, _PATIENCE_S))
    if unseen:
        raise RehearsalError(f"{unseen} of {len(looks)} wallets and packets could not be looked at in the end")


async def _evidence(settings: Settings, owners: str) -> Evidence:
    connection = await asyncpg.connect(settings.postgres_url, command_timeout=_READ_S)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await read_books(connection, owners)
    finally:
        await connection.close()
