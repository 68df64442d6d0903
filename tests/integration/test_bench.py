"""The bench: its generators send what they are given, and a small run has every figure and agrees with the ledger."""

import json
import shutil
from pathlib import Path

import pytest

from loadtest.bench.cases import CASES
from loadtest.bench.floors.http import constant_server
from loadtest.bench.load import fire, write_requests
from loadtest.stack import PARTS
from redpacket.cli import proof
from tests.system import run_command

REQUEST = b"POST /v1/packets/%d/claims HTTP/1.1\r\nHost: bench\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("generator", ["wrk", "own"])
async def test_a_generator_sends_each_request_once_and_tells_of_every_answer(tmp_path: Path, generator: str) -> None:
    if generator == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not on PATH")
    requests = tmp_path / "requests"
    async with constant_server() as (_, port):
        # One alone ends before wrk has quite begun.
        for connections, count in ((1, 1), (8, 1_000)):
            write_requests(requests, (REQUEST % number for number in range(count)))
            fired = await fire(port, connections, requests, generator=generator)
            assert (fired.sent, fired.statuses) == (count, {"201": count})
            assert fired.began_s < fired.ended_s
            assert 0 < fired.p50_ms <= fired.p99_ms
        fired = await fire(port, 8, requests, 1, again=True, generator=generator)
        assert fired.sent > 1_000
        assert fired.statuses == {"201": fired.sent}


@pytest.mark.long
async def test_a_small_run_has_every_figure_and_what_was_acknowledged_is_in_the_ledger() -> None:
    options = ["--json", "--connections", "8", "--seconds", "1", "--case", "hot", "--case", "sends"]
    status, out, error = await run_command("bench", *options)
    assert status == 0, error
    report = json.loads(out)
    assert report["holds"] is True
    assert report["idle_cpu_ms_per_s"].keys() == set(PARTS)
    assert [(run["case"], run["connections"]) for run in report["runs"]] == [("hot", 8), ("sends", 8)]
    for run in report["runs"]:
        assert run["settled"] == run["acknowledged"] == run["answers"]["201"] > 0
        assert run["answers"].keys() == {"201"}
        assert (run["unexpected"], run["unanswered"], run["differs"]) == (0, 0, False)
        assert run["per_s"] == pytest.approx(run["settled"] / run["seconds"], rel=0.01)
        assert 0 < run["p50_ms"] <= run["p99_ms"]
        assert 1 <= run["batch_items"] <= run["transaction_items"]
        for cpu_us in (run["cpu_us"], run["floor"]["cpu_us"]):
            assert cpu_us.keys() == {*PARTS, "sum"}
            assert all(us > 0 for us in cpu_us.values())
            assert cpu_us["sum"] == pytest.approx(sum(cpu_us[part] for part in PARTS), rel=0.01)
        assert run["floor"]["ratio"] == pytest.approx(run["cpu_us"]["sum"] / run["floor"]["cpu_us"]["sum"], rel=0.01)
        assert run["generator_cpu_us"] > 0


def test_the_command_line_knows_every_case() -> None:
    assert tuple(CASES) == proof.CASES
