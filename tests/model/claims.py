"""Claims on one packet, from reserve to ledger, and everything that may happen on the way.

Bounds: one shard; one packet of `shares`; `people` who ask at any time, again and at any worker, one or two in a
batch; `workers`; `readings` of the ledger on their way to an install or an eviction; at most `faults` faults; at most
`log` records not yet settled. Opening a shard is one step here: `opening.py` looks into it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from tests.model.explore import Step
from tests.model.outbox import Entry, Item, Record, Work, ranks, with_one, without_one
from tests.model.rules import Rule

# Items that are no claims: the packet's own send; its refund, of so many shares.
SEND, REFUND = "the send", "the refund"


class Claim(NamedTuple):
    who: str
    share: int
    entry: int  # 0: from the ledger


class Packet(NamedTuple):
    """As Redis holds it. `over`: '', 'closing' or 'closed'."""

    send: int
    claims: tuple[Claim, ...] = ()
    over: str = ""
    refund: int = 0
    refund_entry: int = 0


class Redis(NamedTuple):
    epoch: int
    open: bool
    floor: int
    last: int = 0
    packet: Packet | None = None
    outbox: tuple[Entry, ...] = ()


class Ledger(NamedTuple):
    fenced: int = 1
    sent: bool = True
    claims: tuple[Item, ...] = ()
    refunded: int = -1
    alarm: str = ""


class Reading(NamedTuple):
    """A snapshot of the ledger on its way. Offsets are ranks: only their order matters."""

    offset: int
    ledger: Ledger
    whole: bool = True


class State(NamedTuple):
    redis: Redis
    works: tuple[Work, ...] = ()
    late: tuple[Record, ...] = ()
    log: tuple[Record, ...] = ()
    settled: int = 0
    fence_at: int = -1  # the offset behind the Fence that the opener waits for, once it is settled
    ledger: Ledger = Ledger()
    readings: tuple[Reading, ...] = ()
    told: tuple[Item, ...] = ()  # what was acknowledged to whom
    remembered: tuple[str, ...] | None = None  # a worker's memory of "sold out": the winners
    expired: bool = False
    faults: int = 0


@dataclass(frozen=True)
class Claims:
    name: str
    people: str = "ab"
    shares: int = 2
    workers: int = 2
    readings: int = 1
    faults: int = 2
    log: int = 3
    epochs: int = 3
    send_pending: bool = False
    memory: bool = False
    without: Rule | None = None

    def keeps(self, rule: Rule) -> bool:
        return self.without is not rule

    def start(self) -> State:
        if not self.send_pending:
            return State(Redis(1, True, 0, packet=Packet(0)), faults=self.faults)
        send = ((SEND, 0),)
        redis = Redis(1, True, 0, 1, Packet(1), (Entry(1, send),))
        return State(redis, (Work(1, 1, send),), ledger=Ledger(sent=False), faults=self.faults)

    # What must never be ---------------------------------------------------------------------------------------------

    def will_hold(self, state: State) -> Ledger:
        """The ledger once all that Kafka has is settled."""
        ledger = state.ledger
        for record in state.log:
            ledger = self.settled(ledger, record)
        return ledger

    def violation(self, state: State) -> str:
        ledger = self.will_hold(state)
        if ledger.alarm:
            return f"the ledger's alarm: {ledger.alarm}"
        for who, share in state.told:
            if who == SEND and not ledger.sent:
                return "the send was acknowledged and the ledger will not have it"
            if who == REFUND and ledger.refunded != share:
                return f"a refund of {share} was acknowledged and the ledger will not have it"
            if who not in (SEND, REFUND) and (who, share) not in ledger.claims:
                return f"share {share} was acknowledged to {who} and the ledger will not have it"
        return ""

    def at_rest(self, state: State) -> bool:
        redis, ledger = state.redis, state.ledger
        packet = redis.packet
        agrees = packet is None or (ledger.sent and as_settled(packet) == ledger.claims)
        over = packet is None or (packet.over == "closed") == (ledger.refunded >= 0)
        return redis.open and not redis.outbox and not state.works and not state.log and agrees and over

    # What may happen ------------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[Step[State]]:
        yield from self._open(state)
        yield from self._reserve(state)
        for work in sorted(set(state.works)):
            yield from self._publish(state, work)
            yield from self._confirm(state, work)
        yield from self._repeat(state)
        yield from self._land_late(state)
        yield from self._settle(state)
        yield from self._read_ledger(state)
        if self.memory:
            yield from self._answer_from_memory(state)

    def _reserve(self, state: State) -> Iterator[Step[State]]:
        """An idle worker takes a batch; a worker whose batch is acknowledged confirms that one in the same call."""
        befores = [None] if len(state.works) < self.workers else []
        for before in [*befores, *sorted({work for work in state.works if work.acknowledged})]:
            if not state.redis.open:
                continue
            confirmed, riding = (self.confirmed(state, before), " (confirming on the way)") if before else (state, "")
            for size in (1, 2):
                for batch in combinations(self.people, size):
                    after, answers, broken = self._decide(confirmed, batch)
                    words = f"a worker reserves{riding}: {answers}"
                    yield Step(words, after, broken=broken)
                    if len(after.works) > len(confirmed.works) and state.faults and state.redis.epoch < self.epochs:
                        yield Step(f"{words}; an error while writing", self._half_written(confirmed, after), True)

    def _half_written(self, before: State, after: State) -> State:
        """The claims are written, their entry is not."""
        redis = after.redis._replace(outbox=before.redis.outbox, open=not self.keeps(Rule.ERROR_CLOSES))
        return before._replace(redis=redis, faults=before.faults - 1)

    def _decide(self, state: State, batch: tuple[str, ...]) -> tuple[State, str, str]:
        """Every item in order, each seeing what the ones before it took; then all is written, with one entry."""
        entry, broken = state.redis.last + 1, ""
        items: list[Item] = []
        answers: list[str] = []
        for who in batch:
            answer, share, wrong = self._decide_claim(state, who, entry)
            broken = broken or wrong
            answers.append(f"{who} {answer}")
            packet = state.redis.packet
            if answer == "has his share":
                state = tell(state, ((who, share),))
            elif answer.startswith("gets") and packet:
                items.append((who, share))
                packet = packet._replace(claims=(*packet.claims, Claim(who, share, entry)))
                state = state._replace(redis=state.redis._replace(packet=packet))
            elif packet and (answer == "is sold out" or not self.keeps(Rule.MEMORY_WHEN_CONFIRMED)) and self.memory:
                state = state._replace(remembered=tuple(sorted(claim.who for claim in packet.claims)))
        if items:
            redis = state.redis
            outbox = (*redis.outbox, Entry(entry, tuple(items)))
            redis = redis._replace(last=entry, outbox=outbox)
            state = state._replace(redis=redis, works=with_one(state.works, Work(redis.epoch, entry, tuple(items))))
        return state, ", ".join(answers), broken

    def _decide_claim(self, state: State, who: str, entry: int) -> tuple[str, int, str]:
        packet = state.redis.packet
        if packet is None:
            return "must wait for a load", 0, ""
        held = next((claim for claim in packet.claims if claim.who == who), None)
        free = [n for n in range(1, self.shares + 1) if all(claim.share != n for claim in packet.claims)]
        if held and (self.keeps(Rule.REPEATS_BEFORE_STATE) or free):
            pending = held.entry == entry or unconfirmed(state.redis, held.entry)
            if pending and self.keeps(Rule.ENTRY_THERE_IS_NO_200):
                return "is pending", 0, ""
            return "has his share", held.share, ""
        if unconfirmed(state.redis, packet.send) and self.keeps(Rule.SEND_CONFIRMED_FIRST):
            return "is pending", 0, ""
        if (packet.over or state.expired) and self.keeps(Rule.CLOSED_STAYS_CLOSED):
            if not state.expired and not is_over(state.redis) and self.keeps(Rule.BUSY):
                return "is told busy", 0, ""
            return "is refused: over", 0, self._over_wrongly(state, who)
        if free:
            return f"gets share {free[0]}", free[0], ""
        if self.keeps(Rule.BUSY) and any(
            claim.entry == entry or unconfirmed(state.redis, claim.entry) for claim in packet.claims
        ):
            return "is told busy", 0, ""
        return "is sold out", 0, self._sold_out_wrongly(state, who)

    def _over_wrongly(self, state: State, who: str) -> str:
        open_again = not state.expired and self.will_hold(state).refunded < 0
        return refused_wrongly(state, who) or (f"{who} is told over, and it may yet be open" if open_again else "")

    def _sold_out_wrongly(self, state: State, who: str) -> str:
        taken = len(self.will_hold(state).claims)
        missing = f"{who} is told sold out, and a share may yet be free" if taken < self.shares else ""
        return refused_wrongly(state, who) or missing

    def _publish(self, state: State, work: Work) -> Iterator[Step[State]]:
        if work.acknowledged or len(state.log) == self.log:
            return
        epoch = work.epoch if self.keeps(Rule.PUBLISH_UNDER_ITS_EPOCH) else state.redis.epoch
        record = Record(epoch, work.items)
        words = f"Kafka acknowledges {in_words(work)}"
        others = without_one(state.works, work)
        done = state._replace(works=with_one(others, work._replace(acknowledged=True)))
        yield Step(words, done._replace(log=(*state.log, record)))
        if state.faults:
            gone = state._replace(works=others, faults=state.faults - 1)
            late = with_one(state.late, record)
            yield Step(f"the worker dies with {in_words(work)}", gone, True)
            yield Step(
                f"the record of {in_words(work)} is under way for long, its worker gives up",
                gone._replace(late=late),
                True,
            )
            twice = done._replace(log=(*state.log, record), late=late, faults=state.faults - 1)
            yield Step(f"{words}, and a second copy is under way", twice, True)

    def _land_late(self, state: State) -> Iterator[Step[State]]:
        for record in sorted(set(state.late)):
            if len(state.log) < self.log:
                words = f"a late record reaches Kafka: epoch {record.epoch}, {listed(record.items)}"
                after = state._replace(late=without_one(state.late, record), log=(*state.log, record))
                yield Step(words, after, True)

    def confirmed(self, state: State, work: Work) -> State:
        """The entry is deleted where its epoch still is, and only then is anybody told."""
        state = state._replace(works=without_one(state.works, work))
        redis = state.redis
        if redis.epoch != work.epoch and self.keeps(Rule.CONFIRM_UNDER_ITS_EPOCH):
            return state
        outbox = tuple(entry for entry in redis.outbox if entry.number != work.entry)
        return tell(state._replace(redis=redis._replace(outbox=outbox)), work.items)

    def _confirm(self, state: State, work: Work) -> Iterator[Step[State]]:
        if not work.acknowledged and self.keeps(Rule.CONFIRM_AFTER_ACK):
            return
        if not state.redis.open:
            dropped = state._replace(works=without_one(state.works, work))
            yield Step("the shard is closed: nothing is confirmed", dropped)
            return
        confirmed = self.confirmed(state, work)
        yield Step(f"a worker confirms {in_words(work)}", confirmed)
        if state.faults and confirmed.told != state.told:
            untold = confirmed._replace(told=state.told, faults=state.faults - 1)
            yield Step(f"a worker confirms {in_words(work)} and dies", untold, True)

    def _repeat(self, state: State) -> Iterator[Step[State]]:
        """A repeated request at any worker, or the owner's relay: the whole entry again, under its epoch."""
        if not state.redis.open or len(state.works) >= self.workers:
            return
        for number, items in state.redis.outbox:
            parts = [items] if self.keeps(Rule.WHOLE_ENTRY) else [(item,) for item in items]
            for part in parts:
                work = Work(state.redis.epoch, number, part)
                if work not in state.works:
                    yield Step(
                        f"somebody reads {in_words(work)} to publish it again",
                        state._replace(works=with_one(state.works, work)),
                    )

    # Ledger ---------------------------------------------------------------------------------------------------------

    def settled(self, ledger: Ledger, record: Record) -> Ledger:
        """What the record moves: a pure function of the ledger and the record."""
        if not record.items:
            return ledger._replace(fenced=max(ledger.fenced, record.epoch))
        if record.epoch < ledger.fenced and self.keeps(Rule.LOWER_EPOCHS_IGNORED):
            return ledger
        for item in record.items:
            ledger = self._settled_item(ledger, item)
        return ledger

    def _settled_item(self, ledger: Ledger, item: Item) -> Ledger:
        who, number = item
        if who == SEND:
            return ledger._replace(sent=True)
        if who == REFUND:
            agrees = len(ledger.claims) + number == self.shares if ledger.refunded < 0 else ledger.refunded == number
            return ledger._replace(refunded=number, alarm="" if agrees else "claimed + refunded is not the total")
        if item in ledger.claims:
            return ledger
        if not ledger.sent:
            return ledger._replace(alarm="a claim on a packet that was never sent")
        if any(who == held or number == share for held, share in ledger.claims):
            return ledger._replace(alarm=f"share {number} for {who} contradicts {listed(ledger.claims)}")
        if ledger.refunded >= 0:
            return ledger._replace(alarm=f"{who}'s share was refunded")
        return ledger._replace(claims=with_one(ledger.claims, item))

    def _settle(self, state: State) -> Iterator[Step[State]]:
        if state.log:
            record, *rest = state.log
            ledger, settled = self.settled(state.ledger, record), state.settled + 1
            opens = not record.items and record.epoch == state.redis.epoch and not state.redis.open
            after = state._replace(log=tuple(rest), ledger=ledger, settled=settled)
            after = after._replace(fence_at=settled if opens else state.fence_at)
            what = f"{listed(record.items)}, epoch {record.epoch}" if record.items else f"Fence {record.epoch}"
            yield Step(f"the ledger settles {what}", ranked(after))

    def _read_ledger(self, state: State) -> Iterator[Step[State]]:
        reading = Reading(state.settled, state.ledger)
        if len(state.readings) < self.readings and reading not in state.readings:
            yield Step(
                "somebody reads the packet in the ledger", state._replace(readings=with_one(state.readings, reading))
            )
        for held in state.readings:
            rest = state._replace(readings=without_one(state.readings, held))
            yield from self._install(rest, held)
            if state.redis.open:
                yield from self._evict(rest, held)
            if state.faults and held.whole and held.ledger.claims:
                readings = with_one(rest.readings, held._replace(whole=False))
                torn = state._replace(readings=readings, faults=state.faults - 1)
                yield Step("what a loader has staged expires", torn, True)

    def _install(self, state: State, reading: Reading) -> Iterator[Step[State]]:
        redis, ledger = state.redis, reading.ledger
        refused = (
            not redis.open
            or not ledger.sent
            or (reading.offset < redis.floor and self.keeps(Rule.LOAD_ABOVE_FLOOR))
            or (redis.packet is not None and self.keeps(Rule.LOAD_NEVER_OVER))
            or (not reading.whole and self.keeps(Rule.LOAD_WHOLE))
        )
        if refused:
            yield Step("a load is refused", ranked(state))
            return
        claims = tuple(Claim(who, share, 0) for who, share in ledger.claims) if reading.whole else ()
        closed = "closed" if ledger.refunded >= 0 and self.keeps(Rule.CLOSED_STAYS_CLOSED) else ""
        packet = Packet(0, claims, closed, max(ledger.refunded, 0))
        yield Step(
            f"a load installs the packet with {listed(ledger.claims)}",
            ranked(state._replace(redis=redis._replace(packet=packet))),
        )

    def _evict(self, state: State, reading: Reading) -> Iterator[Step[State]]:
        redis, packet = state.redis, state.redis.packet
        if packet is None or redis.outbox:
            return
        equal = as_settled(packet) == reading.ledger.claims and (packet.over == "closed") == (
            reading.ledger.refunded >= 0
        )
        if (equal and packet.over != "closing") or not self.keeps(Rule.EVICT_EQUAL):
            floor = max(redis.floor, reading.offset) if self.keeps(Rule.EVICT_RAISES_FLOOR) else redis.floor
            yield Step("the packet is evicted", ranked(state._replace(redis=redis._replace(packet=None, floor=floor))))

    # Losing Redis and opening anew, as one step before the Fence is settled and one after ----------------------------

    def _open(self, state: State) -> Iterator[Step[State]]:
        redis = state.redis
        fencing = any(not record.items and record.epoch == redis.epoch for record in state.log)
        if state.faults and redis.epoch < self.epochs and (redis.open or fencing or state.fence_at >= 0):
            lost = state._replace(redis=Redis(redis.epoch, False, 0), fence_at=-1, faults=state.faults - 1)
            yield Step("Redis loses everything", ranked(lost), True)
        if redis.open:
            return
        if state.fence_at >= 0:
            opened = redis._replace(open=True, floor=state.fence_at if self.keeps(Rule.FLOOR_AT_BLESS) else 0)
            yield Step(
                f"the shard is blessed under epoch {redis.epoch}", ranked(state._replace(redis=opened, fence_at=-1))
            )
        elif not fencing and redis.epoch < self.epochs and len(state.log) < self.log:
            closed = Redis(redis.epoch + 1, False, 0)
            if not self.keeps(Rule.EPOCH_IN_KEYS):
                closed = redis._replace(epoch=redis.epoch + 1)
            log = (*state.log, Record(closed.epoch))
            yield Step(
                f"the owner closes the shard and writes Fence {closed.epoch}", state._replace(redis=closed, log=log)
            )

    def _answer_from_memory(self, state: State) -> Iterator[Step[State]]:
        if state.remembered is None:
            return
        for who in self.people:
            if who not in state.remembered or not self.keeps(Rule.MEMORY_NOT_FOR_WINNERS):
                broken = self._sold_out_wrongly(state, who)
                yield Step(f"{who} is told sold out from a worker's memory", state, broken=broken)


