"""Opening a shard, step by step, by several owners who all believe that it is theirs.

Bounds: one shard; one share that two people want; `owners`, each at any step of an opening of its own; epochs up to
`epochs`, the last of them without faults (so that there is always a way to rest); at most `faults` faults, of which
at most `restores` put Postgres back to its first day; at most `log` records not yet settled; one reading of the ledger
on its way to Redis. With `comebacks` the name of Redis may lead to another one, which is empty, and back to the one
that was left behind and has gone on as it was: not while an opening is under way, and by then the workers have read
which epochs are fenced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.explore import Step
from tests.model.outbox import with_one, without_one
from tests.model.rules import Rule

PEOPLE = ("a", "b")


class Fence(NamedTuple):
    """As Redis holds it: `open` is 'new', '1' or '0'."""

    epoch: int
    run: int
    replid: int
    open: str
    floor: int
    nonce: int = 0


class Share(NamedTuple):
    """As Redis holds it: nobody's yet, or somebody's; `pending` while its entry is in the outbox."""

    holder: str = ""
    pending: bool = False


class Redis(NamedTuple):
    run: int
    replid: int
    fence: Fence | None = None
    share: Share | None = None


class Record(NamedTuple):
    """A claim of `who`, or a Fence, whose append `owner` waits for (-1: nobody does)."""

    epoch: int
    who: str = ""
    owner: int = -1


class Work(NamedTuple):
    """A worker's reservation of the share for `who`; whether Kafka has acknowledged its record."""

    who: str
    epoch: int
    acknowledged: bool = False


class Opening(NamedTuple):
    """How far an owner has come with its number."""

    epoch: int
    nonce: int  # its own, also where a restored Postgres has given its number out before
    closed: bool = False
    written: bool = False
    fence_at: int = -1  # the offset behind its Fence, once that is settled
    raised: bool = False
    checked: bool = False


class Postgres(NamedTuple):
    """`next_offset` counts the records that moved something: the others cannot be told from their absence."""

    taken: int = 1
    fenced: int = 1
    next_offset: int = 0
    holder: str = ""
    alarm: bool = False


class State(NamedTuple):
    redis: Redis
    owners: tuple[Opening | None, ...]
    postgres: Postgres = Postgres()
    log: tuple[Record, ...] = ()
    past: tuple[Record, ...] = ()  # settled records, for a restored Postgres to settle again
    late: tuple[Record, ...] = ()
    late_bless: tuple[Opening, ...] = ()
    works: tuple[Work, ...] = ()
    reading: tuple[int, str] | None = None
    told: str = ""
    copy: tuple[Fence | None, Share | None] | None = None
    faults: int = 0
    restores: int = 0
    left_behind: Redis | None = None
    known: int = 0  # the highest epoch that the workers know of


