"""Calls of the API that many tests make, and what they look at in the answers."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import httpx

LONG_S = 20.0

Make = Callable[..., httpx.AsyncClient]


def key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_hex(8)}


async def top_up(client: Make, owner: str, nonce: str, amount: int) -> httpx.Response:
    body = {"owner": f"{owner}.{nonce}", "amount": amount}
    answer = await client("boss", "operator").post("/v1/topups", json=body, headers=key())
    assert answer.status_code == 201, answer.text
    return answer


async def send(client: Make, owner: str, nonce: str, **asked: Any) -> dict[str, Any]:
    """A packet of `owner`, paid for by a top-up of just its total."""
    body = {"kind": "lucky", "total": 1000, "shares": 3, **asked}
    await top_up(client, owner, nonce, body["total"])
    answer = await client(owner).post("/v1/packets", json=body, headers=key())
    assert answer.status_code == 201, answer.text
    packet: dict[str, Any] = answer.json()
    return packet


async def claim(client: Make, owner: str, packet: str) -> httpx.Response:
    return await client(owner).post(f"/v1/packets/{packet}/claims", json={})


async def see_operation(caller: httpx.AsyncClient, idempotency_key: str) -> httpx.Response:
    # Every character is encoded: clients take a segment of dots for a way up.
    return await caller.get("/v1/operations/" + "".join(f"%{byte:02X}" for byte in idempotency_key.encode()))


def assert_problem(answer: httpx.Response, status: int, code: str, names: str = "") -> None:
    """RFC 9457 with our two fields, and in `detail` the name of what is wrong."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail", "code", "retryable"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["retryable"] is (status in (408, 429, 503))
    assert names in problem["detail"]
    assert ("retry-after" in answer.headers) is (status in (429, 503))


async def settled_wallet(client: Make, owner: str, available: int, held: int) -> dict[str, Any]:
    """The wallet, once the ledger has what it is to have."""
    async with asyncio.timeout(LONG_S):
        while True:
            wallet: dict[str, Any] = (await client(owner).get("/v1/wallet")).json()
            if (wallet["available"], wallet["held"]) == (available, held):
                return wallet
            await asyncio.sleep(0.02)