def unconfirmed(redis: Redis, number: int) -> bool:
    return any(entry.number == number for entry in redis.outbox)


def is_over(redis: Redis) -> bool:
    """Whether what was left has gone back, and that is confirmed."""
    packet = redis.packet
    return packet is not None and packet.over == "closed" and not unconfirmed(redis, packet.refund_entry)


def as_settled(packet: Packet) -> tuple[Item, ...]:
    return tuple(sorted((claim.who, claim.share) for claim in packet.claims))


def tell(state: State, items: tuple[Item, ...]) -> State:
    return state._replace(told=tuple(sorted({*state.told, *items})))


def refused_wrongly(state: State, who: str) -> str:
    return f"{who} is refused after his share was acknowledged" if any(who == told for told, _ in state.told) else ""


def ranked(state: State) -> State:
    rank = ranks({state.settled, state.redis.floor, state.fence_at, *(reading.offset for reading in state.readings)})
    return state._replace(
        settled=rank[state.settled],
        redis=state.redis._replace(floor=rank[state.redis.floor]),
        fence_at=rank[state.fence_at],
        readings=tuple(sorted(reading._replace(offset=rank[reading.offset]) for reading in state.readings)),
    )


def listed(items: tuple[Item, ...]) -> str:
    shares = (f"share {share} for {who}" if who not in (SEND, REFUND) else who for who, share in items)
    return " and ".join(shares) or "no claims"


def in_words(work: Work) -> str:
    return f"entry {work.entry} of epoch {work.epoch} ({listed(work.items)})"
