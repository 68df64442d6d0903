"""A deployment's Redis is the one that Postgres names: who is led to another refuses; `redis replace` is the way."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

import ledger.owner.replace as replacement
from ledger.install import install
from ledger.owner.replace import ReplaceError, replace_redis
from ledger.worker import run_ledger
from redpacket.books.deployment import DeploymentError
from redpacket.settings import settings_environ
from redpacket.shard.client import ShardClient, ShardClosedError
from redpacket.shard.fence import fence_state
from redpacket.shard.mark import Mark, leave_mark, read_mark, redis_name
from redpacket.stack.ports import free_ports
from tests.deployment import LONG_S, Deployment, claimed
from tests.redises import RedisServer, a_redis
from tests.system import run_command, running_system


@pytest.fixture(scope="module")
async def redises() -> AsyncIterator[tuple[RedisServer, RedisServer]]:
    async with a_redis() as first, a_redis() as second:
        yield first, second


@pytest.fixture
async def first(deployment: Deployment, redises: tuple[RedisServer, RedisServer]) -> Deployment:
    """A deployment on the first of two Redis servers that nobody else uses."""
    one, _ = [await emptied(it) for it in redises]
    await deployment.rows("UPDATE redis SET name = $1", redis_name(one.url))
    return at(deployment, one.url)


@pytest.fixture
async def second(redises: tuple[RedisServer, RedisServer]) -> str:
    return redises[1].url


async def emptied(server: RedisServer) -> RedisServer:
    async with server.connection() as connection:
        await connection.flushall()
        await connection.function_flush()
    return server


def at(deployment: Deployment, url: str) -> Deployment:
    settings = replace(deployment.settings, redis_url=url)
    return Deployment(settings, deployment.servers, deployment.topic, deployment.keys)


async def _start(deployment: Deployment) -> None:
    """A ledger worker, until it is cancelled."""
    await run_ledger(deployment.settings, asyncio.Event())


async def _refused(deployment: Deployment, *commands: tuple[str, ...]) -> set[str]:
    """What each of these says, which ends with status 1 or 2 and one sentence."""
    told = set()
    for command in commands:
        status, out, error = await run_command(*command, environ=settings_environ(deployment.settings))
        assert status in (1, 2), (command, out, error)
        (sentence,) = [line for line in error.splitlines() if line.startswith("Error: ")]
        told.add(sentence.removeprefix("Error: "))
    return told


async def _replace(deployment: Deployment, url: str, *, old_is_dead: bool = False) -> list[str]:
    said: list[str] = []
    await replace_redis(deployment.settings, url, old_is_dead=old_is_dead, say=said.append)
    return said


async def _open_shards(deployment: Deployment) -> list[int]:
    """Those that are open in the Redis of the settings, whatever the ledger says."""
    client = ShardClient(deployment.settings)
    try:
        await client.load_library()
        return [shard for shard in range(deployment.settings.shards) if (await fence_state(client, shard)).open]
    finally:
        await client.aclose()


async def _generations(deployment: Deployment) -> list[tuple[int, str]]:
    return [(it["generation"], it["name"]) for it in await deployment.rows("SELECT * FROM redis ORDER BY 1")]


WORKERS = (("ledger",), ("api", "--port", "0"), ("audit", "--data", "none"), ("trace", "--data", "none", "x"))


async def test_who_is_led_to_a_fresh_redis_refuses_to_start_while_a_worker_is_on_the_old(
    first: Deployment, second: str
) -> None:
    async with first.ledger(), first.worker() as worker:
        packet = await first.sent(worker, "alice", 1_000, 5)
        (sentence,) = await _refused(at(first, second), *WORKERS)
        assert (
            f"leads to {redis_name(second)}, this deployment's Redis is {redis_name(first.settings.redis_url)}"
            in sentence
        )
        assert "`redpacket redis replace` comes first" in sentence
        # The old one goes on as if nothing had been.
        claimed(await worker.path.claim_share(packet, "bob"))


async def test_where_the_new_redis_does_not_answer_a_process_refuses_too_and_at_the_known_name_it_waits(
    first: Deployment,
) -> None:
    (port,) = free_ports(1)
    with pytest.raises(DeploymentError, match="does not answer"):
        await _start(at(first, f"redis://127.0.0.1:{port}/0"))
    await first.rows("UPDATE redis SET name = $1", f"127.0.0.1:{port}/0")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_start(at(first, f"redis://127.0.0.1:{port}/0")))
        await asyncio.sleep(1)
        assert not task.done()
        task.cancel()


async def test_a_name_that_is_spelled_otherwise_leads_to_the_same_redis_by_its_mark(first: Deployment) -> None:
    async with first.ledger():
        pass
    other = at(first, first.settings.redis_url.replace("127.0.0.1", "localhost"))
    async with other.ledger(), other.worker() as worker:
        await other.sent(worker, "alice", 1_000, 5)


async def test_the_redis_of_another_deployment_is_refused(first: Deployment) -> None:
    client = ShardClient(first.settings)
    await client.load_library()
    await leave_mark(client, Mark("redpacket-other", 1, redis_name(first.settings.redis_url)))
    await client.aclose()
    with pytest.raises(BaseException, match="belongs to another deployment"):
        await _start(first)


async def test_a_redis_is_replaced_and_replaced_again_with_everything_there(first: Deployment, second: str) -> None:
    url, there = first.settings.redis_url, at(first, second)
    async with first.ledger(), first.worker() as left:
        packet = await first.sent(left, "alice", 1_000, 5)
        share = claimed(await left.path.claim_share(packet, "bob"))
        assert await _replace(first, second) == [f"{redis_name(second)} is this deployment's Redis now (generation 2)"]
        # Whoever is still on the old one gets nothing, and its owners open nothing there.
        with pytest.raises(ShardClosedError):
            await left.path.claim_share(packet, "carol")
        await asyncio.sleep(1)
        assert await _open_shards(first) == []
        with pytest.raises(ShardClosedError):
            await left.path.claim_share(packet, "carol")
    with pytest.raises(DeploymentError, match="was this deployment's once"):
        await _start(first)
    async with there.ledger(), there.worker() as worker:
        assert claimed(await worker.path.claim_share(packet, "bob")) == share
        claimed(await worker.path.claim_share(packet, "carol"))
        assert await _replace(there, second) == [
            f"{redis_name(second)} is this deployment's Redis already (generation 2): nothing is to be done"
        ]
        await _replace(there, url)
    async with first.ledger(), first.worker() as worker:
        claimed(await worker.path.claim_share(packet, "carol"))
        claimed(await worker.path.claim_share(packet, "dave"))
        await first.settled(worker)
    assert [row["owner"] for row in await first.rows("SELECT owner FROM claim ORDER BY owner")] == [
        "bob",
        "carol",
        "dave",
    ]
    assert [it for it, _ in await _generations(first)] == [1, 2, 3]


class DeadError(Exception):
    """Instead of a kill."""


@pytest.mark.parametrize("dies_in", ["_mark", "_name_it"])
async def test_a_replacement_that_dies_half_way_leaves_the_old_redis_open_and_is_run_again(
    first: Deployment, second: str, dies_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise DeadError

    async with first.ledger(), first.worker() as worker:
        packet = await first.sent(worker, "alice", 1_000, 5)
        with monkeypatch.context() as patched:
            patched.setattr(replacement, dies_in, die)
            with pytest.raises(DeadError):
                await _replace(first, second)
        assert await _open_shards(at(first, second)) == []
        await first.wait_open()
        claimed(await worker.path.claim_share(packet, "bob"))
        # Nobody believes the new one, whether it is marked or not.
        with pytest.raises(DeploymentError):
            await _start(at(first, second))
        await _replace(first, second)
    there = at(first, second)
    async with there.ledger(), there.worker() as worker:
        claimed(await worker.path.claim_share(packet, "carol"))


async def test_a_replacement_that_dies_behind_its_commit_has_done_all(
    first: Deployment, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replacement._name_it

    async def die_behind(*args: object) -> None:
        await named(*args)  # type: ignore[arg-type]
        raise DeadError

    with monkeypatch.context() as patched:
        patched.setattr(replacement, "_name_it", die_behind)
        with pytest.raises(DeadError):
            await _replace(first, second)
    there = at(first, second)
    assert "already" in (await _replace(there, second))[0]
    assert "already" in (await _replace(first, second))[0]
    async with there.ledger():
        pass


async def test_an_owner_who_opens_the_old_one_meanwhile_is_closed_again(
    first: Deployment, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked, opened = replacement._mark, 0

    async def open_first(new: ShardClient, after: Mark) -> None:
        nonlocal opened
        if opened < 2:
            opened += 1
            await first.wait_open()
        await marked(new, after)

    monkeypatch.setattr(replacement, "_mark", open_first)
    async with first.ledger():
        await _replace(first, second)
        assert (opened, await _open_shards(first)) == (2, [])


async def test_an_owner_of_the_old_one_who_waited_for_the_shards_row_gets_no_number(
    first: Deployment, second: str
) -> None:
    connection = await asyncpg.connect(first.settings.postgres_url)
    query = replacement._QUERIES["take_epoch"]
    other = await asyncpg.connect(first.settings.postgres_url)
    try:
        async with connection.transaction():
            await connection.execute(replacement._QUERIES["place_shards"], 2)
            waiting = asyncio.create_task(other.fetchval(query, 0, 0, 1))
            async with asyncio.timeout(LONG_S):
                while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.02)
        assert await waiting is None
        assert await other.fetchval(query, 0, 0, 2)
    finally:
        await connection.close()
        await other.close()


async def test_what_may_not_become_the_redis_is_refused_beforehand(first: Deployment, second: str) -> None:
    (port,) = free_ports(1)
    nowhere = f"redis://127.0.0.1:{port}/0"
    async with first.ledger(), a_redis("allkeys-lru") as forgetful:
        with pytest.raises(ReplaceError, match="does not answer, so nothing is replaced"):
            await _replace(first, nowhere)
        with pytest.raises(ReplaceError, match="must be noeviction"):
            await _replace(first, forgetful.url)
        other = ShardClient(replace(first.settings, redis_url=second))
        await other.load_library()
        await leave_mark(other, Mark("redpacket-other", 1, redis_name(second)), over=True)
        await other.aclose()
        with pytest.raises(ReplaceError, match="belongs to another deployment"):
            await _replace(first, second)
        assert len(await _open_shards(first)) == first.settings.shards
    assert len(await _generations(first)) == 1


async def test_an_old_redis_that_does_not_answer_must_be_said_to_be_dead(first: Deployment, second: str) -> None:
    (port,) = free_ports(1)
    await first.rows("UPDATE redis SET name = $1", f"127.0.0.1:{port}/0")
    gone = at(first, f"redis://127.0.0.1:{port}/0")
    with pytest.raises(ReplaceError, match="say --old-is-dead"):
        await _replace(gone, second)
    # By the command, with the new setting: there is no other that leads anywhere.
    environ = settings_environ(replace(gone.settings, redis_url=second))
    status, out, error = await run_command("redis", "replace", "--old-is-dead", environ=environ)
    assert (status, error) == (0, "")
    assert f"{redis_name(second)} is this deployment's Redis now (generation 2)" in out
    async with at(first, second).ledger():
        pass


async def test_a_deployment_that_was_installed_before_its_redis_had_a_name_gets_it(first: Deployment) -> None:
    await first.rows("DELETE FROM redis")
    with pytest.raises(DeploymentError, match="run `redpacket migrate` first"):
        await _start(first)
    for _ in range(2):
        await install(first.settings, lambda _: None)
        assert await _generations(first) == [(1, redis_name(first.settings.redis_url))]
    async with first.ledger():
        client = ShardClient(first.settings)
        assert await read_mark(client) == Mark(first.topic, 1, redis_name(first.settings.redis_url))
        await client.aclose()


async def test_an_upgrade_keeps_as_the_redis_only_the_one_in_which_the_shards_were_opened(
    first: Deployment, second: str
) -> None:
    async with first.ledger():
        pass
    await first.rows("DELETE FROM redis")
    (port,) = free_ports(1)
    for url in (second, f"redis://127.0.0.1:{port}/0"):
        with pytest.raises(DeploymentError, match="is not seen to be the one in which its shards were opened"):
            await install(at(first, url).settings, lambda _: None)
        assert await _generations(first) == []
    await install(first.settings, lambda _: None)
    assert await _generations(first) == [(1, redis_name(first.settings.redis_url))]
    # Only `redpacket up` says so.
    await first.rows("DELETE FROM redis")
    await install(at(first, second).settings, lambda _: None, old_redis_is_dead=True)
    assert await _generations(first) == [(1, redis_name(second))]


async def test_a_ledger_worker_marks_a_redis_whose_shards_are_open_already(first: Deployment) -> None:
    async with first.ledger():
        pass
    client = ShardClient(first.settings)
    try:
        await client._redis.delete("redpacket:mark")
        before = [(await fence_state(client, shard)).epoch for shard in range(first.settings.shards)]
        async with first.ledger(), asyncio.timeout(LONG_S):
            while await read_mark(client) != Mark(first.topic, 1, redis_name(first.settings.redis_url)):
                await asyncio.sleep(0.02)
            assert [(await fence_state(client, shard)).epoch for shard in range(first.settings.shards)] == before
    finally:
        await client.aclose()


async def test_of_two_replacements_by_two_spellings_the_slower_leaves_the_mark_of_the_faster(
    first: Deployment, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = replacement._take_and_close

    async def be_overtaken(*args: object) -> list[int] | None:
        monkeypatch.setattr(replacement, "_take_and_close", take)
        await _replace(first, second)
        return await take(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(replacement, "_take_and_close", be_overtaken)
    with pytest.raises(ReplaceError, match="somebody else has marked the new Redis meanwhile"):
        await _replace(first, second.replace("127.0.0.1", "localhost"))
    assert [it for it, _ in await _generations(first)] == [1, 2]
    async with at(first, second).ledger():
        pass


async def test_after_postgres_was_restored_to_before_a_replacement_the_refusal_names_the_way_on(
    first: Deployment, second: str
) -> None:
    there = at(first, second)
    await _replace(first, second)
    async with there.ledger():
        pass
    await first.rows("DELETE FROM redis WHERE generation = 2")
    await first.rows("UPDATE shard SET redis_generation = 1")
    with pytest.raises(DeploymentError, match="restored to before a replacement, run `redpacket redis replace --old"):
        await _start(there)
    await _replace(there, second, old_is_dead=True)
    assert await _generations(first) == [(1, redis_name(first.settings.redis_url)), (2, redis_name(second))]
    async with there.ledger(), there.worker() as worker:
        await there.sent(worker, "alice", 1_000, 5)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://Redis:6379/0", "redis:6379/0"),
        ("redis://redis", "redis:6379/0"),
        ("rediss://user:secret@redis.ns.svc:7000/3?ssl_ca_certs=x", "redis.ns.svc:7000/3"),
        ("unix:///var/data/redis.sock", "unix:/var/data/redis.sock"),
        ("unix://:secret@/var/data/redis.sock?db=2", "unix:/var/data/redis.sock?db=2"),
    ],
)
def test_a_name_says_where_and_nothing_secret(url: str, name: str) -> None:
    assert redis_name(url) == name


@pytest.mark.long
async def test_up_makes_the_redis_that_it_has_started_its_own_wherever_the_one_before_was(tmp_path: Path) -> None:
    async with running_system(tmp_path, "--api", "1", "--ledger", "1") as system:
        await system.rows("UPDATE redis SET name = 'where-it-was:6379/0'")
    async with running_system(tmp_path, "--api", "1", "--ledger", "1") as system:
        rows = await system.rows("SELECT generation, name FROM redis ORDER BY 1")
        assert [row["name"] for row in rows] == ["where-it-was:6379/0", redis_name(system.settings.redis_url)]
        assert {row["redis_generation"] for row in await system.rows("SELECT * FROM shard")} == {2}
