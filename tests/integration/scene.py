"""What a bad request meets: people with money, a packet with one claim, and a ledger in which every change is seen."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.integration.api import Make, assert_problem, claim, key, top_up
from tests.integration.endpoints import Endpoint
from tests.system import System

SENT = {"kind": "lucky", "total": 1000, "shares": 3}


@dataclass
class Scene:
    """alice has sent a packet, and has money left; carol has claimed a share of it, bob has not."""

    system: System
    nobody: httpx.AsyncClient
    client: Make
    nonce: str
    packet: str
    topup: str
    sent_with: str
    sentinels: int = 0

    def path(self, endpoint: Endpoint) -> str:
        return endpoint.path.format(id=self.packet, idempotency_key=self.sent_with)

    def headers(self, endpoint: Endpoint, owner: str | None = None) -> dict[str, str]:
        """Those of a good request, a fresh key among them."""
        token = self.system.token(f"{owner or endpoint.caller}.{self.nonce}", "operator" if endpoint.operator else "")
        return ({"Authorization": f"Bearer {token}"} if endpoint.token else {}) | (key() if endpoint.key else {})

    async def ask(self, endpoint: Endpoint, **changed: Any) -> httpx.Response:
        """The good request, but for what is given in httpx's words; `path` and `query` are spelled just as given."""
        path = changed.pop("path", None) or self.path(endpoint)
        if query := changed.pop("query", ""):
            path += f"?{query}"
        asked: dict[str, Any] = {"headers": self.headers(endpoint)}
        if endpoint.body is not None and "content" not in changed:
            asked["json"] = endpoint.body
        asked |= changed
        method = asked.pop("method", endpoint.method)
        # Else httpx would spell it its own way.
        return await self.nobody.request(method, "/", extensions={"target": path.encode()}, **asked)

    async def refused(
        self, endpoint: Endpoint, status: int, code: str, names: str = "", **changed: Any
    ) -> httpx.Response:
        answer = await self.ask(endpoint, **changed)
        try:
            assert_problem(answer, status, code, names)
        except AssertionError as error:
            error.add_note(f"{endpoint} with {changed}")
            raise
        return answer

    async def seen(self) -> tuple[int, Any, Any]:
        """How many events the ledger has, the packet, and its claims: nothing of its shard is still on the way."""
        # A top-up is answered once it is settled, and a shard settles in order.
        boss = self.client("alice", "operator")
        answer = await boss.post("/v1/topups", json={"owner": "dora", "amount": 1}, headers=key())
        assert answer.status_code == 201
        self.sentinels += 1
        (row,) = await self.system.rows("SELECT sum(applied + repeated + ignored)::bigint AS events FROM record")
        packet = await boss.get(f"/v1/packets/{self.packet}")
        claims = await boss.get(f"/v1/packets/{self.packet}/claims")
        return int(row["events"]) - self.sentinels, packet.json(), claims.json()

    async def works(self, endpoint: Endpoint) -> None:
        answer = await self.ask(endpoint)
        assert answer.status_code == endpoint.status, answer.text


@asynccontextmanager
async def scene_of(system: System, client: Make, nonce: str) -> AsyncIterator[Scene]:
    topup = (await top_up(client, "alice", nonce, 5000)).json()["id"]
    sent_with = secrets.token_hex(8)
    answer = await client("alice").post("/v1/packets", json=SENT, headers={"Idempotency-Key": sent_with})
    packet = answer.json()["id"]
    assert (await claim(client, "carol", packet)).status_code == 201
    # From now on bob's claims go the short way.
    assert (await client("bob").get("/v1/wallet")).status_code == 200
    async with httpx.AsyncClient(base_url=system.url, trust_env=False, timeout=30.0) as nobody:
        yield Scene(system, nobody, client, nonce, packet, topup, sent_with)
