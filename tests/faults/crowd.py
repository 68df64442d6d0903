"""A crowd of phones that claim packets through HTTP and never give up a started claim, and what each was told."""

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import httpx

from tests.system import System

PATIENCE_S = 90.0
_AGAIN_S = 0.05


@dataclass
class Told:
    """Every answer that anybody got: by (packet, person) the bodies of 200 and 201, and how often each status."""

    claims: defaultdict[tuple[str, str], list[dict[str, object]]] = field(default_factory=lambda: defaultdict(list))
    refused: set[tuple[str, str]] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    retry_after_missing: int = 0


async def send_packet(system: System, sender: str, total: int, shares: int) -> str:
    """A packet's id; its total was topped up before."""
    async with system.client("operator", "operator") as operator:
        body: dict[str, object] = {"owner": sender, "amount": total}
        await _until_final(operator, "/v1/topups", body, {"Idempotency-Key": f"topup-{sender}"}, Told())
    async with system.client(sender) as client:
        body = {"kind": "lucky", "total": total, "shares": shares}
        answer = await _until_final(client, "/v1/packets", body, {"Idempotency-Key": f"packet-{sender}"}, Told())
    return str(answer.json()["id"])


async def storm(
    system: System,
    packets: list[str],
    people: int,
    told: Told,
    *,
    urls: tuple[str, str] | None = None,
    arrive_within_s: float = 0.0,
    seed: int = 0,
) -> None:
    """Everyone claims every packet, twice at once: at the public port, or each repeat at a worker of its own."""
    chance = random.Random(seed)
    first_url, second_url = urls or (system.url, system.url)
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    # httpx's pool takes time with the square of what waits for it: not all phones talk in the same instant.
    talking = asyncio.Semaphore(100)

    async def claim_twice(packet: str, owner: str, headers: dict[str, str], arrives_s: float) -> None:
        await asyncio.sleep(arrives_s)
        async with talking:
            await asyncio.gather(*(_claim(http, packet, owner, headers, told) for http in (first, second)))

    async with (
        httpx.AsyncClient(base_url=first_url, timeout=10.0, limits=unlimited, trust_env=False) as first,
        httpx.AsyncClient(base_url=second_url, timeout=10.0, limits=unlimited, trust_env=False) as second,
        asyncio.TaskGroup() as crowd,
    ):
        for n in range(people):
            owner = f"{packets[0][-8:]}-{n:03d}"
            headers = {"Authorization": f"Bearer {system.token(owner)}"}
            for packet in packets:
                crowd.create_task(claim_twice(packet, owner, headers, chance.uniform(0, arrive_within_s)))


async def _claim(http: httpx.AsyncClient, packet: str, owner: str, headers: dict[str, str], told: Told) -> None:
    answer = await _until_final(http, f"/v1/packets/{packet}/claims", {}, headers, told)
    if answer.is_success:
        told.claims[packet, owner].append(answer.json())
    else:
        assert answer.json()["code"] == "sold_out", answer.text
        told.refused.add((packet, owner))


async def _until_final(
    http: httpx.AsyncClient, path: str, body: dict[str, object], headers: dict[str, str], told: Told
) -> httpx.Response:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                answer = await http.post(path, json=body, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(_AGAIN_S)
                continue
            told.statuses[answer.status_code] += 1
            if answer.status_code not in (202, 429, 503):
                return answer
            if answer.status_code != 202 and "Retry-After" not in answer.headers:
                told.retry_after_missing += 1
            await asyncio.sleep(_AGAIN_S)


async def check(system: System, packets: list[str], people: int, shares: int, total: int, told: Told) -> None:
    """What everyone was told, held against the ledger, once it has settled all of it."""
    assert told.statuses.keys() <= {200, 201, 202, 409, 503}, told.statuses
    assert not told.retry_after_missing
    for packet in packets:
        claims = await _settled_claims(system, packet, min(shares, people))
        by_owner = {owner: (share, amount) for owner, share, amount in claims}
        assert len(by_owner) == len(claims) == min(shares, people), "a person twice"
        assert len({share for _, share, _ in claims}) == len(claims), "a share twice"
        assert sum(amount for _, _, amount in claims) == total, "the sum is not exact"
        for (of, owner), bodies in told.claims.items():
            if of == packet:
                assert all(body == bodies[0] for body in bodies), f"{owner} was told two things: {bodies}"
                assert by_owner[owner] == (bodies[0]["share"], bodies[0]["amount"]), "a 201 that the ledger lacks"
                assert (packet, owner) not in told.refused, f"{owner} was given a share and refused one"
        told_owners = {owner for of, owner in told.claims if of == packet}
        assert told_owners == by_owner.keys(), "the ledger has claims that nobody was told of"
    (sums,) = await system.rows("SELECT sum(debits_minor) AS debits, sum(credits_minor) AS credits FROM account")
    assert sums["debits"] == sums["credits"]
    assert not await system.rows("SELECT * FROM dead_letter")


async def _settled_claims(system: System, packet: str, expected: int) -> list[tuple[str, int, int]]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            rows = await system.rows("SELECT owner, share, amount_minor FROM claim WHERE packet = $1", packet)
            if len(rows) >= expected:
                return [(row["owner"], row["share"], row["amount_minor"]) for row in rows]
            await asyncio.sleep(0.1)
