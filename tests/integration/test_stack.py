"""The stack on this machine, with the real Postgres, Valkey and Kafka."""

import asyncio
import os
import signal
import socket
import stat
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from redpacket.log.connect import as_user
from redpacket.stack.error import StackError
from redpacket.stack.folder import own_folder
from redpacket.stack.keys import ensure_keys
from redpacket.stack.local import LocalServers
from redpacket.stack.logs import Log
from redpacket.stack.ports import kept_ports
from redpacket.stack.postgres import Postgres
from redpacket.stack.program import NotAnsweringError
from redpacket.stack.ps import format_json, format_table
from redpacket.stack.redis import Redis
from redpacket.stack.sockets import REDIS
from redpacket.stack.state import StackState, read_stack
from redpacket.stack.supervise import Supervisor

LONG_S = 120.0  # longer than a start may take
SERVERS = ("postgres", "redis", "kafka")
TOPIC = "kept"

# Starts the servers, says so, and stays.
HOLD = """
import asyncio, sys
from pathlib import Path
from redpacket.stack.local import LocalServers

async def main():
    async with LocalServers(Path(sys.argv[1])) as servers:
        print("ready", flush=True)
        await servers.supervisor.watch()

asyncio.run(main())
"""

# `redpacket up` with one worker of each kind; the workers' command is argv[3].
UP = """
import asyncio, sys
from pathlib import Path
from redpacket.stack.error import StackError
from redpacket.stack.up import run_up

def say(line):
    print(line, flush=True)

command = (sys.executable, sys.argv[3])
try:
    asyncio.run(run_up(Path(sys.argv[1]), int(sys.argv[2]), 1, 1, say, lambda: say("so it is"), command=command))
except StackError as error:
    say(error)
    sys.exit(1)
"""

# Stands in for the workers: serves on the health port and, for `api`, on the socket passed on.
WORKER = """
import asyncio, os, signal, socket, sys

async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    body = f"{sys.argv[1]} {os.environ['REDPACKET_BATCH_MAX']}".encode()
    writer.write(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n%s" % (len(body), body))
    await writer.drain()
    writer.close()

async def main():
    await asyncio.start_server(serve, "127.0.0.1", int(os.environ["REDPACKET_OPS_PORT"]))
    if sys.argv[1] == "api":
        assert sys.argv[2] == "--fd"
        await asyncio.start_server(serve, sock=socket.socket(fileno=int(sys.argv[3])))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()

if sys.argv[1] != "migrate":
    asyncio.run(main())
elif os.environ["REDPACKET_BATCH_MAX"] == "13":
    sys.exit("thirteen brings bad luck")
"""


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalServers]:
    async with LocalServers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="module")