@dataclass(frozen=True)
class Openings:
    name: str
    owners: int = 2
    epochs: int = 3
    faults: int = 1
    restores: int = 0
    swaps: bool = False
    comebacks: bool = False
    log: int = 3
    begun: int = 1  # the epoch that is open at the start
    without: Rule | None = None

    def keeps(self, rule: Rule) -> bool:
        return self.without is not rule

    def start(self) -> State:
        before = self.begun - 1
        redis = Redis(0, 0, Fence(self.begun, 0, 0, "1", before), Share())
        past = tuple(Record(epoch) for epoch in range(2, self.begun + 1)) if self.restores else ()
        postgres = Postgres(self.begun, self.begun, before)
        return State(redis, (None,) * self.owners, postgres, past=past, faults=self.faults, restores=self.restores)

    # What must never be ---------------------------------------------------------------------------------------------

    def will_hold(self, state: State) -> Postgres:
        postgres = state.postgres
        for record in state.log:
            postgres = self.settled(postgres, record)
        return postgres

    def violation(self, state: State) -> str:
        postgres = self.will_hold(state)
        if postgres.alarm:
            return "the share is given to two people"
        if state.told and postgres.holder != state.told:
            return f"the share was acknowledged to {state.told} and the ledger will not have it"
        return ""

    def at_rest(self, state: State) -> bool:
        share, holder = state.redis.share, state.postgres.holder
        agrees = share is None or (share.holder == holder and not share.pending)
        return self._believed(state) > 0 and agrees and not state.works and not state.log and not any(state.owners)

    # What may happen ------------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[Step[State]]:
        for owner, opening in enumerate(state.owners):
            yield from self._open(state, owner, opening)
        yield from self._settle(state)
        yield from self._claim(state)
        for work in state.works:
            yield from self._publish_and_confirm(state, work)
        yield from self._load(state)
        yield from self._land_late(state)
        if state.faults and state.postgres.taken < self.epochs:
            yield from self._disturb_redis(state._replace(faults=state.faults - 1))
            yield from self._restore_postgres(state._replace(faults=state.faults - 1))

    def _epoch(self, redis: Redis) -> int:
        """The epoch under which every function works; 0 for STALE."""
        fence = redis.fence
        if fence is None:
            return 0
        same = (fence.run == redis.run or not self.keeps(Rule.RUN_ID)) and (
            fence.replid == redis.replid or not self.keeps(Rule.REPLID)
        )
        return fence.epoch if (same and fence.open == "1") or not self.keeps(Rule.FENCE_FIRST) else 0

    def _believed(self, state: State) -> int:
        """The same, for a worker, who believes none below the highest that he knows of."""
        epoch = self._epoch(state.redis)
        return epoch if epoch >= state.known or not self.keeps(Rule.KNOWN_EPOCHS) else 0

    # An opening -----------------------------------------------------------------------------------------------------

    def _open(self, state: State, owner: int, opening: Opening | None) -> Iterator[Step[State]]:
        if opening is None:
            yield from self._take(state, owner)
            return
        name = f"owner {owner + 1}"
        if not opening.closed and (not opening.written or not self.keeps(Rule.CLOSE_BEFORE_FENCE)):
            yield self._close(state, owner, opening)
        if not opening.written and (opening.closed or not self.keeps(Rule.CLOSE_BEFORE_FENCE)):
            yield from self._write_fence(state, owner, opening)
        if opening.closed and opening.fence_at >= 0 and not opening.checked:
            good = (opening.raised or not self.keeps(Rule.FENCE_RAISED)) and (
                state.postgres.taken == opening.epoch or not self.keeps(Rule.LAST_TAKEN)
            )
            after = opening._replace(checked=True) if good else None
            yield Step(
                f"{name} finds its Fence settled and {'goes on' if good else 'abandons'}",
                with_owner(state, owner, after),
            )
        if opening.checked:
            yield from self._bless(state, owner, opening)

    def _take(self, state: State, owner: int) -> Iterator[Step[State]]:
        postgres, redis = state.postgres, state.redis
        seen = redis.fence.epoch if redis.fence else 0
        epoch = max(postgres.taken, postgres.fenced, seen) + 1
        if self._epoch(redis) and seen < postgres.fenced and not self.keeps(Rule.LEFT_BEHIND_IS_OPENED):
            return
        alone = not any(state.owners) and not self._believed(state)
        if epoch < self.epochs or (epoch == self.epochs and alone):
            taken = state._replace(postgres=postgres._replace(taken=epoch))
            yield Step(
                f"owner {owner + 1} takes epoch {epoch}", with_owner(taken, owner, Opening(epoch, state.restores))
            )

    def _close(self, state: State, owner: int, opening: Opening) -> Step[State]:
        redis, name = state.redis, f"owner {owner + 1}"
        if redis.fence and redis.fence.epoch >= opening.epoch:
            return Step(f"{name} is refused: Redis has seen as high an epoch", with_owner(state, owner, None))
        share = None if self.keeps(Rule.EPOCH_IN_KEYS) else redis.share
        closed = redis._replace(
            fence=Fence(opening.epoch, redis.run, redis.replid, "new", 0, opening.nonce), share=share
        )
        after = with_owner(state._replace(redis=closed), owner, opening._replace(closed=True))
        return Step(f"{name} closes the shard under epoch {opening.epoch}", after)

    def _write_fence(self, state: State, owner: int, opening: Opening) -> Iterator[Step[State]]:
        words = f"owner {owner + 1} writes Fence {opening.epoch}"
        written = with_owner(state, owner, opening._replace(written=True))
        logged = written._replace(log=(*state.log, Record(opening.epoch, owner=owner)))
        if len(state.log) < self.log:
            yield Step(words, logged)
        if state.faults and opening.epoch < self.epochs:
            late = with_one(state.late, Record(opening.epoch))
            gone = with_owner(state, owner, None)._replace(late=late, faults=state.faults - 1)
            yield Step(f"{words}, which is under way for long, and abandons", gone, True)
            if len(state.log) < self.log:
                yield Step(
                    f"{words}, and a second copy is under way", logged._replace(late=late, faults=gone.faults), True
                )

    def _bless(self, state: State, owner: int, opening: Opening) -> Iterator[Step[State]]:
        name, done = f"owner {owner + 1}", with_owner(state, owner, None)
        if not self.keeps(Rule.ONE_PASS):
            done = state
            if state.redis.fence is None:
                yield self._close(state, owner, opening)
        blessed = self._blessed(done, opening)
        clear = "blesses" if blessed.redis != state.redis else "may not bless"
        yield Step(f"{name} {clear} epoch {opening.epoch}", blessed)
        if state.faults and opening.epoch < self.epochs:
            twice = blessed._replace(late_bless=(opening,), faults=state.faults - 1)
            yield Step(f"{name} {clear} epoch {opening.epoch}, and a second copy is under way", twice, True)

    def _blessed(self, state: State, opening: Opening) -> State:
        redis = state.redis
        fence = redis.fence
        if fence is None or (fence.run, fence.replid) != (redis.run, redis.replid):
            return state
        if ((fence.epoch, fence.nonce) != (opening.epoch, opening.nonce) and self.keeps(Rule.BLESS_THIS_OPENING)) or (
            fence.open != "new" and self.keeps(Rule.BLESS_ONCE)
        ):
            return state
        floor = opening.fence_at if self.keeps(Rule.FLOOR_AT_BLESS) else 0
        return state._replace(redis=redis._replace(fence=fence._replace(open="1", floor=floor)))

    # Ledger ---------------------------------------------------------------------------------------------------------

    def settled(self, postgres: Postgres, record: Record) -> Postgres:
        after = postgres
        if not record.who:
            higher = record.epoch > postgres.fenced or not self.keeps(Rule.HIGHEST_FENCE)
            after = postgres._replace(fenced=record.epoch if higher else postgres.fenced)
        elif record.epoch >= postgres.fenced or not self.keeps(Rule.LOWER_EPOCHS_IGNORED):
            after = postgres._replace(
                holder=postgres.holder or record.who, alarm=postgres.holder not in ("", record.who)
            )
        return after._replace(next_offset=postgres.next_offset + (after != postgres))

    def _settle(self, state: State) -> Iterator[Step[State]]:
        if not state.log:
            return
        record, *rest = state.log
        postgres = self.settled(state.postgres, record)
        moved = postgres != state.postgres
        past = (*state.past, record._replace(owner=-1)) if moved and self.restores else state.past
        after = state._replace(postgres=postgres, log=tuple(rest), past=past)
        waiting = state.owners[record.owner] if record.owner >= 0 else None
        if waiting:
            raised = waiting._replace(fence_at=postgres.next_offset, raised=record.epoch > state.postgres.fenced)
            after = with_owner(after, record.owner, raised)
        what = f"the claim of {record.who}, epoch {record.epoch}" if record.who else f"Fence {record.epoch}"
        yield Step(f"the ledger settles {what}{'' if moved else ': nothing moves'}", after)

    # Claims ---------------------------------------------------------------------------------------------------------

    def _claim(self, state: State) -> Iterator[Step[State]]:
        redis, epoch = state.redis, self._believed(state)
        if not epoch or redis.share is None:
            return
        if self.comebacks:
            state = state._replace(known=max(state.known, epoch))
        holder, pending = redis.share
        for who in PEOPLE:
            work, busy = Work(who, epoch), any(work.who == who for work in state.works)
            if holder == who and not pending:
                yield Step(f"{who} is told again that the share is his", state._replace(told=who))
            elif holder and holder != who and not pending:
                wrong = self.will_hold(state).holder != holder
                yield Step(f"{who} is told sold out", state, broken="it may yet be free" if wrong else "")
            elif not busy and holder in ("", who):
                reserved = redis._replace(share=Share(who, True))
                yield Step(
                    f"the share is reserved for {who}, epoch {epoch}",
                    state._replace(redis=reserved, works=with_one(state.works, work)),
                )
                if not holder and redis.fence and state.faults and state.postgres.taken < self.epochs:
                    torn = redis._replace(share=Share(who), fence=redis.fence._replace(open="0"))
                    after = state._replace(redis=torn, faults=state.faults - 1)
                    yield Step(f"an error while the share is written for {who} closes the shard", after, True)

    def _publish_and_confirm(self, state: State, work: Work) -> Iterator[Step[State]]:
        rest = state._replace(works=without_one(state.works, work))
        words = f"claim of {work.who}, epoch {work.epoch}"
        if work.acknowledged:
            epoch, redis = self._believed(state), state.redis
            if epoch != work.epoch:
                yield Step(f"the {words} cannot be confirmed", rest)
                return
            share = Share(work.who) if redis.share and redis.share.holder == work.who else redis.share
            yield Step(
                f"the {words} is confirmed and acknowledged",
                rest._replace(redis=redis._replace(share=share), told=work.who),
            )
            return
        record = Record(work.epoch, work.who)
        if len(state.log) < self.log:
            logged = rest._replace(works=with_one(rest.works, work._replace(acknowledged=True)))
            yield Step(f"Kafka acknowledges the {words}", logged._replace(log=(*state.log, record)))
        if state.faults and state.postgres.taken < self.epochs:
            late = with_one(state.late, record)
            yield Step(
                f"the {words} is under way to Kafka for long", rest._replace(late=late, faults=state.faults - 1), True
            )

    def _land_late(self, state: State) -> Iterator[Step[State]]:
        for record in sorted(set(state.late)):
            if len(state.log) < self.log:
                what = f"claim of {record.who}, epoch {record.epoch}," if record.who else f"Fence {record.epoch}"
                yield Step(
                    f"a late {what} reaches Kafka",
                    state._replace(late=without_one(state.late, record), log=(*state.log, record)),
                    True,
                )
        for opening in state.late_bless:
            yield Step(
                f"the second bless of epoch {opening.epoch} reaches Redis",
                self._blessed(state._replace(late_bless=()), opening),
                True,
            )

    def _load(self, state: State) -> Iterator[Step[State]]:
        redis, reading = state.redis, (state.postgres.next_offset, state.postgres.holder)
        if state.reading != reading:
            yield Step("somebody reads the ledger", state._replace(reading=reading))
        if (
            self._believed(state)
            and redis.fence
            and redis.share is None
            and state.reading
            and state.reading[0] >= redis.fence.floor
        ):
            loaded = state._replace(redis=redis._replace(share=Share(state.reading[1])), reading=None)
            yield Step(f"the share is loaded: {state.reading[1] or 'free'}", loaded)

    # Faults ---------------------------------------------------------------------------------------------------------

    def _disturb_redis(self, state: State) -> Iterator[Step[State]]:
        redis = state.redis
        yield Step("FLUSHALL", state._replace(redis=Redis(redis.run, redis.replid)), True)
        yield Step("Redis restarts empty", state._replace(redis=Redis(redis.run + 1, redis.replid + 1)), True)
        if self.comebacks:
            yield from self._lead_elsewhere(state)
        if not self.swaps:
            return
        if state.copy is None:
            kept = state._replace(copy=(redis.fence, redis.share), faults=state.faults + 1)
            yield Step("a copy of Redis is kept", kept, True)
        else:
            old, back = state._replace(copy=None), redis._replace(fence=state.copy[0], share=state.copy[1])
            yield Step(
                "Redis is demoted and promoted again, with the copy",
                old._replace(redis=back._replace(replid=redis.replid + 1)),
                True,
            )
            yield Step(
                "Redis restarts with the copy, its replid too",
                old._replace(redis=back._replace(run=redis.run + 1)),
                True,
            )

    def _lead_elsewhere(self, state: State) -> Iterator[Step[State]]:
        redis, left = state.redis, state.left_behind
        if left is None:
            empty = state._replace(redis=Redis(redis.run + 1, redis.replid + 1), left_behind=redis)
            yield Step("the name of Redis leads to another one, which is empty", empty, True)
        elif not any(state.owners) and all(record.who for record in (*state.log, *state.late)):
            known = max(state.known, state.postgres.fenced)
            back = state._replace(redis=left, left_behind=redis, known=known)
            yield Step("the name of Redis leads back to the one that was left behind", back, True)

    def _restore_postgres(self, state: State) -> Iterator[Step[State]]:
        """With the ledger workers stopped, as it has to be done: no opening is under way, nor is a Fence."""
        if state.restores and not any(state.owners) and all(record.who for record in state.late):
            before = state._replace(postgres=Postgres(), log=(*state.past, *state.log), past=(), reading=None)
            yield Step("Postgres is restored to its first day", before._replace(restores=state.restores - 1), True)


def with_owner(state: State, owner: int, opening: Opening | None) -> State:
    owners = (*state.owners[:owner], opening, *state.owners[owner + 1 :])
    return state._replace(owners=owners)
