"""What the load will do: packets and who claims them when, each a pure function of the seed and the packet's number."""

import random
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from msgspec import Struct

OPERATORS = tuple(f"boss-{n}" for n in range(4))
SENDERS = tuple(f"sender-{n:02d}" for n in range(12))
PEOPLE = tuple(f"person-{n:03d}" for n in range(150))


class ClaimPlan(Struct, frozen=True, kw_only=True):
    """Times are seconds after the packet was sent; `again_after_s` after the claim was answered. Who is not `patient`
    leaves an unknown outcome as it is, until the end of the run."""

    owner: str
    after_s: float
    twice: bool
    again_after_s: float | None
    looks: bool
    patient: bool


class PacketPlan(Struct, frozen=True, kw_only=True):
    """`key_again_after_s`: when its old idempotency key is sent again, after all that was planned has been done."""

    number: int
    sender: str
    body: dict[str, Any]
    claims: tuple[ClaimPlan, ...]
    closes_after_s: float | None = None
    key_again_after_s: float | None = None
    patient: bool = True

    @property
    def key(self) -> str:
        return f"packet-{self.number}"


def plan_packet(seed: int, number: int) -> PacketPlan:
    """The packet of this number: one of five kinds that come to different ends."""
    chance = random.Random(f"{seed}/{number}")
    kinds = tuple(_WEIGHTS)
    (make,) = chance.choices(kinds, cum_weights=tuple(accumulate(_WEIGHTS[kind] for kind in kinds)))
    return make(chance, number)


def _sells_out(chance: random.Random, number: int) -> PacketPlan:
    """More people than shares, nearly at once."""
    shares = chance.randint(3, 12)
    return _packet(chance, number, shares, shares + chance.randint(2, 8), within_s=2.0)


def _expires(chance: random.Random, number: int) -> PacketPlan:
    """More shares than people, some of whom come when its time is over."""
    people, expires_in_s = chance.randint(5, 12), chance.randint(2, 6)
    shares = people + chance.randint(1, 10)
    return _packet(chance, number, shares, people, within_s=expires_in_s + 1.0, expires_in_s=expires_in_s)


def _closes(chance: random.Random, number: int) -> PacketPlan:
    """More shares than people, some of whom come when its owner has closed it."""
    people, closes_after_s = chance.randint(5, 12), chance.uniform(1.0, 4.0)
    shares = people + chance.randint(1, 10)
    return _packet(chance, number, shares, people, within_s=closes_after_s + 1.0, closes_after_s=closes_after_s)


def _stays(chance: random.Random, number: int) -> PacketPlan:
    """Large and slow: claimed before faults and after them."""
    return _packet(chance, number, chance.randint(60, 150), chance.randint(30, 60), within_s=chance.uniform(60, 180))


def _spends(chance: random.Random, number: int) -> PacketPlan:
    """Somebody spends what he has won, or has not: money that comes from every shard."""
    shares = chance.randint(2, 4)
    return _packet(chance, number, shares, shares + 2, within_s=1.0, sender=chance.choice(PEOPLE))


_WEIGHTS: dict[Callable[[random.Random, int], PacketPlan], int] = {
    _sells_out: 35,
    _expires: 20,
    _closes: 20,
    _stays: 10,
    _spends: 15,
}


def _packet(
    chance: random.Random,
    number: int,
    shares: int,
    people: int,
    *,
    within_s: float,
    closes_after_s: float | None = None,
    sender: str | None = None,
    **asked: Any,
) -> PacketPlan:
    kind = chance.choice(("lucky", "equal"))
    each = chance.randint(5, 100)
    total = shares * each + (chance.randrange(each) if kind == "lucky" else 0)
    return PacketPlan(
        number=number,
        sender=sender or chance.choice(SENDERS),
        body={"kind": kind, "total": total, "shares": shares, **asked},
        claims=tuple(_claim(chance, owner, within_s) for owner in chance.sample(PEOPLE, people)),
        closes_after_s=closes_after_s,
        key_again_after_s=chance.uniform(0.0, 60.0) if chance.random() < 0.5 else None,
        patient=chance.random() < 0.9,
    )


def _claim(chance: random.Random, owner: str, within_s: float) -> ClaimPlan:
    return ClaimPlan(
        owner=owner,
        after_s=chance.uniform(0.0, within_s),
        twice=chance.random() < 0.1,
        again_after_s=chance.uniform(0.0, 20.0) if chance.random() < 0.2 else None,
        looks=chance.random() < 0.25,
        patient=chance.random() < 0.9,
    )