def up_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for the tests of `up`, so that only the first of them makes it."""
    data = tmp_path_factory.mktemp("up")
    own_folder(data)
    (data / "worker.py").write_text(WORKER)
    return data


async def test_each_server_answers(servers: LocalServers) -> None:
    await write_row(servers, 1)
    await write_message(servers, b"one")
    async with redis.asyncio.Redis.from_url(servers.redis_url, socket_timeout=LONG_S) as client:
        assert await client.config_get("save", "appendonly", "maxmemory-policy", "maxmemory") == {
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "maxmemory": str(3 * 1024**3),
        }
    assert await read_rows(servers) == [1]
    assert await read_messages(servers, 1) == [b"one"]


async def test_a_killed_server_is_started_again(servers: LocalServers) -> None:
    before = {name: servers.child(name).pid for name in SERVERS}
    for name in SERVERS:
        servers.child(name).kill()
    for name in SERVERS:
        await servers.child(name).wait_ready(LONG_S)
    assert all(servers.child(name).pid != before[name] for name in SERVERS)
    assert await read_rows(servers) == [1]
    assert await read_messages(servers, 1) == [b"one"]


async def test_a_server_can_be_kept_down_for_a_while(servers: LocalServers) -> None:
    async with servers.child("redis").down():
        with pytest.raises(OSError):
            await asyncio.open_unix_connection(servers.redis.sockets / REDIS)
    await servers.child("redis").wait_ready(LONG_S)


async def test_a_second_stack_on_the_same_data_is_refused(servers: LocalServers) -> None:
    with pytest.raises(StackError, match=f"already running on .*{os.getpid()}"):
        async with LocalServers(servers.data):
            pass
    assert servers.child("postgres").state == "ready"


async def test_a_second_start_reads_what_the_first_wrote_though_its_ports_are_taken(tmp_path: Path) -> None:
    async with LocalServers(tmp_path) as first:
        await write_row(first, 7)
        await write_message(first, b"seven")
        pids = [first.child(name).pid for name in SERVERS]
    assert not processes_of(tmp_path)
    assert not any(exists(pid) for pid in pids)
    taken = kept_ports(tmp_path / "ports.json")
    with (
        socket.create_server(("127.0.0.1", taken.kafka)),
        socket.create_server(("127.0.0.1", taken.kafka_controller)),
    ):
        async with LocalServers(tmp_path) as second:
            assert second.redis_url == first.redis_url
            assert second.kafka_bootstrap != first.kafka_bootstrap
            assert await read_rows(second) == [7]
            await write_message(second, b"eight")
            assert await read_messages(second, 2) == [b"seven", b"eight"]


async def test_a_killed_parent_leaves_no_server(tmp_path: Path) -> None:
    async with running(HOLD, tmp_path) as parent:
        assert await next_line(parent) == "ready"
        assert len(processes_of(tmp_path)) >= len(SERVERS)
        parent.kill()
        await parent.wait()
        await until(lambda: not processes_of(tmp_path))
        # Nor a lock: the data can be used again at once.
    async with Supervisor(tmp_path / "logs") as supervisor:
        postgres = Postgres(tmp_path / "postgres", tmp_path)
        await postgres.prepare(supervisor.log("postgres"), print)
        await supervisor.add(postgres.program()).wait_ready(LONG_S)


async def test_a_cut_initdb_is_made_again(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres", tmp_path)
    log = Log(tmp_path / "postgres.log")
    cut = asyncio.create_task(postgres.prepare(log, lambda _: None))
    await until((tmp_path / "postgres.new" / "half" / "PG_VERSION").exists)
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    assert not (tmp_path / "postgres").exists()
    await until(lambda: not processes_of(tmp_path))
    await postgres.prepare(log, lambda _: None)
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.add(postgres.program()).wait_ready(LONG_S)


async def test_a_folder_that_lost_its_heart_is_reported_and_left_alone(tmp_path: Path) -> None:
    own_folder(tmp_path)
    (tmp_path / "postgres" / "base").mkdir(parents=True)
    with pytest.raises(StackError, match=r"postgres is not empty and has no PG_VERSION"):
        async with LocalServers(tmp_path):
            pass
    assert (tmp_path / "postgres" / "base").exists()
    assert not processes_of(tmp_path)


async def test_another_server_on_the_port_is_not_taken_for_ours(servers: LocalServers, tmp_path: Path) -> None:
    with pytest.raises(NotAnsweringError, match="is served by process"):
        await Redis(tmp_path, servers.redis.sockets).answers(os.getpid())
    (tmp_path / "meta.properties").write_text("cluster.id=another\n")
    with pytest.raises(NotAnsweringError, match="is served by the Kafka cluster"):
        await replace(servers.kafka, folder=tmp_path).answers(os.getpid())


def test_keys_are_made_once(tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    ensure_keys(tmp_path)
    made = contents()
    assert sorted(made) == ["id.key", "jwt_private.pem", "jwt_public.pem", "split.key"]
    assert len(bytes.fromhex(made["id.key"].decode())) == len(bytes.fromhex(made["split.key"].decode())) == 32
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    ensure_keys(tmp_path)
    assert contents() == made
    (tmp_path / "jwt_public.pem").unlink()  # as when the first start was cut
    ensure_keys(tmp_path)
    assert contents() == made


async def test_up_runs_all_and_a_second_ctrl_c_leaves_nothing(up_data: Path) -> None:
    async with running(UP, up_data, "0", str(up_data / "worker.py"), batch_max=7) as up:
        lines = await lines_until(up, "so it is")
        assert lines[-2].startswith("ready http://127.0.0.1:")
        state = read_stack(up_data)
        assert state.ready
        assert lines[-2] == f"ready {state.url}"
        assert [child.name for child in state.children] == ["api-0", "ledger-0", "redis", "kafka", "postgres"]
        assert {child.state for child in state.children} == {"ready"}
        assert len(format_table(state).splitlines()) == 6
        assert '"name": "kafka"' in format_json(state)
        assert (await httpx.AsyncClient(timeout=LONG_S).get(state.url)).text == "api 7"

        os.kill(pid_of(state, "api-0"), signal.SIGKILL)
        await until(lambda: read_stack(up_data).children[0].restarts == 1)
        assert (await httpx.AsyncClient(timeout=LONG_S).get(state.url)).text == "api 7"

        twice = await asyncio.create_subprocess_exec(
            sys.executable, "-c", UP, str(up_data), "0", str(up_data / "worker.py"), stdout=PIPE
        )
        output, _ = await asyncio.wait_for(twice.communicate(), LONG_S)
        assert twice.returncode == 1
        assert f"already running on {up_data} (process {up.pid})" in output.decode()

        os.kill(pid_of(state, "ledger-0"), signal.SIGSTOP)
        up.send_signal(signal.SIGINT)
        assert await next_line(up) == "stopping"
        up.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(up.wait(), LONG_S) == 0
    assert not processes_of(up_data)
    with pytest.raises(StackError, match="no stack is running"):
        read_stack(up_data)


async def test_up_with_tables_that_cannot_be_made_says_why_and_stops(up_data: Path) -> None:
    async with running(UP, up_data, "0", str(up_data / "worker.py"), batch_max=13) as up:
        assert up.stdout is not None
        output = (await asyncio.wait_for(up.stdout.read(), LONG_S)).decode()
        assert await up.wait() == 1
    assert "migrate --old-redis-is-dead ended with status 1:\nthirteen brings bad luck" in output
    assert not processes_of(up_data)


async def test_up_on_a_taken_port_says_so_before_it_starts_anything(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with running(UP, tmp_path / "data", str(port), "no-worker.py") as up:
            assert (
                await next_line(up)
                == f"port {port} of 127.0.0.1 (--host, --port) is not available: Address already in use"
            )
            assert await asyncio.wait_for(up.wait(), LONG_S) == 1
    assert not (tmp_path / "data").exists()


@asynccontextmanager
async def running(code: str, data: Path, *args: str, batch_max: int = 7) -> AsyncIterator[Process]:
    environ = os.environ | {"REDPACKET_BATCH_MAX": str(batch_max)}
    argv = [sys.executable, "-c", code, str(data), *args]
    process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=STDOUT, env=environ)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def next_line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), LONG_S)).decode().rstrip("\n")


async def lines_until(process: Process, last: str) -> list[str]:
    lines = [await next_line(process)]
    while lines[-1] != last:
        assert lines[-1], lines
        lines.append(await next_line(process))
    return lines


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not holds():
            await asyncio.sleep(0.01)


def exists(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


def pid_of(state: StackState, name: str) -> int:
    (pid,) = (child.pid for child in state.children if child.name == name)
    assert pid is not None
    return pid


def processes_of(data: Path) -> list[str]:
    """The command lines of all live processes, but the tests' own, that name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has just ended
                continue
            if str(data) in line:
                found.append(line)
    return found


