"""What a rehearsal has shown: figures as plain data, from which the page and the verdict are made."""

from msgspec import Struct


class Second(Struct, frozen=True, kw_only=True):
    """One second of a rehearsal. `people`: as many as the scenario wants; `offered`: sends and claims that people
    began; `attempts`: all requests that they sent, repeats and looks included; `accepted`: sends and claims that got
    their first final yes; `refused`: those that got a final no (sold out, say); `turned_away`: requests that got 429 or
    503; `broken`: requests without an answer; `settled`: sends and claims that reached the ledger, None where it could
    not be asked; `lag_records`: records of the log that the ledger did not have, None likewise; `p50_ms`, `p99_ms`: of
    the answers to claims, None where there were none."""

    at_s: int
    people: int
    offered: int
    attempts: int
    accepted: int
    refused: int
    turned_away: int
    broken: int
    settled: int | None
    lag_records: int | None
    p50_ms: float | None
    p99_ms: float | None


class Latency(Struct, frozen=True, kw_only=True):
    """Of `count` things, in milliseconds. `what`: "claim, one answer", or "claim, until it was final", say."""

    what: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class Mark(Struct, frozen=True):
    """A moment to be seen in every chart: seconds from the beginning, and what was then: "midnight", "redis killed"."""

    at_s: float
    what: str


class Objective(Struct, frozen=True):
    """What was wanted and what came, in words with units."""

    name: str
    wanted: str
    measured: str
    met: bool


class Cpu(Struct, frozen=True):
    """Of one part (api, redis, kafka, ledger, postgres, people): seconds in all, and microseconds for each settled send
    or claim."""

    part: str
    seconds: float
    us_per_claim: float


class Figures(Struct, frozen=True, kw_only=True):
    """`what`: the scenario in a sentence. `counts`: sends, claims, ... in the order to be shown. `refusals`: by reason.
    `unknown`: what became of the operations that were not known at some time. `cpu`: empty where the processes are
    others' (a host was given). `violations`: a sentence for everything that was lost, doubled or untrue. `audit`: what
    `redpacket audit` says, whole; `audit_status` with what it exits. `host`: whom people asked. `people`: at the peak,
    played by `processes` processes. `api`, `ledger`: how many workers of each, None where they are others'.
    `drained_s`: from the end of the load until the ledger had everything, None where that was not seen."""

    name: str
    what: str
    version: str
    machine: dict[str, str]
    host: str
    began_at: str
    people: int
    processes: int
    api: int | None
    ledger: int | None
    seconds: list[Second]
    marks: list[Mark]
    counts: dict[str, int]
    latencies: list[Latency]
    refusals: dict[str, int]
    unknown: dict[str, int]
    cpu: list[Cpu]
    drained_s: float | None
    objectives: list[Objective]
    violations: list[str]
    audit: str
    audit_status: int

    @property
    def audit_holds(self) -> bool:
        return self.audit_status == 0

    @property
    def is_true(self) -> bool:
        """Nothing was lost, doubled, changed or made up, and nothing is left unknown."""
        return not self.violations and self.audit_holds

    @property
    def any_accepted(self) -> bool:
        return any(it.accepted for it in self.seconds)

    @property
    def exit_status(self) -> int:
        """0: it is true, and what was wanted came. 1: something was lost, doubled or untrue. 3: only an objective is
        missed, or nothing was accepted, by which nothing is shown. 2: the audit could not check all. (It is the
        status of a rehearsal that was not brought to its end, too.)"""
        if self.violations or self.audit_status == 1:
            return 1
        if not self.audit_holds:
            return 2
        return 0 if self.any_accepted and all(it.met for it in self.objectives) else 3
