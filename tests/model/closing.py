"""Closing and expiry of a packet, beside everything that `claims.py` does with it.

Bounds: as in `claims.py`; a close may be asked for at any time, again and again, and the deadline passes once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.claims import REFUND, Claims, State, tell, unconfirmed
from tests.model.explore import Step
from tests.model.outbox import Entry, Work, with_one
from tests.model.rules import Rule


@dataclass(frozen=True)
class Closing(Claims):
    people: str = "ab"
    faults: int = 1
    epochs: int = 2

    def at_rest(self, state: State) -> bool:
        """Nobody's money is left in a packet that is over."""
        packet, ledger = state.redis.packet, state.ledger
        over = state.expired or (packet is not None and packet.over == "closing")
        left = ledger.refunded < 0 and len(ledger.claims) < self.shares
        return super().at_rest(state) and not (over and left)

    def steps(self, state: State) -> Iterator[Step[State]]:
        yield from super().steps(state)
        if not state.expired:
            yield Step("the deadline passes", state._replace(expired=True))
        packet = state.redis.packet
        if state.redis.open and packet:
            if not packet.over and not state.expired:
                closing = state.redis._replace(packet=packet._replace(over="closing"))
                yield Step("the owner of the packet closes it", state._replace(redis=closing))
            yield from self._refund(state)

    def _refund(self, state: State) -> Iterator[Step[State]]:
        """Reserved like anything else, by whoever closes it or by the shard's owner, when all is confirmed."""
        redis, packet = state.redis, state.redis.packet
        if packet is None or not (packet.over or state.expired) or len(state.works) >= self.workers:
            return
        pending = any(unconfirmed(redis, claim.entry) for claim in packet.claims) or unconfirmed(redis, packet.send)
        if packet.over == "closed":
            if not unconfirmed(redis, packet.refund_entry):
                yield Step("a close is answered: it is closed", tell(state, ((REFUND, packet.refund),)))
            return
        if pending and self.keeps(Rule.REFUND_WHEN_DRAINED):
            return
        left, entry = self.shares - len(packet.claims), redis.last + 1
        if not left:
            return
        items = ((REFUND, left),)
        closed = packet._replace(over="closed", refund=left, refund_entry=entry)
        redis = redis._replace(packet=closed, last=entry, outbox=(*redis.outbox, Entry(entry, items)))
        after = state._replace(redis=redis, works=with_one(state.works, Work(redis.epoch, entry, items)))
        yield Step(f"a refund of {left} is reserved", after)
