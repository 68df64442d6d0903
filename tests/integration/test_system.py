"""The system as `redpacket up` runs it: who owns what, what the commands print, and that a second start goes on."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path

import httpx
import jwt

from redpacket.settings import settings_environ
from tests.deployment import LONG_S
from tests.system import System, run_command, running_system


async def _owned(system: System) -> Counter[str]:
    """How many shards each ledger worker owns and sees open."""
    owned: Counter[str] = Counter()
    async with httpx.AsyncClient(trust_env=False) as http:
        for child in system.state.children:
            if child.name.startswith("ledger-"):
                metrics = (await http.get(f"http://127.0.0.1:{child.port}/metrics")).text
                owned[child.name] = len(
                    re.findall(r'^redpacket_shard_open\{shard="\d+"\} 1\.0$', metrics, re.MULTILINE)
                )
    return owned


async def test_two_ledger_workers_share_sixteen_shards(system: System) -> None:
    async with asyncio.timeout(LONG_S):
        while await _owned(system) != {"ledger-0": 8, "ledger-1": 8}:
            await asyncio.sleep(0.2)


async def test_ps_lists_every_process(system: System) -> None:
    status, out, _ = await run_command("ps", "--json", "--data", str(system.data))
    assert status == 0
    names = [process["name"] for process in json.loads(out)]
    assert names == ["api-0", "api-1", "ledger-0", "ledger-1", "redis", "kafka", "postgres"]
    assert all(process["pid"] and process["state"] for process in json.loads(out))


async def test_without_a_local_stack_a_command_takes_the_deployment_that_the_settings_name(
    system: System, tmp_path: Path
) -> None:
    command = ("token", "alice", "--data", str(tmp_path / "none"))
    status, out, _ = await run_command(*command, environ=settings_environ(system.settings))
    assert status == 0
    assert jwt.decode(out.strip(), options={"verify_signature": False})["sub"] == "alice"
    status, out, error = await run_command(*command)
    assert (status, out) == (1, "")
    assert "no stack is running" in error


async def test_a_token_stands_alone_on_its_line_and_works(system: System) -> None:
    status, out, error = await run_command("token", "alice", "--data", str(system.data))
    assert (status, error, out.count("\n")) == (0, "", 1)
    async with httpx.AsyncClient(base_url=system.url, trust_env=False) as http:
        answer = await http.get("/v1/wallet", headers={"Authorization": f"Bearer {out.strip()}"})
    assert answer.json()["owner"] == "alice"


async def test_commands_say_what_is_wrong_and_fail(system: System, tmp_path: Path) -> None:
    for arguments, said in (
        (("token", "no spaces", "--data", str(system.data)), "an owner is"),
        (("ps", "--data", str(tmp_path)), "no stack is running"),
        (("demo", "--data", str(tmp_path)), "no stack is running"),
        (("migrate",), "REDPACKET_"),
        (("up", "--data", str(system.data)), "already running"),
    ):
        status, out, error = await run_command(*arguments)
        assert status != 0, arguments
        assert said in out + error
        assert "Traceback" not in out + error


async def test_the_demo_adds_up(system: System) -> None:
    status, out, error = await run_command("demo", "--data", str(system.data))
    assert status == 0, out + error
    assert "100 of 200 people got a share; 100 came too late" in out
    assert "conservation: total 88800 = claimed 88800 + refunded 0 + remaining 0" in out
    assert "best luck: " in out
    assert out.endswith("I8 holds: all holds\n")


async def test_the_demo_of_a_large_packet_tells_how_far_it_is(system: System) -> None:
    status, out, error = await run_command("demo", "--data", str(system.data), "--shares", "1000", "--people", "400")
    assert status == 0, out + error
    assert "400 of 400 people got a share" in out
    # Beside what it says: the crowd, second by second, then the ledger and the audit.
    told = error.splitlines()
    asked = [int(line.split(" of ")[0]) for line in told if line.endswith(" of 400 people have their answers")]
    assert asked == sorted(asked)
    assert asked[-1] == 400
    assert "waiting until the ledger has all of it" in told
    assert any(line.startswith("log: ") for line in told)


async def test_a_second_start_goes_on_where_the_first_was(tmp_path: Path) -> None:
    async with running_system(tmp_path, "--api", "1", "--ledger", "1") as first, first.client("alice") as alice:
        async with first.client("boss", "operator") as boss:
            top_up = {"owner": "alice", "amount": 1_000}
            assert (await boss.post("/v1/topups", json=top_up, headers={"Idempotency-Key": "k"})).status_code == 201
        packet = {"kind": "equal", "total": 600, "shares": 2}
        sent = (await alice.post("/v1/packets", json=packet, headers={"Idempotency-Key": "k"})).json()
        claim = (await alice.post(f"/v1/packets/{sent['id']}/claims", json={})).json()
    async with running_system(tmp_path, "--api", "1", "--ledger", "1") as second, second.client("alice") as alice:
        again = await alice.post(f"/v1/packets/{sent['id']}/claims", json={})
        assert (again.status_code, again.json()) == (200, claim)
        repeated = await alice.post("/v1/packets", json=packet, headers={"Idempotency-Key": "k"})
        assert (repeated.status_code, repeated.json()["id"]) == (200, sent["id"])
        wallet = (await alice.get("/v1/wallet")).json()
        assert (wallet["available"], wallet["held"]) == (700, 300)
