"""The stack of a person who only tries it: no other user of the machine gets in, and nothing leads it astray."""

import asyncio
import json
import os
import secrets
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from redpacket.stack.error import StackError
from redpacket.stack.folder import own_folder
from redpacket.stack.local import LocalServers
from redpacket.stack.logs import Log
from redpacket.stack.ports import serves
from redpacket.stack.postgres import Postgres, _binary
from redpacket.stack.program import guarded
from redpacket.stack.roles import SUPERUSER, WORKER
from redpacket.stack.supervise import Supervisor
from tests.integration.test_stack import read_messages, read_rows, write_message, write_row
from tests.system import System, run_command, running_system

LONG_S = 60.0
NOBODY = 65_534

# With each of these our processes reach another server, or none, or do not start.
ASTRAY = {
    "PGHOST": "nowhere.invalid",
    "PGPORT": "1",
    "PGUSER": "somebody",
    "PGPASSWORD": "x",
    "PGDATABASE": "nothing",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
    "PGOPTIONS": "-c search_path=nowhere",
    "JAVA_TOOL_OPTIONS": "-XX:NoSuchOption",
    "KAFKA_OPTS": "-XX:NoSuchOption",
    "REDIS_URL": "redis://nowhere.invalid",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
    "ALL_PROXY": "http://127.0.0.1:1",
}

# Becomes another user, and says which of what it is given lets it in: paths to read, sockets, ports of Kafka.
PROBE = """
import asyncio, concurrent.futures.thread, json, logging, os, socket, sys
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError

asked = json.load(sys.stdin)
logging.disable()
os.setgroups([])
os.setgid(asked["uid"])
os.setuid(asked["uid"])
open_to_us = []

for path in asked["paths"]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read()
        open_to_us.append(path)
    except OSError:
        pass
for path in asked["sockets"]:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.connect(path)
            open_to_us.append(path)
        except PermissionError:
            pass

async def knock(port, **how):
    try:
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=5000, **how)
        try:
            await admin.start()
            await admin.list_topics()
            open_to_us.append(f"{port} {how}")
        finally:
            await admin.close()
    except (KafkaError, OSError):
        pass

async def knock_everywhere():
    for port in asked["ports"]:
        await asyncio.open_connection("127.0.0.1", port)  # something is there
        await knock(port)
        for mechanism in ("SCRAM-SHA-256", "PLAIN"):
            for name in ("redpacket", "controller"):
                for password in ("", name):
                    await knock(port, security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism,
                                sasl_plain_username=name, sasl_plain_password=password)

asyncio.run(knock_everywhere())
print(json.dumps(open_to_us))
"""


@pytest.fixture(scope="module")
async def tried() -> AsyncIterator[System]:
    """`up` in a folder whose own mode keeps others out, by a name that is not its own, in an environment like that."""
    with tempfile.TemporaryDirectory(prefix="redpacket-test-") as name:
        folder = Path(name)
        open_folder(folder)
        async with running_system(Path(f"/{folder}/link/data"), environ=ASTRAY) as system:
            yield System(folder / "data", system.url, system.settings, system.process)


async def test_another_user_of_the_machine_opens_nothing_and_reads_nothing(tried: System) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    await tried.rows("SELECT 1")
    ports = kept_ports_of(tried.data)
    paths = [
        tried.data,
        *tried.data.rglob("*"),
        *(Path(f"/proc/{child.pid}/environ") for child in tried.state.children),
    ]
    sockets = [path for path in paths if path.is_socket()]
    assert {path.name for path in sockets} == {"redis.sock", ".s.PGSQL.5432"}
    names = {path.name for path in paths}
    assert {"jwt_private.pem", "stack.json", "kafka.properties", "kafka.log", "PG_VERSION", "environ"} <= names
    assert await probe(paths, sockets, ports) == []
    # What it was asked for can be had: by who started it.
    assert str(tried.data / "stack.json") in await probe([tried.data / "stack.json"], [], [], uid=0)


async def test_no_secret_is_on_a_command_line_nor_in_a_log(tried: System) -> None:
    settings = tried.settings
    assert len(settings.kafka_password) == 64
    passwords = [(tried.data / "postgres" / f"{role}.password").read_text() for role in (SUPERUSER, WORKER)]
    hidden = [settings.kafka_password, *passwords, (tried.data / "keys" / "id.key").read_text().strip()]
    files = [Path(f"/proc/{child.pid}/cmdline") for child in tried.state.children]
    seen = [path.read_text(errors="replace") for path in (*files, *(tried.data / "logs").rglob("*.log"))]
    assert not [text for text in seen for secret in hidden if secret in text]


async def test_postgres_and_redis_listen_on_no_port(tried: System) -> None:
    for name in ("postgres", "redis"):
        assert tcp_sockets_of(tried.pid_of(name)) == []
    assert len(tcp_sockets_of(tried.pid_of("kafka"))) >= 2


