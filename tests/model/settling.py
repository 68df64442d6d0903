"""Two ledger workers who both believe that a partition is theirs settle it record by record.

Bounds: one fixed log, with a batch and a Fence doubled, a batch of a lower epoch behind its Fence and an old Fence that
comes late; up to `batch` records in one transaction; each worker may die, or lose the answer to its COMMIT, at most
`faults` times in all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.explore import Step
from tests.model.rules import Rule


class Record(NamedTuple):
    """A claim of `share` under an epoch; share 0 is a Fence."""

    epoch: int
    share: int = 0


LOG = (
    Record(1, 1),
    Record(2),
    Record(1, 2),
    Record(2, 3),
    Record(2),
    Record(2, 3),
    Record(1),
    Record(1, 2),
    Record(2, 4),
)
# What a ledger must hold in the end: share 2 was reserved on a Redis that is lost, and is never applied.
SETTLED = (1, 3, 4)


class Ledger(NamedTuple):
    next_offset: int = 0
    fenced: int = 1
    rows: tuple[int, ...] = ()
    balance: int = 0
    linked: int = 0  # records in the hash chain


class Worker(NamedTuple):
    """Where it believes the shard to be; how many records it has in hand from there."""

    position: int = -1
    in_hand: int = 0


class State(NamedTuple):
    ledger: Ledger = Ledger()
    workers: tuple[Worker, ...] = (Worker(), Worker())
    faults: int = 0


@dataclass(frozen=True)
class Settling:
    name: str
    batch: int = 2
    faults: int = 2
    without: Rule | None = None

    def keeps(self, rule: Rule) -> bool:
        return self.without is not rule

    def start(self) -> State:
        return State(faults=self.faults)

    def violation(self, state: State) -> str:
        ledger = state.ledger
        if ledger.balance != len(ledger.rows):
            return f"{len(ledger.rows)} claims have moved the balance {ledger.balance} times"
        if ledger.linked != ledger.next_offset:
            return f"the hash chain has {ledger.linked} records, and the shard is at {ledger.next_offset}"
        if any(share not in SETTLED for share in ledger.rows):
            return f"share 2 is settled, which was reserved on a Redis that is lost: {ledger.rows}"
        if ledger.next_offset == len(LOG) and ledger.rows != SETTLED:
            return f"all is settled and the ledger holds only {ledger.rows}"
        return ""

    def at_rest(self, state: State) -> bool:
        return state.ledger.next_offset == len(LOG)

    def steps(self, state: State) -> Iterator[Step[State]]:
        for number, worker in enumerate(state.workers):
            name = f"worker {number + 1}"
            if worker.position < 0:
                at = state.ledger.next_offset
                yield Step(f"{name} reads its position, {at}", with_worker(state, number, Worker(at)))
            elif worker.in_hand == 0:
                for count in range(1, min(self.batch, len(LOG) - worker.position) + 1):
                    polled = worker._replace(in_hand=count)
                    yield Step(f"{name} polls {count} from {worker.position}", with_worker(state, number, polled))
            else:
                yield from self._commit(state, number, worker)
            if state.faults:
                dead = with_worker(state, number, Worker())._replace(faults=state.faults - 1)
                yield Step(f"{name} dies, and another takes its place", dead, True)

    def _commit(self, state: State, number: int, worker: Worker) -> Iterator[Step[State]]:
        """One transaction: the offset moves from where the worker believes it to be, and all records are applied."""
        name, ledger = f"worker {number + 1}", state.ledger
        if ledger.next_offset != worker.position and self.keeps(Rule.OFFSET_MOVES_ONCE):
            yield Step(f"{name} moves 0 rows and reads on", with_worker(state, number, Worker()))
            return
        end = worker.position + worker.in_hand
        for record in LOG[worker.position : end]:
            ledger = self._settled(ledger, record)
        ledger = ledger._replace(next_offset=end, linked=ledger.linked + worker.in_hand)
        done = with_worker(state._replace(ledger=ledger), number, Worker(end))
        words = f"{name} settles {worker.position} to {end - 1}"
        yield Step(words, done)
        if state.faults:
            unknown = with_worker(done._replace(faults=state.faults - 1), number, worker)
            yield Step(f"{words}, and its COMMIT is cut: it tries again", unknown, True)

    def _settled(self, ledger: Ledger, record: Record) -> Ledger:
        if record.share == 0:
            higher = record.epoch > ledger.fenced or not self.keeps(Rule.HIGHEST_FENCE)
            return ledger._replace(fenced=record.epoch if higher else ledger.fenced)
        if record.epoch < ledger.fenced and self.keeps(Rule.LOWER_EPOCHS_IGNORED):
            return ledger
        if record.share in ledger.rows:
            return ledger if self.keeps(Rule.ROWS_ONCE) else ledger._replace(balance=ledger.balance + 1)
        return ledger._replace(rows=tuple(sorted((*ledger.rows, record.share))), balance=ledger.balance + 1)


def with_worker(state: State, number: int, worker: Worker) -> State:
    return state._replace(workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))
