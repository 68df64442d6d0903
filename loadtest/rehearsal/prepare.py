"""Before a rehearsal: people with tokens, money for those who send, and the packets that are there beforehand."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from loadtest.record.phones import Phones
from loadtest.record.words import Answer, Asked
from loadtest.rehearsal.error import RehearsalError
from loadtest.rehearsal.plan import Person, Plan
from loadtest.rehearsal.scenarios import SCENARIOS, Scenario
from redpacket.settings import Settings
from redpacket.stack.tokens import issue_token

_FUNDS_MINOR = 10**10
_SHARE_MINOR = 100
# The API's bound.
_SHARES_MAX = 10_000
# Beside those who are there: who is still going has his phone until he is done.
_SPARE = 0.2
_SENDERS_MIN = 32
# Turns for which there is a packet, beside those of the rehearsal itself: it takes some time to begin.
_SPARE_TURNS = 20
_PATIENCE_S = 60.0
_MEET_S = 3.0
# A new stack opens its shards within a second; and with more at once the phones would only queue.
_AT_ONCE = 32


class Cast(Struct, frozen=True):
    """Everybody's name begins with `prefix`, which no other rehearsal has."""

    prefix: str
    operator: Person
    persons: list[Person]
    senders: list[Person]

    def tokens(self) -> dict[str, str]:
        return {it.owner: it.token for it in (self.operator, *self.persons, *self.senders)}


def make_cast(settings: Settings, scenario: Scenario, people: int, seconds: float, processes: int) -> Cast:
    """Signs a token for each, some 0.2 ms, that outlives the rehearsal. Raises StackError."""
    prefix = f"r{secrets.token_hex(4)}"
    lifetime_s = int(seconds) + 86_400

    def person(name: str, scope: str = "") -> Person:
        owner = f"{prefix}-{name}"
        return Person(owner, issue_token(settings, owner, scope, lifetime_s))

    if scenario.claims_per_send is None:
        senders = turns(scenario, seconds)
    else:
        senders = max(_SENDERS_MIN, math.ceil(people / (1 + scenario.claims_per_send)))
    return Cast(
        prefix,
        person("operator", "operator"),
        [person(f"person-{n}") for n in range(math.ceil(people * (1 + _SPARE)) + processes)],
        [person(f"sender-{n}") for n in range(senders)],
    )


def turns(scenario: Scenario, seconds: float) -> int:
    return math.ceil(seconds / scenario.turn_s) + _SPARE_TURNS


async def meet(phones: Phones, cast: Cast) -> None:
    """Whether the service is there, and takes these tokens. Raises RehearsalError."""
    asked = Asked(kind="see_wallet", owner=cast.operator.owner)
    answer = await phones.until_final(asked, patience_s=_MEET_S)
    if answer.status == 401:
        raise RehearsalError("the service does not take tokens signed with the jwt_private.pem of this deployment")
    if answer.outcome != "ok":
        raise RehearsalError(
            f"the service does not serve: {answer.status or 'no answer'} {answer.code} {answer.detail}"
        )


async def fund_senders(phones: Phones, cast: Cast) -> None:
    """Raises RehearsalError."""
    await _all_done(
        phones,
        [
            Asked(
                kind="topup",
                owner=cast.operator.owner,
                key=f"topup-{sender.owner}",
                body={"owner": sender.owner, "amount": _FUNDS_MINOR},
            )
            for sender in cast.senders
        ],
    )


async def send_packets(phones: Phones, cast: Cast, scenario: Scenario, people: int) -> list[str]:
    """One of each sender, by id. Raises RehearsalError."""
    shares = min(_SHARES_MAX, max(1, round(people * scenario.shares)))
    body = {"kind": "lucky", "total": shares * _SHARE_MINOR, "shares": shares}
    answers = await _all_done(
        phones, [Asked(kind="send", owner=sender.owner, key="prepared", body=body) for sender in cast.senders]
    )
    return [answer.body["id"] for answer in answers]


async def make_plan(
    phones: Phones,
    cast: Cast,
    name: str,
    people: int,
    seconds: float,
    processes: int,
    folder: Path,
    say: Callable[[str], None],
) -> Plan:
    """Money and packets, really; and what the people are told. Raises RehearsalError."""
    scenario = SCENARIOS[name]
    await meet(phones, cast)
    say(f"money for {len(cast.senders)} senders")
    await fund_senders(phones, cast)
    packets = []
    if scenario.claims_per_send is None:
        say(f"{len(cast.senders)} packets beforehand")
        packets = await send_packets(phones, cast, scenario, people)
    return Plan(
        scenario=name,
        seconds=seconds,
        seed=cast.prefix,
        processes=processes,
        folder=str(folder),
        people=people,
        persons=cast.persons,
        senders=cast.senders,
        packets=packets,
        first_turn=int(time.time() // scenario.turn_s),
    )


async def _all_done(phones: Phones, operations: list[Asked]) -> list[Answer]:
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def done(asked: Asked) -> Answer:
        async with at_once:
            answer = await phones.until_final(asked, patience_s=_PATIENCE_S)
        if answer.outcome != "ok":
            raise RehearsalError(f"{asked.kind} for {asked.owner}: {answer.status} {answer.code} {answer.detail}")
        return answer

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(done(asked)) for asked in operations]
    except* RehearsalError as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
