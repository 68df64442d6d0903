"""Operations: all attempts at one thing, what became of it, and asking again until that is known."""

import asyncio
from collections.abc import Iterable

from loadtest.record.phones import Phones
from loadtest.record.words import Answer, Asked, Request

MOVES_MONEY = ("topup", "send", "claim", "close")


def by_operation(requests: Iterable[Request]) -> dict[str, list[Request]]:
    """The attempts at each operation that moves money, in their order."""
    operations: dict[str, list[Request]] = {}
    for request in requests:
        if request.asked.kind in MOVES_MONEY:
            operations.setdefault(request.asked.operation, []).append(request)
    return operations


def unresolved(requests: Iterable[Request]) -> list[Asked]:
    """The operations of which an outcome is unknown and none is a yes. Where others are a no, they spoke of themselves:
    what waited in a worker that stood still may have been done since."""
    open: list[Asked] = []
    for attempts in by_operation(requests).values():
        outcomes = {attempt.answer.outcome for attempt in attempts}
        if "unknown" in outcomes and "ok" not in outcomes:
            open.append(attempts[0].asked)
    return open


async def resolve(phones: Phones, operations: Iterable[Asked], patience_s: float) -> list[Answer]:
    """Repeats each until its outcome is known, or patience ends; the last answers."""
    return await asyncio.gather(*(phones.until_final(asked, patience_s=patience_s) for asked in operations))
