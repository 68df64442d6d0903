"""Steady load while one part after the other fails; then all that anybody was told is held against the ledger."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from ledger.audit.report import format_table
from loadtest.auditor.answers import Window
from loadtest.auditor.audit import audit
from loadtest.record.operations import resolve, unresolved
from loadtest.record.phones import TIMEOUT_S, Phones
from loadtest.record.recorder import Recorder, read_requests
from loadtest.record.words import Asked, Request
from redpacket.settings import read_key
from tests.audited import assert_holds, audited
from tests.faults import evictions
from tests.faults.faults import Fault, Scene, faults_in_order
from tests.faults.gather import gather_evidence
from tests.faults.load import Load
from tests.faults.plan import OPERATORS
from tests.faults.probe import BACK_MAX_S, Probe, log_ends, wait_calm, wait_settled
from tests.faults.report import Episode, in_words, make_report
from tests.system import System, running_system

# Under load, before the first fault.
AT_FIRST_S = 5.0
# Of packets with an end, how many are looked at through HTTP, and how many old keys are sent again.
LOOKED_AT, OLD_KEYS = 40, 20
PROBE_TIMEOUT_S = 5.0
# The others are open for a day.
_ENDING = "SELECT id FROM packet WHERE state = 'open' AND expires_at < now() + interval '1 hour'"


@pytest.mark.faults
async def test_what_was_acknowledged_stands_whatever_fails(tmp_path: Path) -> None:
    seed = int(os.environ.get("FAULT_SEED", time.time_ns() % 1_000_000))
    print(f"\nFAULT_SEED={seed}; requests and report: {tmp_path}", flush=True)
    file = tmp_path / "requests.jsonl"
    watch = evictions.EvictionWatch()
    async with running_system(tmp_path / "data", environ=evictions.ENVIRON) as system:
        with Recorder(file) as recorder:
            async with _probe(system, recorder) as probe, _phones(system, recorder) as phones:
                episodes = await _fail_one_after_the_other(Scene(system, probe, tmp_path), phones, seed, watch)
                await _come_to_rest(system, phones, file)
                await _look_at_the_end(system, phones, file, random.Random(seed))
                await watch.look(system)
        requests, evidence = read_requests(file), await gather_evidence(system)
        findings = await audited(system.settings, "start")
        id_key = read_key(system.settings, "id.key")
    harmless = [Window(it.fault, it.began_at_s, it.over_at_s, it.settles) for it in episodes if it.harmless]
    violations = audit(requests, evidence, id_key, harmless)
    report = make_report(seed, episodes, requests, evidence, dict(watch.by_kind), violations)
    (tmp_path / "report.json").write_bytes(msgspec.json.encode(report))
    print(in_words(report))
    assert not violations
    # The product's own audit knows nothing of what people were told, and more of the three stores.
    print(format_table(findings))
    assert_holds(findings)
    assert all(watch.by_kind[kind] for kind in evictions.KINDS), f"not all was evicted: {watch.by_kind}"


def _phones(system: System, recorder: Recorder, timeout_s: float = TIMEOUT_S) -> Phones:
    def token_of(owner: str) -> str:
        return system.token(owner, "operator" if owner in OPERATORS else "")

    return Phones(system.url, token_of, recorder, timeout_s=timeout_s)


@asynccontextmanager
async def _probe(system: System, recorder: Recorder) -> AsyncIterator[Probe]:
    async with _phones(system, recorder, PROBE_TIMEOUT_S) as phones:
        probe = Probe(system, phones)
        await probe.start()
        yield probe


async def _fail_one_after_the_other(
    scene: Scene, phones: Phones, seed: int, watch: evictions.EvictionWatch
) -> list[Episode]:
    episodes: list[Episode] = []
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        load = group.create_task(Load(phones, seed).run())
        await asyncio.sleep(AT_FIRST_S)
        for fault in faults_in_order(seed):
            await watch.look(scene.system)
            print(f"{time.monotonic() - began_s:5.0f} s  {fault.name}", end="", flush=True)
            episodes.append(await _inflict(fault, scene, phones))
            print(f": back after {episodes[-1].back_s:.1f} s", flush=True)
        load.cancel()
    return episodes


async def _inflict(fault: Fault, scene: Scene, phones: Phones) -> Episode:
    began_at_s = time.time()
    await fault.inflict(scene)
    over_at_s = time.time()
    back_s = await scene.probe.wait_back()
    return Episode(
        fault=fault.name,
        harmless=fault.harmless,
        settles=fault.settles,
        began_at_s=began_at_s,
        over_at_s=over_at_s,
        back_s=back_s,
        settled_s=await wait_settled(scene.system),
        calm_s=await wait_calm(scene.system, phones),
    )


async def _come_to_rest(system: System, phones: Phones, file: Path) -> None:
    """Every unknown outcome is asked for until it is known; every packet that ends within minutes has ended; the log
    and the ledger end at one place, and stay there."""
    await resolve(phones, unresolved(read_requests(file)), BACK_MAX_S)
    async with asyncio.timeout(2 * BACK_MAX_S):
        while True:
            ends = await log_ends(system)
            await wait_settled(system)
            ending = await system.rows(_ENDING)
            await asyncio.sleep(1.0)
            if not ending and ends == await log_ends(system):
                return


async def _look_at_the_end(system: System, phones: Phones, file: Path, chance: random.Random) -> None:
    """What is there now, through HTTP: old keys of evicted packets, packets and their claims, all wallets."""
    requests = read_requests(file)
    await _send_old_keys_again(system, phones, requests, chance)
    sends = [(it.asked.owner, it.answer.body["id"]) for it in requests if it.asked.kind == "send" and it.answer.body]
    for owner, packet in chance.sample(sends, min(LOOKED_AT, len(sends))):
        for kind in ("see_packet", "see_claims"):
            await _see(phones, Asked(kind=kind, owner=owner, packet=packet))
    owners = {it.asked.body.get("owner", it.asked.owner) for it in requests}
    await asyncio.gather(*(_see(phones, Asked(kind="see_wallet", owner=owner)) for owner in sorted(owners)))


async def _send_old_keys_again(system: System, phones: Phones, requests: list[Request], chance: random.Random) -> None:
    closed = evictions.closed_sends(requests)
    old = chance.sample(sorted(closed), min(OLD_KEYS, len(closed)))
    await evictions.wait_evicted(system, old, BACK_MAX_S)
    for packet in old:
        answer = await phones.until_final(closed[packet], patience_s=BACK_MAX_S)
        assert answer.status == 200
        assert (answer.body["id"], answer.body["state"]) == (packet, "closed")


async def _see(phones: Phones, asked: Asked) -> None:
    answer = await phones.until_final(asked, patience_s=BACK_MAX_S)
    assert answer.outcome == "ok", f"{asked}: {answer}"