async def test_workers_have_a_role_that_runs_no_programs_and_reads_no_files(tried: System) -> None:
    connection = await asyncpg.connect(tried.settings.postgres_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = current_user AND rolsuper") == 0
        await connection.execute("CREATE TEMPORARY TABLE got (line text)")
        for how in ("COPY got FROM PROGRAM 'id'", "COPY got FROM '/etc/passwd'", "CREATE ROLE another SUPERUSER"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(how)
    finally:
        await connection.close()
    forged = tried.settings.postgres_url.replace(tried.settings.postgres_url.split(":")[2].split("@")[0], "guessed")
    for url in (forged, forged.replace(WORKER, SUPERUSER)):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url)


async def test_commands_reach_the_stack_whatever_the_environment_says_and_however_the_folder_is_called(
    tried: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (("demo", "--people", "4", "--shares", "3"), ("audit",), ("ps",), ("deadletters", "list")):
        status, out, error = await run_command(*command, "--data", f"/{tried.data}/../data/", environ=ASTRAY)
        assert status == 0, (command, out, error)
    monkeypatch.chdir(tried.data / "logs")
    status, out, _ = await run_command("token", "alice", "--data", "../../link/data")
    assert (status, out.count(".")) == (0, 2)


async def test_up_refuses_a_name_that_is_empty_or_broken_and_a_folder_of_somebody_else(tmp_path: Path) -> None:
    for name, says in (("", "names no folder"), (f"{tmp_path}/a\nb", "cannot be the name of a data folder")):
        status, _, error = await run_command("up", "--data", name, "--port", "0")
        assert status == 2
        assert says in error
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "thesis").write_text("years of work")
    status, _, error = await run_command("up", "--data", str(tmp_path), "--port", "0")
    assert status == 1
    assert "no stack has made it" in error
    assert sorted(names_in(tmp_path)) == ["redis", "thesis"]


async def test_data_of_an_earlier_version_opens_and_is_closed_to_others_from_then_on(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)  # longer than the name of a socket may be
    async with LocalServers(data) as first:
        await write_row(first, 7)
        await write_message(first, b"seven")
        elsewhere = first.redis.sockets
        assert data not in elsewhere.parents
    assert not elsewhere.exists()
    await make_earlier(data)
    async with LocalServers(data) as second:
        assert await read_rows(second) == [7]
        await write_message(second, b"eight")
        assert await read_messages(second, 2) == [b"seven", b"eight"]
        connection = await asyncpg.connect(second.postgres_url)
        try:
            await connection.execute("ALTER TABLE kept ADD COLUMN note text")  # as a migration does
            assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        finally:
            await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(second.postgres.superuser_url, password="")
        assert data.stat().st_mode & 0o777 == 0o700


def open_folder(folder: Path) -> None:
    """Others may enter, and the folder for the data, too; `link` is another name of it."""
    folder.chmod(0o755)
    (folder / "link").symlink_to(folder)
    (folder / "data").mkdir(mode=0o755)


async def make_earlier(data: Path) -> None:
    """As a version had it that trusted everybody: one role, which owns everything, and no mark."""
    postgres = data / "postgres"
    statements = f"""
ALTER TABLE kept OWNER TO {SUPERUSER}
ALTER DATABASE redpacket OWNER TO {SUPERUSER}
DROP ROLE {WORKER}
ALTER ROLE {SUPERUSER} PASSWORD NULL
"""
    argv = guarded([_binary("postgres"), "--single", "-D", str(postgres), "redpacket"], never_root=True)
    process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    _, errors = await process.communicate(statements.encode())
    assert b"ERROR" not in errors, errors
    for path in (*postgres.glob("*.password"), postgres / "redpacket.hba.conf", data / "redpacket.mark"):
        path.unlink()
    ports = json.loads((data / "ports.json").read_text())
    (data / "ports.json").write_text(json.dumps({"postgres": 1, "redis": 2, **ports}))
    os.chmod(data, 0o755)


async def test_a_start_that_cannot_succeed_says_so_at_once(tmp_path: Path) -> None:
    own_folder(tmp_path)
    postgres = Postgres(tmp_path / "postgres", tmp_path)
    await postgres.prepare(Log(tmp_path / "log"), lambda _: None)
    (tmp_path / "postgres" / f"{WORKER}.password").write_text(secrets.token_hex(32))
    async with Supervisor(tmp_path / "logs") as supervisor:
        child = supervisor.add(postgres.program())
        with pytest.raises(StackError, match=r"postgres cannot become ready \(.*password(.|\n)*FATAL"):
            await child.wait_ready(10 * LONG_S)


def test_a_port_is_ours_only_while_we_have_it() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as too,
    ):
        for one in (ours, too):
            assert serves(one.getsockname()[1])
            assert not serves(one.getsockname()[1], uid=os.geteuid() + 1)
        port = ours.getsockname()[1]
    assert not serves(port)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


def tcp_sockets_of(pid: int) -> list[str]:
    held = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [line for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [line for line in lines if f"socket:[{line.split()[9]}]" in held]


def kept_ports_of(data: Path) -> list[int]:
    return list(json.loads((data / "ports.json").read_text()).values())


async def probe(paths: list[Path], sockets: list[Path], ports: list[int], uid: int = NOBODY) -> list[str]:
    """What is open to a user of this id."""
    asked = {"uid": uid, "paths": [*map(str, paths)], "sockets": [*map(str, sockets)], "ports": ports}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROBE, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    out, error = await asyncio.wait_for(process.communicate(json.dumps(asked).encode()), LONG_S)
    assert process.returncode == 0, error.decode()
    found: list[str] = json.loads(out)
    return found
