"""What a run found, as it is written down: CPU in microseconds a unit, which is a settled claim, a settled send, or
where nothing is to be settled an answer."""

from collections.abc import Mapping

from msgspec import Struct

from loadtest.stack import PARTS


class Floor(Struct, frozen=True):
    """What bare loops take for the same; `ratio`: how many times as much the whole path takes."""

    cpu_us: dict[str, float]
    ratio: float


class Figures(Struct, frozen=True):
    """`answers` by status; `unanswered`: sent, and no answer came; `unexpected`: answers that the case does not want.

    `settled`: rows that were not there before; `seconds`: from the first request until the ledger had drained.
    `batch_items`: settled items in a record; `transaction_items`: in one transaction of the ledger; 0 where nothing is
    settled. `cpu_us`: by part and in sum. `differs`: what was acknowledged and what is in the ledger do not agree.
    """

    case: str
    connections: int
    counted: str
    answers: dict[str, int]
    unanswered: int
    unexpected: int
    acknowledged: int
    settled: int
    differs: bool
    seconds: float
    per_s: float
    p50_ms: float
    p99_ms: float
    batch_items: float
    transaction_items: float
    cpu_us: dict[str, float]
    generator_cpu_us: float
    floor: Floor

    @property
    def fault(self) -> str:
        """What was not as the case wants it; '' where all was."""
        if not (self.unexpected or self.unanswered or self.differs):
            return ""
        answers = ", ".join(f"{count} x {status}" for status, count in self.answers.items()) or "nothing"
        told = f"{self.case}, {self.connections} connections: answered {answers}; {self.unanswered} not answered"
        return told + (f"; ACKNOWLEDGED {self.acknowledged}, IN THE LEDGER {self.settled}" if self.differs else "")


class Report(Struct, frozen=True):
    """`machine`: what it ran on. `idle_cpu_ms_per_s`: what the stack spends while nobody asks for anything; it is in
    all other figures too."""

    version: str
    machine: dict[str, str]
    generator: str
    api_workers: int
    ledger_workers: int
    idle_cpu_ms_per_s: dict[str, float]
    runs: list[Figures]

    @property
    def holds(self) -> bool:
        """Whether all that was acknowledged is in the ledger, and nothing else."""
        return not any(run.differs for run in self.runs)

    @property
    def faults(self) -> list[str]:
        """Of which each makes the figures of a run those of something else than its case."""
        return [run.fault for run in self.runs if run.fault]


def per_unit_us(spent_s: Mapping[str, float], units: int) -> dict[str, float]:
    """By part and, as `sum`, in all."""
    by_part = {part: round(1e6 * spent_s.get(part, 0.0) / max(1, units), 1) for part in PARTS}
    return by_part | {"sum": round(sum(by_part.values()), 1)}


def differs(acknowledged: int, settled: int, unknown: int) -> bool:
    """Whether the ledger lacks what was acknowledged, or has what nobody can have asked for. `unknown`: requests whose
    outcome their caller was not told; each of them may be settled or not."""
    return not acknowledged <= settled <= acknowledged + unknown
