"""Sends out of one wallet under idempotency keys, 402 and 404, while the wallet and the keys come and go in Redis.

Bounds: one payer, `funds` in the wallet at the start and `credits` more that other shards credit at their own pace;
each send takes one, and where the payer's claim `returns` it, one comes in again. `requests` are (key, terms), asked at
any time and again, one or two in a batch; one of them may be on the way to a 402 and one claim on the way to a 404;
`workers`, `readings`, `faults`, `epochs` and `log` as in `claims.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from tests.model.explore import Step
from tests.model.outbox import Entry, Item, Record, Work, ranks, with_one, without_one
from tests.model.rules import Rule

KEY = "K"  # whose packet somebody claims from


class Operation(NamedTuple):
    key: str
    terms: int
    entry: int  # 0: from the ledger


class Wallet(NamedTuple):
    """As Redis holds it: two counters that only grow. Its unconfirmed entries are those in the outbox."""

    credited: int
    reserved: int


class Redis(NamedTuple):
    epoch: int
    open: bool
    floor: int
    last: int = 0
    operations: tuple[Operation, ...] = ()
    wallet: Wallet | None = None
    outbox: tuple[Entry, ...] = ()


class Ledger(NamedTuple):
    fenced: int = 1
    operations: tuple[Item, ...] = ()
    credits: int = 0
    alarm: str = ""


class Reading(NamedTuple):
    """A snapshot of the ledger on its way: to an install, an eviction, or as a proof of absence."""

    offset: int
    ledger: Ledger


class Short(NamedTuple):
    """A request on the way to a 402. `was`: at some moment since it arrived nothing was free. `out` is what had gone
    out when it was found short (-1: not yet), `owed` what had come in by then, `read` what a reading of every shard
    since then has found (-1: not read yet)."""

    item: Item
    was: bool = False
    out: int = -1
    owed: int = -1
    read: int = -1


class State(NamedTuple):
    redis: Redis
    ledger: Ledger
    works: tuple[Work, ...] = ()
    late: tuple[Record, ...] = ()
    log: tuple[Record, ...] = ()
    settled: int = 0
    fence_at: int = -1
    came_in: int = 0  # acknowledged, whether settled or not
    readings: tuple[Reading, ...] = ()
    short: Short | None = None
    claimant: str = ""  # found the packet of KEY absent: 'before' or 'after' its send was acknowledged
    told: tuple[Item, ...] = ()
    faults: int = 0


@dataclass(frozen=True)
class Sends:
    name: str
    requests: tuple[Item, ...] = ((KEY, 1), ("L", 1))
    funds: int = 1
    credits: int = 1
    returns: bool = False
    evictions: bool = True
    claimant: bool = False
    workers: int = 1
    readings: int = 1
    faults: int = 1
    epochs: int = 2
    log: int = 2
    without: Rule | None = None

    def keeps(self, rule: Rule) -> bool:
        return self.without is not rule

    def start(self) -> State:
        redis = Redis(1, True, 0, wallet=Wallet(self.funds, 0))
        return State(redis, Ledger(credits=self.funds), came_in=self.funds, faults=self.faults)

    # What must never be ---------------------------------------------------------------------------------------------

    def will_hold(self, state: State) -> Ledger:
        ledger = state.ledger
        for record in state.log:
            ledger = self.settled(ledger, record)
        return ledger

    def violation(self, state: State) -> str:
        ledger = self.will_hold(state)
        if ledger.alarm:
            return f"the ledger's alarm: {ledger.alarm}"
        if len(ledger.operations) > state.came_in:
            return "more is sent than ever came in"
        lost = [key for key, terms in state.told if (key, terms) not in ledger.operations]
        return f"{lost[0]} was acknowledged and the ledger will not have it" if lost else ""

    def at_rest(self, state: State) -> bool:
        redis, ledger = state.redis, state.ledger
        known = all((key, terms) in ledger.operations for key, terms, _ in redis.operations)
        agrees = redis.wallet is None or redis.wallet.reserved == len(ledger.operations)
        quiet = not (redis.outbox or state.works or state.log or state.short or state.claimant)
        return redis.open and known and agrees and quiet and ledger.credits == state.came_in

    # What may happen ------------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[Step[State]]:
        for step in self._steps(state):
            yield step._replace(state=self._watched(step.state)) if step.state.short else step

    def _watched(self, state: State) -> State:
        short = state.short
        if short is None or short.was or self._free(state) > 0:
            return state
        return state._replace(short=short._replace(was=True))

    def _free(self, state: State) -> int:
        """All that has come in, less all that has gone out for good."""
        return state.came_in - len(self.will_hold(state).operations)

    def _steps(self, state: State) -> Iterator[Step[State]]:
        yield from self._open(state)
        yield from self._reserve(state)
        for work in sorted(set(state.works)):
            yield from self._publish(state, work)
            yield from self._confirm(state, work)
        yield from self._repeat_and_land(state)
        yield from self._settle(state)
        yield from self._read_ledger(state)
        yield from self._seem_short(state)
        if self.claimant:
            yield from self._find_absent(state)

    def _reserve(self, state: State) -> Iterator[Step[State]]:
        if not state.redis.open or len(state.works) >= self.workers:
            return
        proofs = [None, *state.readings]
        for batch in (*((item,) for item in self.requests), *combinations(self.requests, 2)):
            for proof in proofs:
                after, answers, _ = self._decide(state, batch, proof, 0)
                if after != state:
                    yield Step(f"a worker reserves: {answers}", after)
        if state.short and (state.short.out < 0 or state.short.read >= 0):
            for proof in proofs:
                yield from self._reserve_short(state, state.short, proof)

    def _reserve_short(self, state: State, short: Short, proof: Reading | None) -> Iterator[Step[State]]:
        """An attempt of the request on the way to a 402; what a reading has found rides on it."""
        after, answers, refusal = self._decide(state, (short.item,), proof, max(short.read, 0))
        if refusal in ("busy", "missing"):
            return
        first = short.read < 0
        words = f"it is tried{' on that reading' if not first else ''}: {answers}"
        if refusal != "short" or not state.redis.wallet:
            yield Step(words, after._replace(short=None))
        elif first or self.keeps(Rule.SHORT_BEFORE_READ):
            found = Short(short.item, short.was, state.redis.wallet.reserved, state.came_in)
            yield Step(words, after._replace(short=found))
        else:
            yield self._tell_short(after, short, words)

    def _tell_short(self, state: State, short: Short, words: str) -> Step[State]:
        """What this says of the payer's money is final."""
        broken = "" if short.was else "402, and at no moment since the request arrived was nothing free"
        return Step(f"{words} (402)", state._replace(short=None), broken=broken)

    def _decide(
        self, state: State, batch: tuple[Item, ...], proof: Reading | None, carried: int
    ) -> tuple[State, str, str]:
        """Every item in order; then all is written, with one entry. The last string is the last item's refusal."""
        redis, taken, answers, answer = state.redis, list[Item](), list[str](), ""
        entry = redis.last + 1
        if redis.wallet and carried > redis.wallet.credited:
            redis = redis._replace(wallet=redis.wallet._replace(credited=carried))
        for key, terms in batch:
            answer = self._decide_send(redis, entry, key, proof)
            held = next((operation for operation in redis.operations if operation.key == key), None)
            if answer == "found" and held:
                same = held.terms == terms
                state = state._replace(told=told(state, (key, held.terms))) if same else state
                answers.append(f"{key} is {'found' if same else 'found with other terms'}")
                continue
            answers.append(f"{key} with terms {terms} is {answer}")
            if answer == "reserved" and redis.wallet:
                taken.append((key, terms))
                operations = with_one(redis.operations, Operation(key, terms, entry))
                redis = redis._replace(
                    operations=operations, wallet=Wallet(redis.wallet.credited, redis.wallet.reserved + 1)
                )
        if taken:
            redis = redis._replace(last=entry, outbox=(*redis.outbox, Entry(entry, tuple(taken))))
            state = state._replace(works=with_one(state.works, Work(redis.epoch, entry, tuple(taken))))
        return state._replace(redis=redis), ", ".join(answers), answer

    def _decide_send(self, redis: Redis, entry: int, key: str, proof: Reading | None) -> str:
        held = next((operation for operation in redis.operations if operation.key == key), None)
        if held:
            return "pending" if held.entry == entry or unconfirmed(redis, held.entry) else "found"
        proved = proof is not None and proof.offset >= redis.floor
        if proof and any(key == known for known, _ in proof.ledger.operations):
            proved = False
        if redis.wallet is None or (not proved and self.keeps(Rule.PROOF_OF_ABSENCE)):
            return "missing"
        if redis.wallet.credited - redis.wallet.reserved < 1:
            return "busy" if redis.outbox and self.keeps(Rule.BUSY) else "short"
        return "reserved"

    # On the way to a 402 --------------------------------------------------------------------------------------------

    def _seem_short(self, state: State) -> Iterator[Step[State]]:
        most = self.funds + self.credits + (len(state.told) if self.returns else 0)
        if state.came_in < most:
            yield Step("one more comes in: another shard acknowledges it", state._replace(came_in=state.came_in + 1))
        if state.ledger.credits < state.came_in:
            credited = state.ledger._replace(credits=state.came_in)
            yield Step("the other shard settles what came in", state._replace(ledger=credited))
        short = state.short
        if short is None:
            for item in self.requests:
                yield Step(f"a request for {item[0]} arrives", state._replace(short=Short(item)))
        elif short.out >= 0 and short.read < 0:
            read = state.ledger.credits
            if read >= short.owed or not self.keeps(Rule.READING_OF_ALL):
                words = f"its reading of every shard finds {read} come in, {short.out} had gone out"
                if read - short.out < 1 and self.keeps(Rule.SHORT_BEFORE_READ):
                    yield self._tell_short(state, short, words)
                else:
                    yield Step(words, state._replace(short=short._replace(read=read)))

    # On the way to a 404 --------------------------------------------------------------------------------------------

    def _find_absent(self, state: State) -> Iterator[Step[State]]:
        absent = all(operation.key != KEY for operation in state.redis.operations)
        if not state.claimant and state.redis.open and absent:
            since = "after" if any(key == KEY for key, _ in state.told) else "before"
            yield Step(f"somebody claims from the packet of {KEY}, which is absent", state._replace(claimant=since))
        if not state.claimant or not state.redis.open:
            return
        for reading in (Reading(state.settled, state.ledger), *state.readings):
            if reading.offset >= state.redis.floor or not self.keeps(Rule.NOT_FOUND_PROVED):
                unknown = all(key != KEY for key, _ in reading.ledger.operations)
                words = "the ledger does not know it (404)" if unknown else "the ledger knows it: it will be loaded"
                broken = (
                    "404 for a packet that was acknowledged before" if unknown and state.claimant == "after" else ""
                )
                yield Step(words, state._replace(claimant=""), broken=broken)

    # Publish, confirm, settle: as in claims.py ----------------------------------------------------------------------

    def _publish(self, state: State, work: Work) -> Iterator[Step[State]]:
        if work.acknowledged or len(state.log) == self.log:
            return
        record, others = Record(work.epoch, work.items), without_one(state.works, work)
        log, words = (*state.log, record), f"Kafka acknowledges {in_words(work)}"
        yield Step(words, state._replace(works=with_one(others, work._replace(acknowledged=True)), log=log))
        if state.faults:
            late = state._replace(works=others, late=with_one(state.late, record), faults=state.faults - 1)
            yield Step(f"the record of {in_words(work)} is under way for long", late, True)

    def _confirm(self, state: State, work: Work) -> Iterator[Step[State]]:
        if not work.acknowledged:
            return
        redis, rest = state.redis, state._replace(works=without_one(state.works, work))
        if not redis.open or redis.epoch != work.epoch:
            yield Step(f"{in_words(work)} cannot be confirmed", rest)
            return
        outbox = tuple(entry for entry in redis.outbox if entry.number != work.entry)
        after = rest._replace(redis=redis._replace(outbox=outbox), told=told(state, *work.items))
        yield Step(f"a worker confirms {in_words(work)}", after)

    def _repeat_and_land(self, state: State) -> Iterator[Step[State]]:
        for number, items in state.redis.outbox:
            work = Work(state.redis.epoch, number, items)
            if state.redis.open and work not in state.works and len(state.works) < self.workers:
                after = state._replace(works=with_one(state.works, work))
                yield Step(f"somebody reads {in_words(work)} to publish it again", after)
        for record in sorted(set(state.late)):
            if len(state.log) < self.log:
                after = state._replace(late=without_one(state.late, record), log=(*state.log, record))
                yield Step(f"a late record reaches Kafka: epoch {record.epoch}, {listed(record.items)}", after, True)

    def settled(self, ledger: Ledger, record: Record) -> Ledger:
        if not record.items:
            return ledger._replace(fenced=max(ledger.fenced, record.epoch))
        if record.epoch < ledger.fenced:
            return ledger
        for key, terms in record.items:
            held = [had for known, had in ledger.operations if known == key]
            if held and held != [terms]:
                return ledger._replace(alarm=f"{key} was sent with terms {held[0]} and with terms {terms}")
            if not held:
                ledger = ledger._replace(operations=with_one(ledger.operations, (key, terms)))
        return ledger

    def _settle(self, state: State) -> Iterator[Step[State]]:
        if state.log:
            record, settled = state.log[0], state.settled + 1
            opens = not record.items and record.epoch == state.redis.epoch and not state.redis.open
            after = state._replace(
                log=state.log[1:],
                ledger=self.settled(state.ledger, record),
                settled=settled,
                fence_at=settled if opens else state.fence_at,
            )
            yield Step(f"the ledger settles epoch {record.epoch}: {listed(record.items) or 'its Fence'}", ranked(after))

    # Load, refresh, evict -------------------------------------------------------------------------------------------

    def _read_ledger(self, state: State) -> Iterator[Step[State]]:
        reading = Reading(state.settled, state.ledger)
        if len(state.readings) < self.readings and reading not in state.readings:
            yield Step("somebody reads the ledger", state._replace(readings=with_one(state.readings, reading)))
        for held in state.readings:
            rest = state._replace(readings=without_one(state.readings, held))
            yield Step("a reading is thrown away", ranked(rest))
            if state.redis.open:
                yield from self._load(rest, held)
                if self.evictions and not state.redis.outbox:
                    yield from self._evict(rest, held)

    def _load(self, state: State, reading: Reading) -> Iterator[Step[State]]:
        redis, ledger = state.redis, reading.ledger
        spent = len(ledger.operations)
        if redis.wallet:
            refreshed = Wallet(max(redis.wallet.credited, ledger.credits), redis.wallet.reserved)
            if not self.keeps(Rule.RESERVED_IS_REDISES):
                refreshed = refreshed._replace(reserved=spent)
            if refreshed != redis.wallet:
                yield Step("the wallet is refreshed", ranked(state._replace(redis=redis._replace(wallet=refreshed))))
        if reading.offset < redis.floor and self.keeps(Rule.LOAD_ABOVE_FLOOR):
            return
        if redis.wallet is None:
            loaded = redis._replace(wallet=Wallet(ledger.credits, spent))
            yield Step(f"the wallet is loaded: {ledger.credits} in, {spent} out", ranked(state._replace(redis=loaded)))
        for key, terms in ledger.operations:
            if all(operation.key != key for operation in redis.operations):
                loaded = redis._replace(operations=with_one(redis.operations, Operation(key, terms, 0)))
                yield Step(f"{key} is loaded", ranked(state._replace(redis=loaded)))

    def _evict(self, state: State, reading: Reading) -> Iterator[Step[State]]:
        redis, ledger = state.redis, reading.ledger
        floor = max(redis.floor, reading.offset) if self.keeps(Rule.EVICT_RAISES_FLOOR) else redis.floor
        redis = redis._replace(floor=floor)
        # What is known to have come in may be less than what has: it is read again whenever it matters.
        equal = redis.wallet and (
            redis.wallet.credited <= ledger.credits and redis.wallet.reserved == len(ledger.operations)
        )
        if redis.wallet and (equal or not self.keeps(Rule.EVICT_EQUAL)):
            yield Step("the wallet is evicted", ranked(state._replace(redis=redis._replace(wallet=None))))
        for operation in redis.operations:
            if (operation.key, operation.terms) in ledger.operations:
                rest = without_one(redis.operations, operation)
                yield Step(f"{operation.key} is evicted", ranked(state._replace(redis=redis._replace(operations=rest))))

    def _open(self, state: State) -> Iterator[Step[State]]:
        redis = state.redis
        fencing = any(not record.items and record.epoch == redis.epoch for record in state.log)
        if state.faults and redis.open and redis.epoch < self.epochs:
            lost = state._replace(redis=Redis(redis.epoch, False, 0), faults=state.faults - 1)
            yield Step("Redis loses everything", ranked(lost), True)
        if redis.open:
            return
        if state.fence_at >= 0:
            opened = redis._replace(open=True, floor=state.fence_at)
            yield Step(
                f"the shard is blessed under epoch {redis.epoch}", ranked(state._replace(redis=opened, fence_at=-1))
            )
        elif not fencing and redis.epoch < self.epochs and len(state.log) < self.log:
            closed = Redis(redis.epoch + 1, False, 0)
            after = state._replace(redis=closed, log=(*state.log, Record(closed.epoch)))
            yield Step(f"the owner closes the shard and writes Fence {closed.epoch}", after)


def unconfirmed(redis: Redis, number: int) -> bool:
    return any(entry.number == number for entry in redis.outbox)


def told(state: State, *items: Item) -> tuple[Item, ...]:
    return tuple(sorted({*state.told, *items}))


def ranked(state: State) -> State:
    rank = ranks({state.settled, state.redis.floor, state.fence_at, *(reading.offset for reading in state.readings)})
    return state._replace(
        settled=rank[state.settled],
        redis=state.redis._replace(floor=rank[state.redis.floor]),
        fence_at=rank[state.fence_at],
        readings=tuple(sorted(reading._replace(offset=rank[reading.offset]) for reading in state.readings)),
    )


def listed(items: tuple[Item, ...]) -> str:
    return " and ".join(f"{key} with terms {terms}" for key, terms in items)


def in_words(work: Work) -> str:
    return f"entry {work.entry} of epoch {work.epoch} ({listed(work.items)})"
