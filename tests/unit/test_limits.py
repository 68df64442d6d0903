"""Limits follow from each other, wherever they are set; a start that cannot be served is refused with the numbers."""

import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from redpacket.cli import main
from redpacket.limits import maxmemory_mib, postgres_connections, stack_files, watermarks_bytes
from redpacket.ops.open_files import TooFewFilesError, ensure_open_files
from redpacket.settings import Settings
from redpacket.stack.error import StackError
from redpacket.stack.program import python

COMPOSE = Path(__file__).parents[2] / "compose.yaml"
MIB = 2**20
DEFAULTS = Settings(postgres_url="", redis_url="", kafka_bootstrap="", keys_dir="")


def test_eviction_starts_before_packets_are_refused_and_that_before_redis_refuses_claims() -> None:
    for evict, refuse in ((1_024, 2_048), (1, 1), (1, 2), (7, 100_000)):
        room = maxmemory_mib(refuse)
        for maxmemory in (0, room, room + 1, 2 * room):
            assert watermarks_bytes(evict, refuse, maxmemory * MIB) == (evict * MIB, refuse * MIB)
        for maxmemory in (room - 1, refuse, refuse // 2 or 1):
            low, high = watermarks_bytes(evict, refuse, maxmemory * MIB)
            assert low < high <= maxmemory * MIB * 3 // 4
            assert (low, high) <= (evict * MIB, refuse * MIB)


def test_compose_gives_redis_and_postgres_what_its_workers_may_take() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]  # type: ignore[no-untyped-call]
    (gib,) = re.findall(r"--maxmemory (\d+)gb", " ".join(services["redis"]["command"]))
    assert int(gib) * 1_024 >= maxmemory_mib(DEFAULTS.memory_refuse_mib)
    ledgers = sum(name.startswith("ledger-") for name in services)
    assert "max_connections" not in " ".join(services["postgres"]["command"]), "100 is its own default"
    assert postgres_connections(1, ledgers) <= 100


def test_more_ledger_workers_than_shards_are_refused_before_anything_starts(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["up", "--data", str(tmp_path / "data"), "--port", "0", "--ledger", "5"], env={"REDPACKET_SHARDS": "4"}
    )
    assert done.exit_code == 1
    assert "5 ledger workers (--ledger) are more than 4 shards (REDPACKET_SHARDS)" in done.stderr
    assert not (tmp_path / "data").exists()


def test_postgres_and_redis_take_what_the_most_workers_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def servers(*_: object, **options: Any) -> None:
        given.update(options)
        raise StackError("so far")

    monkeypatch.setattr("redpacket.stack.system.LocalServers", servers)
    monkeypatch.setattr("redpacket.stack.system.ensure_open_files", lambda *_: None)
    argv = ["up", "--data", str(tmp_path / "data"), "--port", "0", "--api", "64", "--ledger", "16"]
    CliRunner().invoke(main, argv, env={"REDPACKET_MEMORY_REFUSE_MIB": "3000"})
    assert given["connections"] >= 64 * 8 + 16 * 16 + 3
    assert given["redis_maxmemory"] == "4000mb"
    assert stack_files(64, 16, 16)["Redis"] < 10_000, "its own maxclients"


def test_a_bench_of_more_connections_than_files_is_refused_before_anything_starts() -> None:
    argv = python("redpacket.cli", "bench", "--connections", "8,900")
    done = subprocess.run(argv, preexec_fn=_few_files, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "with 900 connections (--connections) needs 1092 open files" in done.stderr) == (2, True)


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


@pytest.mark.parametrize("command", [["up", "--port", "0", "--data"], ["api"], ["ledger"]], ids=lambda it: it[0])
def test_with_few_files_a_start_says_at_once_how_many_it_needs(command: list[str], tmp_path: Path) -> None:
    argv = python("redpacket.cli", *command, *([str(tmp_path / "data")] if command[0] == "up" else []))
    done = subprocess.run(
        argv,
        preexec_fn=_few_files,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    needed = re.search(r"needs (\d+) open files, 100 are allowed", done.stderr)
    assert needed, done.stderr
    assert int(needed[1]) >= 256
    assert not (tmp_path / "data").exists()


def test_the_soft_limit_is_raised_where_the_hard_one_suffices() -> None:
    code = (
        "import resource, sys\nfrom redpacket.ops.open_files import ensure_open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 1000))\nensure_open_files(500, 'it')\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "(1000, 1000)\n"


def test_files_are_counted_by_workers() -> None:
    assert stack_files(64, 16, 16)["Redis"] > stack_files(2, 2, 16)["Redis"]
    with pytest.raises(TooFewFilesError, match=r"it needs \d+ open files"):
        ensure_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1, "it")
