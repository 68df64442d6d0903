"""What keeps a command from its work is said as it is, and blamed on nobody else."""

import asyncio
import errno
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from loadtest.bench.figures import Figures, Floor, Report
from loadtest.stack import PARTS
from redpacket.cli import main
from redpacket.settings import Settings, settings_environ
from redpacket.stack.error import NotRunningError, StackError
from redpacket.stack.lock import held_lock, lock_holder
from redpacket.stack.logs import Log
from redpacket.stack.ports import kept_ports
from redpacket.stack.redis import Redis
from redpacket.stack.state import StackState, read_stack, ready_stack, write_stack

SCRIPT = Path(__file__).parents[2] / "docs" / "verify.mjs"
SETTINGS = Settings(
    postgres_url="postgresql://127.0.0.1:1/x",
    redis_url="redis://127.0.0.1:1/0",
    kafka_bootstrap="127.0.0.1:1",
    keys_dir="/nowhere",
)
# Those that ask a stack, with what makes them whole.
ASKING = (
    ["audit"],
    ["verify", "f" * 38],
    ["trace", "x"],
    ["token", "alice"],
    ["demo"],
    ["roll", "api"],
    ["deadletters", "list"],
    ["deadletters", "show", "1-1"],
    ["deadletters", "replay", "1-1"],
    ["deadletters", "reject", "1-1"],
    ["rehearse", "steady"],
)


def _run(*argv: str, **environ: str) -> Result:
    return CliRunner().invoke(main, argv, env=environ, prog_name="redpacket")


@pytest.fixture
def starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on which this process starts a stack that has not yet answered."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    with held_lock(data):
        write_stack(data, StackState(os.getpid(), ready=False, url="http://127.0.0.1:1", environ={}, children=[]))
        yield data


@pytest.mark.parametrize("argv", ASKING, ids=" ".join)
def test_a_stack_that_is_still_starting_is_said_to_be(starting: Path, argv: list[str]) -> None:
    for environ in ({}, settings_environ(SETTINGS)):
        done = _run(*argv, "--data", str(starting), **environ)
        assert done.exit_code == (2 if _is_check(argv) else 1)
        assert "still starting" in done.stderr or "still being started" in done.stderr, done.output
        assert "missing" not in done.stderr


def _is_check(argv: list[str]) -> bool:
    return argv[0] in ("audit", "verify", "rehearse") or argv[:2] == ["deadletters", "replay"]


def test_a_stack_whose_first_words_are_not_written_yet_is_starting_and_one_that_ended_is_not_running(
    tmp_path: Path,
) -> None:
    with held_lock(tmp_path):
        with pytest.raises(StackError, match="still starting"):
            read_stack(tmp_path)
        write_stack(tmp_path, StackState(1, ready=True, url="", environ={}, children=[]))  # of an earlier one
        with pytest.raises(StackError, match="still starting"):
            read_stack(tmp_path)
    with pytest.raises(NotRunningError, match="no stack is running"):
        ready_stack(tmp_path)


def test_a_damaged_lock_and_a_damaged_state_are_named(tmp_path: Path) -> None:
    with held_lock(tmp_path):
        for rubbish in (b"{", b"\xff\xff", b"[]", b'{"pid": "x"}'):
            (tmp_path / "stack.json").write_bytes(rubbish)
            with pytest.raises(StackError, match=r"stack\.json, which .* cannot be read"):
                read_stack(tmp_path)
        for rubbish in (b"nobody\n", b"\xff", b"-1", b"1 2"):
            (tmp_path / "lock").write_bytes(rubbish)
            with pytest.raises(StackError, match="lock is damaged"):
                lock_holder(tmp_path)
            with pytest.raises(StackError, match="already running"), held_lock(tmp_path):
                pass
    assert lock_holder(tmp_path) is None, "nobody holds it, whatever it says"
    (tmp_path / "folder" / "lock").mkdir(parents=True)
    for look in (lock_holder, lambda data: held_lock(data).__enter__()):
        with pytest.raises(StackError, match="cannot be opened as the lock"):
            look(tmp_path / "folder")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "lock")  # nobody writes into it: whoever opened it would wait
    for look in (lock_holder, lambda data: held_lock(data).__enter__()):
        with pytest.raises(StackError, match="cannot be opened as the lock"):
            look(tmp_path / "pipe")


