"""What is not known yet is a 202 with what there is to ask by, and the same request again resolves it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import httpx

from redpacket.ids import shard_of
from tests.integration.api import LONG_S, Make, claim, key, see_operation, send, top_up
from tests.system import System

Ask = Callable[[], Awaitable[httpx.Response]]


def apart(system: System, nonce: str) -> Iterator[str]:
    """Owners no two of whom share a shard, so that none of them waits for another."""
    taken = set()
    for n in count():
        shard = shard_of(f"p{n}.{nonce}", system.settings.shards)
        if shard not in taken:
            taken.add(shard)
            yield f"p{n}"


def is_pending(answer: httpx.Response, **named: str) -> bool:
    assert answer.status_code == 202, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["retry-after"]) >= 1
    return bool(answer.json() == {"state": "pending", **named})


async def resolved(ask: Ask) -> httpx.Response:
    """What the same request is answered once it is known."""
    async with asyncio.timeout(LONG_S):
        while (answer := await ask()).status_code not in (200, 201):
            assert answer.status_code in (202, 503), answer.text
            await asyncio.sleep(0.1)
        return answer


async def test_what_kafka_has_not_acknowledged_is_pending_and_is_not_told(
    client: Make, nonce: str, system: System
) -> None:
    owners = apart(system, nonce)
    sender, giver, other_giver, closer = (next(owners) for _ in range(4))
    await top_up(client, sender, nonce, 100)
    packet, other, closing = [(await send(client, it, nonce))["id"] for it in (giver, other_giver, closer)]
    await client("bob").get("/v1/wallet")  # his token is known: his claim goes the short way
    once, body = key(), {"kind": "lucky", "total": 100, "shares": 2}

    asks: dict[str, Ask] = {
        "send": lambda: client(sender).post("/v1/packets", json=body, headers=once),
        "claim": lambda: claim(client, "bob", packet),
        "claim, the framework's way": lambda: client("bob").post(f"/v1/packets/{other}/claims", content=b" {}"),
        "close": lambda: client(closer).post(f"/v1/packets/{closing}/close"),
    }
    async with system.suspended("kafka"):
        sent, claimed, claimed_so, closed = await asyncio.gather(*(ask() for ask in asks.values()))
        id = sent.json()["id"]
        assert is_pending(sent, id=id)
        assert is_pending(claimed, packet=packet)
        assert is_pending(claimed_so, packet=other)
        assert is_pending(closed, id=closing)
        assert is_pending(await see_operation(client(sender), once["Idempotency-Key"]), id=id)
        assert is_pending(await client("bob").get(f"/v1/packets/{packet}/claims/me"), packet=packet)
        assert is_pending(await client("bob").get(f"/v1/packets/{id}"), id=id)
        assert is_pending(await client("bob").get(f"/v1/packets/{id}/claims"), id=id)
        assert is_pending(await client("bob").get(f"/v1/packets/{id}/claims/me"), packet=id)
        assert (await client("eve").get(f"/v1/packets/{packet}/claims")).json() == {"claims": [], "next": None}
        assert (await client("eve").get(f"/v1/packets/{packet}")).json()["remaining_shares"] == 3
    sent, claimed, claimed_so, closed = [await resolved(ask) for ask in asks.values()]
    assert (sent.status_code, sent.json()["id"], sent.json()["state"]) == (200, id, "open")
    assert claimed.json() == (await client("bob").get(f"/v1/packets/{packet}/claims/me")).json()
    assert claimed_so.json() == (await client("bob").get(f"/v1/packets/{other}/claims/me")).json()
    assert (closed.json()["state"], closed.json()["refunded"]) == ("closed", 1000)
    seen = await see_operation(client(sender), once["Idempotency-Key"])
    assert (seen.status_code, seen.json()["state"]) == (200, "open")


async def test_a_top_up_is_pending_until_the_ledger_has_it(client: Make, nonce: str, system: System) -> None:
    boss, once = client("boss", "operator"), key()
    async with system.suspended("ledger-0", "ledger-1"):
        body = {"owner": f"alice.{nonce}", "amount": 100}
        pending = await boss.post("/v1/topups", json=body, headers=once)
        assert pending.status_code == 202, pending.text
        seen = await see_operation(boss, once["Idempotency-Key"])
        assert (seen.status_code, seen.json()) == (202, pending.json())
    async with asyncio.timeout(LONG_S):
        while (seen := await see_operation(boss, once["Idempotency-Key"])).status_code != 200:
            await asyncio.sleep(0.05)
    assert seen.json() == {"kind": "topup", "id": pending.json()["id"], "state": "captured"}
