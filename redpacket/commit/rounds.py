"""Many callers, one call: who asks while a call is under way shares the next one, which starts after he asked."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)
T = TypeVar("T")


class Rounds(Generic[K, T]):
    """Calls `call(key)`, one at a time for each key. A caller never gets what was read before he asked."""

    def __init__(self, call: Callable[[K], Awaitable[T]]) -> None:
        self._call = call
        self._running: dict[K, asyncio.Task[T]] = {}
        self._waiting: dict[K, asyncio.Task[T]] = {}

    async def join(self, key: K) -> T:
        """What the first call for `key` that starts after now gives or raises."""
        # Shielded: one caller's deadline must not take the answer from the others.
        return await asyncio.shield(self._waiting.get(key) or self._start(key))

    def begin(self, key: K) -> None:
        """Sees to it that a call for `key` is under way; nobody waits for it."""
        if key not in self._running and key not in self._waiting:
            self._start(key)

    def _start(self, key: K) -> asyncio.Task[T]:
        # In a context of its own: it serves all who join, not the request that happens to begin it.
        task = asyncio.create_task(self._run(key, self._running.get(key)), context=Context())
        # Every caller may have left by the time it fails; then nobody else asks for the exception.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting[key] = task
        return task

    async def aclose(self) -> None:
        """Ends what is under way: nobody may be left who waits for it."""
        tasks = [*self._running.values(), *self._waiting.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, key: K, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        task = self._waiting.pop(key)
        self._running[key] = task
        try:
            return await self._call(key)
        finally:
            if self._running.get(key) is task:
                del self._running[key]


class Gathered(Generic[K, V, T]):
    """Rounds whose callers each bring an item: `call(key, items)` answers all that were brought before it started."""

    def __init__(self, call: Callable[[K, list[V]], Awaitable[dict[V, T]]]) -> None:
        self._call = call
        self._items: dict[K, set[V]] = {}
        self._rounds: Rounds[K, dict[V, T]] = Rounds(self._run)

    async def join(self, key: K, item: V) -> T:
        self._items.setdefault(key, set()).add(item)
        return (await self._rounds.join(key))[item]

    async def aclose(self) -> None:
        await self._rounds.aclose()

    async def _run(self, key: K) -> dict[V, T]:
        return await self._call(key, list(self._items.pop(key)))
