"""Steady load: carries the plan out, packet by packet, until it is cancelled."""

import asyncio
from collections import defaultdict
from itertools import count

from loadtest.record.phones import Phones
from loadtest.record.words import Answer, Asked
from tests.faults.plan import OPERATORS, SENDERS, ClaimPlan, PacketPlan, plan_packet

# Each is claimed by some 13 people, who look and repeat: about 25 requests.
PACKETS_PER_S = 2.5
# While a part is away, who repeats takes the place of who comes anew: more than this need not wait to be sent.
WAITING_MAX = 32
# How long a person repeats a request of which nothing is known.
PATIENCE_S = 20.0
TOPUP_MINOR = 100_000


class Load:
    def __init__(self, phones: Phones, seed: int) -> None:
        self._phones = phones
        self._seed = seed
        self._topups: defaultdict[str, int] = defaultdict(int)
        self._funds_minor: defaultdict[str, int] = defaultdict(int)
        self._funding: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        """Until cancelled: then every client goes away in the middle of what it does."""
        async with asyncio.TaskGroup() as playing:
            for number in count():
                if self._phones.waiting < WAITING_MAX:
                    playing.create_task(self._play(plan_packet(self._seed, number)))
                await asyncio.sleep(1 / PACKETS_PER_S)

    async def _play(self, plan: PacketPlan) -> None:
        if not await self._fund(plan.sender, plan.body["total"]):
            return
        send = Asked(kind="send", owner=plan.sender, key=plan.key, body=plan.body)
        sent = await self._ask(send, plan.patient)
        if sent.outcome != "ok":
            return
        packet = sent.body["id"]
        await self._look(plan.sender, packet)
        async with asyncio.TaskGroup() as around:
            for claim in plan.claims:
                around.create_task(self._claim(packet, claim))
            if plan.closes_after_s is not None:
                around.create_task(self._close(packet, plan.sender, plan.closes_after_s))
        await self._look(plan.sender, packet)
        if plan.key_again_after_s is not None:
            await asyncio.sleep(plan.key_again_after_s)
            await self._ask(send, plan.patient)

    async def _fund(self, sender: str, total_minor: int) -> bool:
        """False where it is not known that he can pay. A person who spends what he has won is not helped."""
        if sender not in SENDERS:
            return True
        async with self._funding[sender]:
            if self._funds_minor[sender] < total_minor:
                number = self._topups[sender]
                operator = OPERATORS[SENDERS.index(sender) % len(OPERATORS)]
                body = {"owner": sender, "amount": TOPUP_MINOR}
                topup = Asked(kind="topup", owner=operator, key=f"topup-{sender}-{number}", body=body)
                if (await self._ask(topup, patient=True)).outcome != "ok":
                    return False
                self._topups[sender] += 1
                self._funds_minor[sender] += TOPUP_MINOR
            self._funds_minor[sender] -= total_minor
        return True

    async def _claim(self, packet: str, plan: ClaimPlan) -> None:
        await asyncio.sleep(plan.after_s)
        claim = Asked(kind="claim", owner=plan.owner, packet=packet)
        attempts = (self._ask(claim, plan.patient, pool) for pool in range(2 if plan.twice else 1))
        answers = await asyncio.gather(*attempts)
        if plan.looks and any(answer.outcome == "ok" for answer in answers):
            await self._phones.ask(Asked(kind="see_claim", owner=plan.owner, packet=packet))
            await self._look(plan.owner, packet)
        if plan.again_after_s is not None:
            await asyncio.sleep(plan.again_after_s)
            await self._ask(claim, plan.patient, pool=1)

    async def _close(self, packet: str, owner: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        close = Asked(kind="close", owner=owner, packet=packet)
        await asyncio.gather(*(self._ask(close, True, pool) for pool in range(2)))
        await self._look(owner, packet)

    async def _look(self, owner: str, packet: str) -> None:
        await self._phones.ask(Asked(kind="see_packet", owner=owner, packet=packet))

    async def _ask(self, asked: Asked, patient: bool, pool: int = 0) -> Answer:
        return await self._phones.until_final(asked, patience_s=PATIENCE_S if patient else 0.0, pool=pool)
