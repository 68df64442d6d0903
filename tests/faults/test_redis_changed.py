"""REDPACKET_REDIS_URL changed there and back by rolling, under load, with workers of before alive all the time."""

import asyncio
import os
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from loadtest.auditor.audit import audit
from loadtest.record.operations import resolve, unresolved
from loadtest.record.phones import Phones
from loadtest.record.recorder import Recorder, read_requests
from loadtest.record.words import Asked
from redpacket.settings import Settings, read_key, settings_environ
from redpacket.shard.mark import redis_name
from redpacket.stack.local import LocalServers
from redpacket.stack.ports import free_ports
from tests.audited import assert_holds, audited
from tests.deployment import LONG_S, installed
from tests.faults.gather import gather_evidence
from tests.faults.load import Load
from tests.faults.plan import OPERATORS
from tests.faults.probe import BACK_MAX_S, log_ends, wait_settled
from tests.redises import a_redis
from tests.system import COMMAND, System, run_command

pytestmark = pytest.mark.faults

SEED, PHASE_S = 7, 8.0
API, LEDGER = ("api-0", "api-1"), ("ledger-0",)
_ENDING = "SELECT id FROM packet WHERE state = 'open' AND expires_at < now() + interval '1 hour'"


@dataclass
class Fleet:
    """Workers as a cluster has them: a new one of the API is ready before the old one goes."""

    settings: Settings
    listener: socket.socket
    folder: Path
    running: dict[str, Process] = field(default_factory=dict)

    async def start(self, name: str, url: str) -> Process:
        (port,) = free_ports(1)
        kind = name.split("-")[0]
        settings = msgspec.structs.replace(self.settings, redis_url=url, ops_port=port, instance=name)
        argv = ("api", "--fd", str(self.listener.fileno())) if kind == "api" else ("ledger",)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(*COMMAND, *argv),
                env={**os.environ, **settings_environ(settings)},
                pass_fds=[self.listener.fileno()],
                stderr=log,
            )
        self.running[name] = process
        await _wait_ready(process, port)
        return process

    async def roll(self, url: str) -> None:
        for name in LEDGER:
            await stop(self.running[name])
            await self.start(name, url)
        for name in API:
            before = self.running[name]
            await self.start(name, url)
            await asyncio.sleep(PHASE_S / 4)
            await stop(before)

    async def refused(self, url: str) -> None:
        """What a roll by the changed setting alone comes to: new workers that do not start, beside the old ones."""
        settings = msgspec.structs.replace(self.settings, redis_url=url)
        for argv in (("ledger",), ("api", "--port", "0")):
            status, _, error = await run_command(*argv, environ=settings_environ(settings))
            assert status == 1
            assert "`redpacket redis replace` comes first" in error


async def stop(process: Process) -> None:
    process.terminate()
    async with asyncio.timeout(LONG_S):
        await process.wait()


async def _wait_ready(process: Process, port: int) -> None:
    async with asyncio.timeout(LONG_S), httpx.AsyncClient(trust_env=False) as http:
        while True:
            assert process.returncode is None, "it has ended: see its log"
            try:
                if (await http.get(f"http://127.0.0.1:{port}/healthz/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)


@asynccontextmanager
async def fleet_on(settings: Settings, folder: Path) -> AsyncIterator[Fleet]:
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as listener:
        fleet = Fleet(settings, listener, folder)
        try:
            await asyncio.gather(*(fleet.start(name, settings.redis_url) for name in (*LEDGER, *API)))
            yield fleet
        finally:
            for process in fleet.running.values():
                if process.returncode is None:
                    process.kill()
                await process.wait()


async def test_a_redis_that_is_changed_and_changed_back_loses_nothing(servers: LocalServers, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    async with a_redis() as first, a_redis() as second, installed(servers, tmp_path / "keys") as deployment:
        await deployment.rows("UPDATE redis SET name = $1", redis_name(first.url))
        settings = msgspec.structs.replace(deployment.settings, redis_url=first.url)
        async with fleet_on(settings, tmp_path) as fleet:
            nobody: Any = None
            url = f"http://127.0.0.1:{fleet.listener.getsockname()[1]}"
            system = System(tmp_path, url, settings, nobody)

            def token_of(owner: str) -> str:
                return system.token(owner, "operator" if owner in OPERATORS else "")

            with Recorder(file) as recorder:
                async with Phones(url, token_of, recorder) as phones, asyncio.TaskGroup() as group:
                    load = group.create_task(Load(phones, SEED).run())
                    await asyncio.sleep(PHASE_S)
                    here, there = first.url, second.url
                    for _ in range(2):
                        await fleet.refused(there)
                        await _replace(settings, here, there)
                        await asyncio.sleep(PHASE_S / 4)
                        await fleet.roll(there)
                        await asyncio.sleep(PHASE_S)
                        here, there = there, here
                    load.cancel()
                async with Phones(url, token_of, recorder) as phones:
                    await resolve(phones, unresolved(read_requests(file)), BACK_MAX_S)
                    await _come_to_rest(system)
                    await _see_wallets(phones, file)
            requests, evidence = read_requests(file), await gather_evidence(system)
            findings = await audited(settings, "start")
            id_key = read_key(settings, "id.key")
    print(f"{len(requests)} requests, {sum(it.answer.outcome == 'ok' for it in requests)} of them ok")
    assert audit(requests, evidence, id_key, []) == []
    assert_holds(findings)


async def _replace(settings: Settings, here: str, there: str) -> None:
    environ = settings_environ(msgspec.structs.replace(settings, redis_url=here))
    status, out, error = await run_command("redis", "replace", "--to", there, environ=environ)
    assert (status, error) == (0, "")
    assert f"Now set REDPACKET_REDIS_URL={there}" in out


async def _see_wallets(phones: Phones, file: Path) -> None:
    """The auditor sums up what everybody sees in the end."""
    owners = {it.asked.body.get("owner", it.asked.owner) for it in read_requests(file)}
    looks = [Asked(kind="see_wallet", owner=owner) for owner in sorted(owners)]
    for answer in await asyncio.gather(*(phones.until_final(look, patience_s=BACK_MAX_S) for look in looks)):
        assert answer.outcome == "ok", answer


async def _come_to_rest(system: System) -> None:
    """Every packet that ends within minutes has ended; the log and the ledger end at one place, and stay there."""
    async with asyncio.timeout(2 * BACK_MAX_S):
        while True:
            ends = await log_ends(system)
            await wait_settled(system)
            ending = await system.rows(_ENDING)
            await asyncio.sleep(1.0)
            if not ending and ends == await log_ends(system):
                return