def test_damaged_ports_are_chosen_anew(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    for rubbish in (b"", b"{", b"\xff", b"[]", b'{"kafka": 99999999}', b'{"kafka": "\xff"}', b'{"other": 1}'):
        file.write_bytes(rubbish)
        assert all(kept_ports(file).__getattribute__(name) for name in ("kafka", "kafka_controller"))
    file.unlink()
    file.mkdir()
    with pytest.raises(StackError, match=r"ports\.json cannot be read"):
        kept_ports(file)


async def test_a_redis_folder_that_is_a_link_is_said_to_be_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").touch()
    (tmp_path / "redis").symlink_to(tmp_path / "theirs")
    with pytest.raises(StackError, match="redis is a link"):
        await Redis(tmp_path / "redis", tmp_path).prepare(Log(tmp_path / "log"), print)
    assert (tmp_path / "theirs" / "thesis.txt").exists()


def test_a_taken_port_is_named_with_who_asked_for_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = _run("api", "--port", port, **settings_environ(SETTINGS))
        assert done.exit_code == 1
        assert f"cannot listen on port {port} of '127.0.0.1' (--host and --port): Address already in use" in done.stderr
        done = _run("up", "--port", port, "--data", str(tmp_path / "data"))
        assert done.exit_code == 1
        assert f"port {port} of 127.0.0.1 (--host, --port) is not available: Address" in done.stderr
        done = _run("rehearse", "steady", "--web", "--web-port", port, "--out", str(tmp_path / "out"))
        assert (done.exit_code, f"port {port} of 127.0.0.1 is not available: Address" in done.stderr) == (2, True)
    assert not os.listdir(tmp_path)


def test_a_descriptor_that_is_no_socket_is_named() -> None:
    with Path("/dev/null").open() as file:
        for fd in (str(file.fileno()), "999999"):
            done = _run("api", "--fd", fd, **settings_environ(SETTINGS))
            assert (done.exit_code, f"descriptor {fd} (--fd) is no listening socket" in done.stderr) == (1, True)


def test_whom_nobody_knows_is_not_killed_and_nothing_is_started_for_it(tmp_path: Path) -> None:
    done = _run("rehearse", "steady", "--kill", "redsi", "--out", str(tmp_path / "out"))
    assert (done.exit_code, "--kill redsi: the stack has ledger-0" in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["before", "within"])
def test_a_check_that_is_interrupted_at_any_time_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, when: str
) -> None:
    async def ask_itself(*_: object) -> Any:
        os.kill(os.getpid(), number)
        await asyncio.sleep(60)

    def ask_at_once(*_: object) -> Any:
        os.kill(os.getpid(), number)
        return "mark"

    monkeypatch.setattr("ledger.audit.run.audit", ask_itself)
    if when == "before":
        monkeypatch.setattr("ledger.audit.run.parse_since", ask_at_once)
    handlers = [signal.getsignal(it) for it in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    done = _run("audit", "--data", "/nowhere", **settings_environ(SETTINGS))
    assert (done.exit_code, "Error: interrupted" in done.stderr) == (2, True), done.output
    assert [signal.getsignal(it) for it in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def _figures(**changed: Any) -> Figures:
    cpu = {**dict.fromkeys(PARTS, 1.0), "sum": 5.0}
    whole: dict[str, Any] = {
        "case": "hot", "connections": 8, "counted": "claim", "answers": {"201": 9}, "unanswered": 0, "unexpected": 0,
        "acknowledged": 9, "settled": 9, "differs": False, "seconds": 1.0, "per_s": 9.0, "p50_ms": 1.0, "p99_ms": 1.0,
        "batch_items": 1.0, "transaction_items": 1.0, "cpu_us": cpu, "generator_cpu_us": 1.0, "floor": Floor(cpu, 1.0),
    }  # fmt: skip
    return Figures(**(whole | changed))


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({}, 0, ""),
        ({"unanswered": 1_000_000}, 1, "hot, 8 connections: answered 9 x 201; 1000000 not answered"),
        ({"answers": {"201": 9, "503": 4}, "unexpected": 4}, 1, "answered 9 x 201, 4 x 503; 0 not answered"),
        ({"settled": 8, "differs": True}, 1, "ACKNOWLEDGED 9, IN THE LEDGER 8"),
    ],
)
def test_a_bench_whose_requests_were_not_answered_as_they_should_be_fails(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], status: int, said: str
) -> None:
    async def bench(*_: object) -> Report:
        return Report("0", {}, "own", 1, 1, {}, [_figures(**changed)])

    monkeypatch.setattr("loadtest.bench.run.run_bench", bench)
    for options in ([], ["--json"]):
        done = _run("bench", *options)
        assert (done.exit_code, said in done.stderr) == (status, True), done.output
        assert ("Error: " in done.stderr) == bool(status)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "it takes a URL, a token and a packet"),
        (["http://127.0.0.1:1", "t"], "it takes a URL, a token and a packet"),
        (["http://127.0.0.1:1", "", "p"], "it takes a URL, a token and a packet"),
        (["nowhere", "t", "p"], "nowhere is no URL of a service"),
        (["ftp://127.0.0.1", "t", "p"], "is no URL of a service"),
        (["http://[", "t", "p"], "is no URL of a service"),
        (["http://127.0.0.1:9", "t", "p"], "cannot be asked"),
        (["http://127.0.0.1:9", "t\nt☃", "p"], "cannot be asked"),
    ],
)
def test_the_verifier_in_javascript_says_what_it_takes(argv: list[str], said: str, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: docs/verify.mjs cannot be run")
    done = subprocess.run(["node", str(SCRIPT), *argv], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "    at " not in done.stderr, "a trace of calls"
    alone = shutil.copy(SCRIPT, tmp_path)
    done = subprocess.run(["node", alone], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (2, "Not verified: split.mjs is not beside this script\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Error: [Errno 28] No space left on device\n"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "No such file or directory: 'x'\n"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "postgres"),
    ],
)
def test_a_full_disk_is_not_blamed_on_postgres(monkeypatch: pytest.MonkeyPatch, error: OSError, said: str) -> None:
    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("ledger.audit.run.audit", fails)
    done = _run("audit", "--data", "/nowhere", **settings_environ(SETTINGS))
    assert (done.exit_code, said in done.stderr, "postgres" in done.stderr) == (2, True, said == "postgres")


def test_help_tells_the_exit_statuses_of_each_check() -> None:
    for name in ("audit", "verify", "bench", "rehearse"):
        assert "Exit status" in (main.commands[name].help or "")
    letters = main.commands["deadletters"]
    assert isinstance(letters, click.Group)
    assert "Exit status" in (letters.commands["replay"].help or "")
