"""What an audit finds: figures and violations by invariant, what it has read, and what it could not."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

# Of one invariant; what is beyond them is counted.
SENTENCES_MAX = 20

INVARIANTS = {
    "I1": "per packet claimed + refunded + remaining = total; over the ledger debits = credits",
    "I2": "a share of a packet is claimed once, with the amount that the seed gives it",
    "I3": "a person has one share of a packet",
    "I4": "what Redis has confirmed is once in the log and once in Postgres, just so",
    "I5": "nothing is in the ledger that the log did not ask for",
    "I6": "what was settled never changes",
    "I8": "the hash chain over the settled records verifies",
}


class AuditError(Exception):
    """The audit could not be made, or not to its end: nothing is said about the ledger. The message says why."""


@dataclass
class Violations:
    """`total` counts them all; of many only the first sentences are kept."""

    total: int = 0
    sentences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ShardCover:
    """What was read of one shard's log: from `from_offset` up to where it is settled, `next_offset`; `head` is the
    chain there by the log's own bytes, and `kept` by the ledger. `joins`: it begins where the last audit ended, or
    before."""

    shard: int
    from_offset: int
    next_offset: int
    records: int
    head: bytes
    kept: bytes
    joins: bool


@dataclass
class Findings:
    """`notes`: what is worth knowing and wrong of nobody. `unchecked`: what would have to be checked and cannot now."""

    figures: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    violations: defaultdict[str, Violations] = field(default_factory=lambda: defaultdict(Violations))
    shards: list[ShardCover] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def violate(self, invariant: str, sentence: str) -> None:
        self.violate_often(invariant, [sentence], 1)

    def violate_often(self, invariant: str, sentences: Iterable[str], total: int) -> None:
        found = self.violations[invariant]
        found.total += total
        found.sentences.extend(list(sentences)[: max(0, SENTENCES_MAX - len(found.sentences))])

    def count(self, invariant: str, figure: str, by: int = 1) -> None:
        figures = self.figures[invariant]
        figures[figure] = figures.get(figure, 0) + by

    @property
    def all_hold(self) -> bool:
        """Nothing is violated, and nothing is left that could not be checked."""
        return not self.unchecked and not any(found.total for found in self.violations.values())

    @property
    def exit_status(self) -> int:
        """0 all hold, 1 something is violated, 2 something could not be checked."""
        if any(found.total for found in self.violations.values()):
            return 1
        return 2 if self.unchecked else 0
