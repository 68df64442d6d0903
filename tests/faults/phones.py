"""People's phones: they ask, everything they ask is recorded, and they ask again where the answer says so."""

import asyncio
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from tests.faults.recorder import Answer, Asked, Kind, Recorder
from tests.system import System

OPERATORS = tuple(f"boss-{n}" for n in range(4))
# Longer than a worker is ever stopped across a fence: it has to answer those who still wait when it goes on.
TIMEOUT_S = 15.0
AGAIN_S = 0.3
TALKING_MAX = 64
# Less than the second for which a worker that leaves asks its clients to move away, so that no request is sent on a
# connection that is just being closed.
KEEPALIVE_S = 0.9

_AGAIN = (202, 429, *range(500, 600))
_PATHS: dict[Kind, tuple[str, str]] = {
    "topup": ("POST", "/v1/topups"),
    "send": ("POST", "/v1/packets"),
    "claim": ("POST", "/v1/packets/{}/claims"),
    "close": ("POST", "/v1/packets/{}/close"),
    "see_packet": ("GET", "/v1/packets/{}"),
    "see_claim": ("GET", "/v1/packets/{}/claims/me"),
    "see_claims": ("GET", "/v1/packets/{}/claims?limit=200"),
    "see_wallet": ("GET", "/v1/wallet"),
}
# What the audit looks at, of a packet and of the others; the rest would only make the file longer.
_OF_PACKETS = "id owner state kind total shares remaining remaining_shares refunded commitment expires_at"
_OF_OTHERS = "packet share amount currency claimed_at claims next available held"
_FIELDS = frozenset(f"{_OF_PACKETS} {_OF_OTHERS}".split())


class Phones:
    """Two pools of connections to the public port, so that a repeat can come in another way than the first."""

    def __init__(
        self, system: System, recorder: Recorder, *, talking_max: int = TALKING_MAX, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._system = system
        self._recorder = recorder
        self._talking = asyncio.Semaphore(talking_max)
        self._timeout_s = timeout_s
        self._headers: dict[str, dict[str, str]] = {}
        self._pools: list[httpx.AsyncClient] = []
        self._exit = AsyncExitStack()
        # What still waits to be sent; and the last unknown outcome, with its time by time.monotonic().
        self.waiting = 0
        self.last_unknown: tuple[float, Asked, Answer] | None = None

    async def __aenter__(self) -> Self:
        limits = httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_S)
        for _ in range(2):
            pool = httpx.AsyncClient(base_url=self._system.url, timeout=self._timeout_s, limits=limits, trust_env=False)
            self._pools.append(await self._exit.enter_async_context(pool))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def ask(self, asked: Asked, *, pool: int = 0) -> Answer:
        """One request, recorded."""
        self.waiting += 1
        try:
            await self._talking.acquire()
        finally:
            self.waiting -= 1
        try:
            with self._recorder.recorded(asked) as attempt:
                attempt.answer = await self._send(asked, self._pools[pool])
            if attempt.answer.outcome == "unknown":
                self.last_unknown = (time.monotonic(), asked, attempt.answer)
            return attempt.answer
        finally:
            self._talking.release()

    async def until_final(self, asked: Asked, *, patience_s: float, again_s: float = AGAIN_S, pool: int = 0) -> Answer:
        """The same request again and again, until its outcome is known or patience ends; the last answer."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + patience_s
        while True:
            answer = await self.ask(asked, pool=pool)
            if answer.outcome != "unknown" or loop.time() > deadline_s:
                return answer
            await asyncio.sleep(again_s)
            pool = 1 - pool

    async def _send(self, asked: Asked, pool: httpx.AsyncClient) -> Answer:
        method, path = _PATHS[asked.kind]
        headers = self._headers_of(asked.owner) | ({"Idempotency-Key": asked.key} if asked.key else {})
        content = msgspec.json.encode(asked.body) if method == "POST" else None
        try:
            # The whole of it: httpx's own timeout is of one read.
            async with asyncio.timeout(self._timeout_s):
                response = await pool.request(method, path.format(asked.packet), content=content, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            return Answer(outcome="unknown", code=type(error).__name__)
        return _answer_of(response)

    def _headers_of(self, owner: str) -> dict[str, str]:
        if owner not in self._headers:
            scope = "operator" if owner in OPERATORS else ""
            self._headers[owner] = {"Authorization": f"Bearer {self._system.token(owner, scope)}"}
        return self._headers[owner]


def _answer_of(response: httpx.Response) -> Answer:
    status = response.status_code
    body = _body_of(response)
    if status != 202 and response.is_success:
        return Answer(outcome="ok", status=status, body=kept(body, _FIELDS))
    return Answer(
        outcome="unknown" if status in _AGAIN else "fail",
        status=status,
        code="pending" if status == 202 else str(body.get("code", "none")),
        detail=str(body.get("detail", "")),
        retry_after="Retry-After" in response.headers,
    )


def _body_of(response: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"code": "no_json"}


def kept(body: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in fields}
