"""People's phones: they ask, everything they ask is recorded, and they ask again where the answer says so."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import httpx

from loadtest.record.recorder import Recorder
from loadtest.record.wire import read_answer, request_body, request_headers, request_line
from loadtest.record.words import Answer, Asked

# Longer than a worker is ever stopped across a fence: it has to answer those who still wait when it goes on.
TIMEOUT_S = 15.0
AGAIN_S = 0.3
TALKING_MAX = 64
# Less than the second for which a worker that leaves asks its clients to move away, so that no request is sent on a
# connection that is just being closed.
KEEPALIVE_S = 0.9


class Phones:
    """Two pools of connections to the service at `url`, so that a repeat can come in another way than the first.
    `token_of`: by owner."""

    def __init__(
        self,
        url: str,
        token_of: Callable[[str], str],
        recorder: Recorder,
        *,
        talking_max: int = TALKING_MAX,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = url
        self._token_of = token_of
        self._recorder = recorder
        self._talking = asyncio.Semaphore(talking_max)
        self._timeout_s = timeout_s
        self._tokens: dict[str, str] = {}
        self._pools: list[httpx.AsyncClient] = []
        self._exit = AsyncExitStack()
        # What still waits to be sent; and the last unknown outcome, with its time by time.monotonic().
        self.waiting = 0
        self.last_unknown: tuple[float, Asked, Answer] | None = None

    async def __aenter__(self) -> Self:
        limits = httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_S)
        for _ in range(2):
            pool = httpx.AsyncClient(base_url=self._url, timeout=self._timeout_s, limits=limits, trust_env=False)
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
        method, path = request_line(asked)
        headers = request_headers(asked, self._token(asked.owner))
        try:
            # The whole of it: httpx's own timeout is of one read.
            async with asyncio.timeout(self._timeout_s):
                response = await pool.request(method, path, content=request_body(asked), headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            return Answer(outcome="unknown", code=type(error).__name__)
        return read_answer(response.status_code, response.content, response.headers.get("Retry-After"))

    def _token(self, owner: str) -> str:
        if owner not in self._tokens:
            self._tokens[owner] = self._token_of(owner)
        return self._tokens[owner]
