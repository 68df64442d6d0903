"""What a bad request meets: people with money, a packet with one claim, and a ledger in which every change is seen."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.integration.api import assert_problem, key
from tests.integration.endpoints import Endpoint, named
from tests.system import System

SENT = {"kind": "lucky", "total": 100_000, "shares": 500}
CLAIM = named("POST /v1/packets/{id}/claims")


@dataclass
class Scene:
    """alice has sent a packet, and has money left; carol has claimed a share of it, bob has not. `boss` is alice as an
    operator. It serves many tests, each of which begins it anew."""

    system: System
    nobody: httpx.AsyncClient
    boss: httpx.AsyncClient
    nonce: str
    packet: str = ""
    topup: str = ""
    sent_with: str = ""
    tests: int = 0
    sentinels: int = 0

    async def begin(self) -> None:
        """With a bob whom nobody has seen, and an open packet."""
        self.tests += 1
        if not self.packet or (await self.boss.get(f"/v1/packets/{self.packet}")).json()["state"] != "open":
            await self._send_packet()
        # From now on bob's claims go the short way.
        assert (await self.ask(named("GET /v1/wallet"), headers=self.headers(CLAIM))).status_code == 200

    async def _send_packet(self) -> None:
        topped = await self.boss.post("/v1/topups", json={"owner": self.owner("alice"), "amount": 10**6}, headers=key())
        self.topup, self.sent_with = topped.json()["id"], secrets.token_hex(8)
        sent = await self.boss.post("/v1/packets", json=SENT, headers={"Idempotency-Key": self.sent_with})
        self.packet = sent.json()["id"]
        assert (await self.ask(CLAIM, headers=self.headers(CLAIM, "carol"))).status_code in (200, 201)

    def owner(self, name: str) -> str:
        return f"{name}{self.tests if name == 'bob' else ''}.{self.nonce}"

    def path(self, endpoint: Endpoint) -> str:
        return endpoint.path.format(id=self.packet, idempotency_key=self.sent_with)

    def headers(self, endpoint: Endpoint, owner: str | None = None) -> dict[str, str]:
        """Those of a good request, a fresh key among them."""
        token = self.system.token(self.owner(owner or endpoint.caller), "operator" if endpoint.operator else "")
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
        answer = await self.boss.post("/v1/topups", json={"owner": "dora", "amount": 1}, headers=key())
        assert answer.status_code == 201
        self.sentinels += 1
        (row,) = await self.system.rows("SELECT sum(applied + repeated + ignored)::bigint AS events FROM record")
        packet = await self.boss.get(f"/v1/packets/{self.packet}")
        claims = await self.boss.get(f"/v1/packets/{self.packet}/claims?limit=200")
        return int(row["events"]) - self.sentinels, packet.json(), claims.json()

    async def works(self, endpoint: Endpoint) -> None:
        answer = await self.ask(endpoint)
        assert answer.status_code == endpoint.status, answer.text


@asynccontextmanager
async def set_scene(system: System) -> AsyncIterator[Scene]:
    nonce = secrets.token_hex(6)
    async with (
        httpx.AsyncClient(base_url=system.url, trust_env=False, timeout=30.0) as nobody,
        system.client(f"alice.{nonce}", "operator") as boss,
    ):
        yield Scene(system, nobody, boss, nonce)
