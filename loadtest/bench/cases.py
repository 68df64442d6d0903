"""The cases: what is asked for, prepared up front, and what the answers should be."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import httpx
from msgspec import Struct, json

from loadtest.bench.people import People, Person, request

# A packet may have as many shares; 1 yuan each on average.
_SHARES_MAX, _SHARE_MINOR = 10_000, 100
_SPREAD_PACKETS = 64
_WINNERS = 100
# What each of the sends asks for.
SENT = {"total": 10 * _SHARE_MINOR, "shares": 10}
_CALL_S = 30.0


class CaseError(Exception):
    """A case could not be prepared: the stack did not answer as it should."""


class Prepared(Struct, frozen=True):
    """`first`: requests sent once, not measured, each answered with 201: what is met for the first time is met there.
    `packets`: those that are claimed from. `again`: whether the requests are begun anew after the last."""

    requests: Sequence[bytes]
    first: Sequence[bytes] = ()
    packets: Sequence[str] = ()
    again: bool = False


class Case(Struct, frozen=True):
    """`table`: where what is acknowledged becomes rows; `counted`: what figures are for each of."""

    name: str
    table: Literal["claim", "packet"]
    counted: Literal["claim", "send", "answer"]
    expected: frozenset[str]
    prepare: Callable[["Sender", People, int], Awaitable[Prepared]]


class Sender:
    """Sends the packets that a case needs. Close it with `aclose`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=_CALL_S, trust_env=False)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(self, person: Person, shares: int) -> str:
        """A packet's id. Raises CaseError."""
        headers = {"Authorization": f"Bearer {person.token}", "Idempotency-Key": secrets.token_hex(8)}
        body = {"kind": "lucky", "total": shares * _SHARE_MINOR, "shares": shares}
        answer = await self._http.post("/v1/packets", json=body, headers=headers)
        if answer.status_code != httpx.codes.CREATED:
            raise CaseError(f"a packet was answered {answer.status_code}: {answer.text}")
        return str(answer.json()["id"])

    async def send_all(self, senders: Sequence[Person], shares: int) -> list[str]:
        return list(await asyncio.gather(*(self.send(sender, shares) for sender in senders)))


def claim(packet: str, person: Person) -> bytes:
    return request("POST", f"/v1/packets/{packet}/claims", person)


async def _spread(sender: Sender, people: People, count: int) -> Prepared:
    """Packets on all shards, claimed in turn; everybody claims each of them at most once."""
    claimers = people.claimers
    rounds, per_round = -(-count // len(claimers)), -(-len(claimers) // _SPREAD_PACKETS)
    shares = rounds * per_round + 1
    if rounds > _SPREAD_PACKETS or shares > _SHARES_MAX:
        raise CaseError("so many seconds are too long for this bench")
    packets = await sender.send_all(people.senders[:_SPREAD_PACKETS], shares)
    requests = []
    for number in range(count):
        turn, who = divmod(number, len(claimers))
        requests.append(claim(packets[(who + turn) % len(packets)], claimers[who]))
    return Prepared(requests, [claim(packet, people.operator) for packet in packets], packets)


async def _hot(sender: Sender, people: People, count: int) -> Prepared:
    """One packet that everybody claims; when all have, the next one of the same sender, so of the same shard."""
    claimers = people.claimers
    senders = [people.senders[0]] * -(-count // len(claimers))
    packets = await sender.send_all(senders, len(claimers) + 1)
    requests = [claim(packets[number // len(claimers)], claimers[number % len(claimers)]) for number in range(count)]
    return Prepared(requests, [claim(packet, people.operator) for packet in packets], packets)


async def _sold_out(sender: Sender, people: People, count: int) -> Prepared:
    """A packet of which all is gone before: everybody else comes too late, again and again."""
    winners, late = people.claimers[:_WINNERS], people.claimers[_WINNERS:]
    packet = await sender.send(people.senders[0], len(winners))
    requests = [claim(packet, person) for person in late[:count]]
    return Prepared(requests, [claim(packet, person) for person in winners], [packet], again=True)


async def _sends(_: Sender, people: People, count: int) -> Prepared:
    """Packets of ten shares, by senders on all shards whose wallets are in Redis."""
    body = json.encode({"kind": "lucky", **SENT})
    run = secrets.token_hex(4)

    def send(number: int) -> bytes:
        return request("POST", "/v1/packets", people.senders[number % len(people.senders)], body, f"{run}-{number}")

    return Prepared([send(number) for number in range(count)], [send(-1 - n) for n in range(len(people.senders))])


_CREATED = frozenset({"200", "201"})

CASES = {
    case.name: case
    for case in (
        Case("spread", "claim", "claim", _CREATED, _spread),
        Case("hot", "claim", "claim", _CREATED, _hot),
        Case("sold_out", "claim", "answer", frozenset({"409"}), _sold_out),
        Case("sends", "packet", "send", _CREATED, _sends),
    )
}
