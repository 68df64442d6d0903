"""The whole system: keys, servers, tables, workers, started one after the other and stopped the other way round."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from redpacket.limits import maxmemory_mib, postgres_connections, stack_files
from redpacket.ops.open_files import ensure_open_files
from redpacket.settings import Settings, settings_environ
from redpacket.stack.error import StackError
from redpacket.stack.folder import resolve_folder
from redpacket.stack.keys import ensure_keys
from redpacket.stack.local import CONNECTIONS, LocalServers
from redpacket.stack.lock import lock_holder
from redpacket.stack.ports import free_ports, url_of
from redpacket.stack.program import Program, run_once
from redpacket.stack.server import Say
from redpacket.stack.state import StackState, child_states, write_stack
from redpacket.stack.workers import WORKER_TIMEOUT_S, Workers, stack_settings, worker_environ

BACKLOG = 4_096  # connections that wait while workers are being replaced
MIGRATE_TIMEOUT_S = 60.0


@dataclass
class System:
    data: Path
    port: int  # 0: a free one
    workers: Workers
    say: Say
    on_ready: Callable[[], None]
    redis_binary: str | None = None
    host: str = "127.0.0.1"  # of the API: an address of IPv4 or IPv6
    _servers: LocalServers = field(init=False)
    _settings: Settings | None = None
    _ready: bool = False

    def __post_init__(self) -> None:
        self.data = resolve_folder(self.data)  # workers are told of it

    async def run(self) -> None:
        """Run until cancelled. Raises StackError, SettingsError, TooFewFilesError and OSError, with everything
        stopped."""
        # All that can be refused is refused before anything is started.
        settings = stack_settings(os.environ, postgres_url="", redis_url="", kafka_bootstrap="", keys_dir="")
        self._check_limits(settings)
        holder = lock_holder(self.data)
        if holder is not None:
            raise StackError(f"a stack is already running on {self.data} (process {holder})")
        with self._bind() as listener:
            self._servers = LocalServers(
                self.data,
                say=self.say,
                changed=self._publish,
                redis_binary=self.redis_binary,
                redis_maxmemory=f"{maxmemory_mib(settings.memory_refuse_mib)}mb",
                connections=max(CONNECTIONS, postgres_connections(self.workers.api, self.workers.ledger)),
            )
            async with self._servers:
                await self._serve(listener)

    def _check_limits(self, settings: Settings) -> None:
        """Raises StackError where so many workers cannot serve, and TooFewFilesError."""
        api, ledger, shards = self.workers.api, self.workers.ledger, settings.shards
        if ledger > shards:
            raise StackError(
                f"{ledger} ledger workers (--ledger) are more than {shards} shards (REDPACKET_SHARDS): each shard has"
                " one owner, and a worker that owns none never becomes ready"
            )
        part, needed = max(stack_files(api, ledger, shards).items(), key=lambda it: it[1])
        ensure_open_files(needed, f"{part} of a stack with {api} API and {ledger} ledger workers (--api, --ledger)")

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port or free_ports(1)[0]))
        except OSError as error:
            listener.close()
            raise StackError(
                f"port {self.port} of {self.host} (--host, --port) is not available: {error.strerror}"
            ) from None
        self.port = listener.getsockname()[1]
        return listener

    async def _serve(self, listener: socket.socket) -> None:
        keys_dir = self.data / "keys"
        ensure_keys(keys_dir)
        self._settings = settings = stack_settings(
            os.environ,
            postgres_url=self._servers.postgres_url,
            redis_url=self._servers.redis_url,
            kafka_bootstrap=self._servers.kafka_bootstrap,
            kafka_user=self._servers.kafka_user,
            kafka_password=self._servers.kafka_password,
            keys_dir=str(keys_dir),
        )
        await self._migrate(settings)
        # Not earlier: until there is somebody to answer, a client is better refused than kept waiting.
        listener.listen(BACKLOG)
        try:
            async with asyncio.TaskGroup() as group:
                for program in self.workers.programs(settings, listener):
                    group.create_task(self._start(program))
            self._ready = True
            self._publish()
            self.say(f"ready {url_of(self.host, self.port)}")
            self.on_ready()
            await self._servers.supervisor.watch()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._servers.supervisor.stop(self.workers.api_names)
            await self._servers.supervisor.stop(self.workers.ledger_names)

    async def _migrate(self, settings: Settings) -> None:
        began = time.monotonic()
        log = self._servers.supervisor.log("migrate")
        # The Redis before, on another port maybe, could not have outlived the lock on this folder.
        argv = [*self.workers.command, "migrate", "--old-redis-is-dead"]
        await run_once(argv, worker_environ(settings), log, timeout_s=MIGRATE_TIMEOUT_S)
        self.say(f"tables ready ({time.monotonic() - began:.1f} s)")

    async def _start(self, program: Program) -> None:
        began = time.monotonic()
        await self._servers.supervisor.add(program).wait_ready(WORKER_TIMEOUT_S)
        self.say(f"{program.name} ready ({time.monotonic() - began:.1f} s)")

    def _publish(self) -> None:
        """Write down what runs, for `ps` and the other commands."""
        state = StackState(
            pid=os.getpid(),
            ready=self._ready,
            url=url_of(self.host, self.port),
            environ=settings_environ(self._settings) if self._settings else {},
            children=child_states(self._servers.supervisor.children.values()),
        )
        try:
            write_stack(self.data, state)
        except OSError as error:  # a full disk, say: the stack itself goes on
            self.say(f"what runs cannot be written down for `ps`: {error}")
