"""One payer, several phones: 402 is said only to one who was short at some moment of the request."""

import asyncio
from collections import Counter

import pytest

from redpacket.commit.compose import compose_record
from redpacket.events import PacketTerms
from redpacket.shard.outbox import Confirm
from redpacket.shard.reserve import OperationFound, OperationItem, Refused, Reserved, Short, packet_part, reserve
from redpacket.split import SplitParameters
from tests.deployment import LIMITS, LONG_S, Deployment, Worker, claimed, found, packet_of

AMOUNT_MINOR = 100


async def _phone(deployment: Deployment, worker: Worker, owner: str, sends: int, answers: Counter[str]) -> None:
    """Sends, claims it back, sends again: a refusal that may be asked again is asked again."""
    for _ in range(sends):
        async with asyncio.timeout(LONG_S):
            while True:
                answer = await deployment.send(worker, owner, AMOUNT_MINOR, 1)
                if isinstance(answer.result, OperationFound):
                    break
                assert isinstance(answer.result, Refused), answer
                answers[answer.result.why] += 1
                if answer.result.why == "short":
                    return
        answers["sent"] += 1
        claimed(await worker.path.claim_share(packet_of(answer), owner))


async def _play(deployment: Deployment, phones: int, sends: int) -> Counter[str]:
    """What all phones of one owner were answered, `sends` packets in all, through two workers in turn."""
    answers: Counter[str] = Counter()
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as other:
        # Enough that each phone's next packet is free whatever the others have out.
        found(await deployment.top_up(one, "alice", phones * AMOUNT_MINOR))
        await asyncio.gather(
            *(_phone(deployment, (one, other)[n % 2], "alice", sends // phones, answers) for n in range(phones))
        )
    return answers


async def _check_never_short(deployment: Deployment, phones: int, sends: int) -> None:
    answers = await _play(deployment, phones, sends)
    print(f"{phones} phones: {dict(answers)}")
    assert answers["short"] == 0
    assert answers["sent"] == sends


@pytest.mark.parametrize(("phones", "sends"), [(2, 200), (8, 400), (32, 640)])
async def test_a_payer_with_enough_for_each_next_send_is_never_told_402(
    deployment: Deployment, phones: int, sends: int
) -> None:
    await _check_never_short(deployment, phones, sends)


@pytest.mark.long
@pytest.mark.parametrize(("phones", "sends"), [(2, 784), (8, 3_200), (32, 6_016)])
async def test_a_payer_with_enough_for_each_next_send_is_never_told_402_in_10_000_sends(
    deployment: Deployment, phones: int, sends: int
) -> None:
    await _check_never_short(deployment, phones, sends)


async def test_a_payer_who_is_short_is_told_402_and_who_competes_for_too_little_gets_an_honest_answer(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as other:
        found(await deployment.top_up(one, "alice", 5 * AMOUNT_MINOR - 1))
        assert (await deployment.send(other, "alice", 5 * AMOUNT_MINOR, 1)).result == Refused("short")
        answers = await asyncio.gather(
            *(deployment.send(worker, "alice", AMOUNT_MINOR, 1) for worker in (one, other) for _ in range(20))
        )
        results = [answer.result for answer in answers if not isinstance(answer.result, OperationFound)]
        assert len(results) == 36
        assert all(result in (Refused("short"), Refused("busy"), Refused("late")) for result in results)
        assert (await deployment.send(one, "alice", AMOUNT_MINOR, 1)).result == Refused("short")


async def test_while_the_ledger_lags_nobody_is_told_402(deployment: Deployment) -> None:
    async with deployment.worker(request_timeout_ms=1_500) as worker:
        async with deployment.ledger():
            found(await deployment.top_up(worker, "alice", AMOUNT_MINOR))
            assert (await deployment.send(worker, "alice", 2 * AMOUNT_MINOR, 1)).result == Refused("short")
        found(await deployment.top_up(worker, "alice", AMOUNT_MINOR))
        # In the log, and nobody settles it.
        assert (await deployment.send(worker, "alice", 2 * AMOUNT_MINOR, 1)).result == Refused("late")
        async with deployment.ledger():
            found(await deployment.send(worker, "alice", 2 * AMOUNT_MINOR, 1))


async def test_a_payer_found_short_is_told_with_what_had_gone_out_by_then(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 3 * AMOUNT_MINOR))
        found(await deployment.send(worker, "alice", 2 * AMOUNT_MINOR, 1))
        shard, proof = deployment.shard_of("alice"), 2**40
        terms = PacketTerms("alice", "CNY", SplitParameters("lucky", AMOUNT_MINOR, 1, AMOUNT_MINOR, 1), "", 60)
        one, two = (
            OperationItem(f"{n:032x}", shard, 0, proof, "alice", AMOUNT_MINOR, 0, terms, packet_part(terms))
            for n in range(2)
        )
        # The first may yet die; once it is confirmed it cannot.
        reply, entry = await reserve(worker.client, shard, LIMITS, [], [one, two])
        assert entry is not None
        assert isinstance(reply.results[0], Reserved)
        assert reply.results[1] == Refused("busy")
        record = await compose_record(worker.amounts, reply.epoch, reply.entry, entry)
        await worker.producer.append(shard, record)
        reply, _ = await reserve(worker.client, shard, LIMITS, [Confirm(reply.epoch, reply.entry)], [two])
        assert reply.results[0] == Short(3 * AMOUNT_MINOR)