def access(servers: LocalServers) -> dict[str, Any]:
    return {"bootstrap_servers": servers.kafka_bootstrap, **as_user(servers.kafka_user, servers.kafka_password)}


async def write_row(servers: LocalServers, number: int) -> None:
    connection = await asyncpg.connect(servers.postgres_url, timeout=LONG_S, command_timeout=LONG_S)
    try:
        await connection.execute("CREATE TABLE kept (number int)")
        await connection.execute("INSERT INTO kept VALUES ($1)", number)
    finally:
        await connection.close()


async def read_rows(servers: LocalServers) -> list[int]:
    connection = await asyncpg.connect(servers.postgres_url, timeout=LONG_S, command_timeout=LONG_S)
    try:
        return [row["number"] for row in await connection.fetch("SELECT number FROM kept")]
    finally:
        await connection.close()


async def write_message(servers: LocalServers, message: bytes) -> None:
    admin = AIOKafkaAdminClient(**access(servers))
    await admin.start()
    try:
        if TOPIC not in await admin.list_topics():
            await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(**access(servers), acks="all") as producer:
        await asyncio.wait_for(producer.send_and_wait(TOPIC, message), LONG_S)


async def read_messages(servers: LocalServers, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(**access(servers)) as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        return [(await asyncio.wait_for(consumer.getone(), LONG_S)).value for _ in range(count)]
