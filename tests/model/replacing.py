"""A Redis is replaced by another while owners and workers of both are there, for as long as a roll takes.

Bounds: one shard; one claim that is told; `owners`, each on the old Redis (0) or on the new one (1); epochs up to
`epochs`; two replacements one after the other, each of which may die at any step. Both Redis go on all the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.explore import Step
from tests.model.rules import Rule

NAMES = ("the old Redis", "the new Redis")


class Opening(NamedTuple):
    """How far an owner has come with its number."""

    epoch: int
    closed: bool = False
    written: bool = False
    settled: bool = False
    checked: bool = False


class Replacement(NamedTuple):
    """How far it has come with its number: 0 before it has one."""

    epoch: int = 0
    closed: bool = False


class Work(NamedTuple):
    """A claim that is reserved on the Redis `at`; whether Kafka has acknowledged its record."""

    at: int
    epoch: int
    acknowledged: bool = False


class Record(NamedTuple):
    """A claim, or the Fence of `owner` (-1: of nobody who waits)."""

    epoch: int
    owner: int | None = None


class State(NamedTuple):
    """`redis`: of each its epoch and 'new', '1' or '0', as its fence has them."""

    owners: tuple[Opening | None, ...]
    redis: tuple[tuple[int, str], tuple[int, str]] = ((1, "1"), (0, "0"))
    generation: int = 0
    taken: int = 1
    fenced: int = 1
    applied: bool = False
    log: tuple[Record, ...] = ()
    work: Work | None = None
    told: bool = False
    replacement: Replacement | None = None
    begun: int = 0


@dataclass(frozen=True)
class Replacing:
    name: str
    owners: tuple[int, ...] = (0, 1)
    epochs: int = 5
    log: int = 2
    without: Rule | None = None

    def keeps(self, rule: Rule) -> bool:
        return self.without is not rule

    def start(self) -> State:
        return State((None,) * len(self.owners))

    def violation(self, state: State) -> str:
        fenced, applied = state.fenced, state.applied
        for record in state.log:
            fenced, applied = settled(fenced, applied, record)
        return "the claim was acknowledged and the ledger will not have it" if state.told and not applied else ""

    def at_rest(self, state: State) -> bool:
        open_there = state.redis[state.generation][1] == "1"
        return open_there and not (any(state.owners) or state.log or state.work or state.replacement)

    def steps(self, state: State) -> Iterator[Step[State]]:
        for owner, opening in enumerate(state.owners):
            yield from self._open(state, owner, opening) if opening else self._take(state, owner)
        yield from self._replace(state)
        yield from self._settle(state)
        yield from self._claim(state)

    # An opening -----------------------------------------------------------------------------------------------------

    def _take(self, state: State, owner: int) -> Iterator[Step[State]]:
        at = self.owners[owner]
        epoch = max(state.taken, state.fenced, state.redis[at][0]) + 1
        # The last one is for whoever is left, so that there is always a way to rest.
        alone = not any(state.owners) and state.replacement is None and at == state.generation
        if (self.keeps(Rule.ITS_OWN_GENERATION) and at != state.generation) or epoch > self.epochs:
            return
        if epoch < self.epochs or (alone and state.redis[at][1] != "1"):
            taken = with_owner(state._replace(taken=epoch), owner, Opening(epoch))
            yield Step(f"owner {owner + 1} takes epoch {epoch} for {NAMES[at]}", taken)

    def _open(self, state: State, owner: int, opening: Opening) -> Iterator[Step[State]]:
        at, name, epoch = self.owners[owner], f"owner {owner + 1}", opening.epoch
        if not opening.closed:
            if state.redis[at][0] >= epoch:
                yield Step(f"{name} is refused: {NAMES[at]} has seen as high an epoch", with_owner(state, owner, None))
            else:
                closed = with_redis(state, at, (epoch, "new"))
                after = with_owner(closed, owner, opening._replace(closed=True))
                yield Step(f"{name} closes {NAMES[at]} under epoch {epoch}", after)
        elif not opening.written:
            if len(state.log) < self.log:
                logged = state._replace(log=(*state.log, Record(epoch, owner)))
                yield Step(f"{name} writes Fence {epoch}", with_owner(logged, owner, opening._replace(written=True)))
        elif opening.settled and not opening.checked:
            good = state.taken == epoch and state.fenced == epoch
            after = with_owner(state, owner, opening._replace(checked=True) if good else None)
            yield Step(f"{name} finds its Fence settled and {'goes on' if good else 'abandons'}", after)
        elif opening.checked:
            good = state.redis[at] == (epoch, "new")
            blessed = with_redis(state, at, (epoch, "1")) if good else state
            words = f"{name} {'blesses' if good else 'may not bless'} epoch {epoch} on {NAMES[at]}"
            yield Step(words, with_owner(blessed, owner, None))

    # The replacement ------------------------------------------------------------------------------------------------

    def _replace(self, state: State) -> Iterator[Step[State]]:
        at_work = state.replacement
        if at_work is None:
            if state.generation == 0 and state.begun < 2:
                yield Step("a replacement begins", state._replace(replacement=Replacement(), begun=state.begun + 1))
            return
        yield Step("the replacement dies", state._replace(replacement=None), True)
        if not at_work.epoch:
            epoch = max(state.taken, state.fenced, state.redis[0][0]) + 1
            if epoch < self.epochs:
                taken = state._replace(taken=epoch, replacement=Replacement(epoch))
                yield Step(f"the replacement takes epoch {epoch}", taken)
            else:
                yield Step("the replacement gives up", state._replace(replacement=None))
        elif not at_work.closed:
            good = state.redis[0][0] < at_work.epoch
            closed = with_redis(state, 0, (at_work.epoch, "0")) if good else state
            after = closed._replace(replacement=at_work._replace(closed=True) if good else Replacement())
            yield Step(f"the replacement {'closes' if good else 'may not close'} the old Redis", after)
        else:
            good = state.taken == at_work.epoch or not self.keeps(Rule.REPLACED_WHEN_CLOSED)
            after = (
                state._replace(generation=1, replacement=None) if good else state._replace(replacement=Replacement())
            )
            yield Step("the new Redis is named" if good else "the replacement begins anew: a number was taken", after)

    # Ledger and claims ----------------------------------------------------------------------------------------------

    def _settle(self, state: State) -> Iterator[Step[State]]:
        if not state.log:
            return
        record, *rest = state.log
        fenced, applied = settled(state.fenced, state.applied, record)
        after = state._replace(log=tuple(rest), fenced=fenced, applied=applied)
        if record.owner is not None and (waiting := state.owners[record.owner]) and waiting.epoch == record.epoch:
            after = with_owner(after, record.owner, waiting._replace(settled=True))
        what = f"Fence {record.epoch}" if record.owner is not None else f"the claim of epoch {record.epoch}"
        yield Step(f"the ledger settles {what}", after)

    def _claim(self, state: State) -> Iterator[Step[State]]:
        work = state.work
        if work is None:
            for at, (epoch, open) in enumerate(state.redis):
                if open == "1" and not state.told:
                    reserved = state._replace(work=Work(at, epoch))
                    yield Step(f"the claim is reserved on {NAMES[at]}, epoch {epoch}", reserved)
        elif not work.acknowledged:
            if len(state.log) < self.log:
                logged = state._replace(log=(*state.log, Record(work.epoch)), work=work._replace(acknowledged=True))
                yield Step("Kafka acknowledges the claim", logged)
        elif state.redis[work.at] == (work.epoch, "1"):
            yield Step("the claim is confirmed and acknowledged", state._replace(work=None, told=True))
        else:
            yield Step("the claim cannot be confirmed", state._replace(work=None))


def settled(fenced: int, applied: bool, record: Record) -> tuple[int, bool]:
    if record.owner is not None:
        return max(fenced, record.epoch), applied
    return fenced, applied or record.epoch >= fenced


def with_owner(state: State, owner: int, opening: Opening | None) -> State:
    return state._replace(owners=(*state.owners[:owner], opening, *state.owners[owner + 1 :]))


def with_redis(state: State, at: int, fence: tuple[int, str]) -> State:
    return state._replace(redis=(fence, state.redis[1]) if at == 0 else (state.redis[0], fence))
