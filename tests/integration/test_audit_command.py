"""The command `redpacket audit` on the running system: what it prints, and its exit status."""

import json
from collections.abc import Mapping
from pathlib import Path

from redpacket.settings import settings_environ
from tests.integration.api import Make, claim, send
from tests.system import System, run_command

INVARIANTS = ["I1", "I2", "I3", "I4", "I5", "I6", "I8"]


async def _audit(data: Path, *options: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    return await run_command("audit", "--data", str(data), *options, environ=environ)


async def test_it_prints_each_invariant_with_its_figures_and_every_head(
    system: System, client: Make, nonce: str
) -> None:
    packet = await send(client, "alice", nonce, shares=3)
    for owner in ("bob", "carol"):
        assert (await claim(client, owner, packet["id"])).status_code == 201
    assert (await client("alice").post(f"/v1/packets/{packet['id']}/close", json={})).status_code == 200
    status, out, error = await _audit(system.data)
    assert status == 0, out + error
    assert [line[:9] for line in out.splitlines() if line.startswith("I")] == [f"{it}  holds" for it in INVARIANTS]
    heads = await system.rows("SELECT encode(chain, 'hex') AS head FROM shard ORDER BY shard")
    assert all(row["head"] in out for row in heads)
    assert out.endswith("\nall holds\n")
    assert "postgres: I1 packets" in error


async def test_json_has_the_same_and_since_reads_the_log_again(system: System, client: Make, nonce: str) -> None:
    await send(client, "alice", nonce, shares=3)
    status, out, error = await _audit(system.data, "--json")
    assert status == 0, out + error
    first = json.loads(out)
    assert (first["holds"], first["unchecked"]) == (True, [])
    assert [it["name"] for it in first["invariants"]] == INVARIANTS
    for invariant in first["invariants"]:
        assert invariant.keys() == {"name", "claim", "holds", "figures", "violations", "violations_total"}
        assert (invariant["holds"], invariant["violations"], invariant["violations_total"]) == (True, [], 0)
        assert invariant["figures"]
    i1 = first["invariants"][0]["figures"]
    assert i1["total"] == i1["claimed"] + i1["refunded"] + i1["remaining"]
    assert i1["debits"] == i1["credits"] == i1["posted"]
    assert [it["shard"] for it in first["shards"]] == list(range(16))
    assert sum(it["records_read"] for it in first["shards"]) > 0

    second = json.loads((await _audit(system.data, "--json"))[1])
    assert [it["from_offset"] for it in second["shards"]] == [it["next_offset"] for it in first["shards"]]
    again = json.loads((await _audit(system.data, "--json", "--since", "start"))[1])
    assert {it["from_offset"] for it in again["shards"]} == {0}
    assert again["holds"]


async def test_a_violation_is_named_and_its_status_is_1(system: System) -> None:
    await system.rows("UPDATE account SET debits_minor = debits_minor + 1 WHERE kind = 'funding'")
    try:
        status, out, _ = await _audit(system.data)
        told = json.loads((await _audit(system.data, "--json"))[1])
    finally:
        await system.rows("UPDATE account SET debits_minor = debits_minor - 1 WHERE kind = 'funding'")
    assert status == 1
    assert "I1  VIOLATED" in out
    assert "    I1: the funding of @funding" in out
    assert not told["holds"]
    assert told["invariants"][0]["violations_total"] > 0


async def test_what_cannot_be_checked_has_another_status(system: System, tmp_path: Path) -> None:
    environ = settings_environ(system.settings)
    away = {"REDPACKET_KAFKA_BOOTSTRAP": "127.0.0.1:1", "REDPACKET_KAFKA_TIMEOUT_MS": "500"}
    for data, changed, options, said in (
        (tmp_path, {}, (), "no stack is running"),
        (tmp_path, environ | {"REDPACKET_POSTGRES_URL": "postgresql://127.0.0.1:1/none"}, (), "postgres"),
        (tmp_path, environ | {"REDPACKET_REDIS_URL": "redis://127.0.0.1:1/0"}, (), "redis"),
        (tmp_path, environ | away, (), "kafka"),
        (system.data, {}, ("--since", "yesterday"), "neither mark, start nor a time"),
        (system.data, {}, ("--since", "0001-01-01"), "neither mark, start nor a time"),
        (system.data, {}, ("--since", "9999-01-01"), "neither mark, start nor a time"),
    ):
        status, out, error = await _audit(data, *options, environ=changed)
        assert (status, out) == (2, ""), (said, out, error)
        assert said in error.lower()
        assert "Traceback" not in error


async def test_without_a_local_stack_the_settings_name_the_deployment(system: System, tmp_path: Path) -> None:
    status, out, error = await _audit(tmp_path, environ=settings_environ(system.settings))
    assert status == 0, out + error
    assert out.endswith("\nall holds\n")
