"""What a run has shown, as a table to read and as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from loadtest.auditor.evidence import Evidence
from loadtest.record.words import Request
from loadtest.rehearsal.summary import became_of_unknown

# What one part of a run was answered, by outcome or code.
Counts = dict[str, int]


class Episode(Struct, frozen=True, kw_only=True):
    """One fault. Times of day are seconds since 1970. `back_s`: from the end of the damage to a send, a claim and a
    close on every shard; `settled_s`: from there until the ledger had everything; `calm_s`: from there until every
    process was ready and no client saw anything of it any more."""

    fault: str
    harmless: bool
    settles: bool
    began_at_s: float
    over_at_s: float
    back_s: float
    settled_s: float
    calm_s: float

    @property
    def back_at_s(self) -> float:
        return self.over_at_s + self.back_s


class Report(Struct, frozen=True, kw_only=True):
    """`answers`: by kind of request; `during`: by fault (in the order of `episodes`), of requests sent from its
    beginning until service was back; `unknown`: what became of the operations that were not known at some time."""

    seed: int
    episodes: Sequence[Episode]
    during: Sequence[Counts]
    answers: dict[str, Counts]
    unknown: Counts
    totals: Counts
    evicted: Counts
    violations: Sequence[str]


def make_report(
    seed: int,
    episodes: Sequence[Episode],
    requests: Sequence[Request],
    evidence: Evidence,
    evicted: Counts,
    violations: Sequence[str],
) -> Report:
    kinds = sorted({request.asked.kind for request in requests})
    return Report(
        seed=seed,
        episodes=episodes,
        during=[
            _count(it for it in requests if episode.began_at_s <= it.started_s <= episode.back_at_s)
            for episode in episodes
        ],
        answers={kind: _count(it for it in requests if it.asked.kind == kind) for kind in kinds},
        unknown=became_of_unknown(requests),
        totals=_totals(evidence),
        evicted=evicted,
        violations=violations,
    )


def in_words(report: Report) -> str:
    heads = f"{'s':>6} {'back':>6} {'settled':>8} {'calm':>6}"
    lines = [f"{'fault':<40} {heads}  answers from its beginning until service was back"]
    for episode, counts in zip(report.episodes, report.during, strict=True):
        lasted_s = episode.over_at_s - episode.began_at_s
        times = f"{lasted_s:>6.1f} {episode.back_s:>6.1f} {episode.settled_s:>8.1f} {episode.calm_s:>6.1f}"
        lines.append(f"{episode.fault:<40} {times}  {_list(counts)}")
    lines += [f"{kind}: {_list(counts)}" for kind, counts in report.answers.items()]
    lines.append(f"operations that were unknown at some time, and became: {_list(report.unknown)}")
    lines.append(f"ledger: {_list(report.totals)}")
    lines.append(f"evicted: {_list(report.evicted)}")
    lines += [f"VIOLATION {violation}" for violation in report.violations]
    lines.append(f"FAULT_SEED={report.seed}: {len(report.violations)} violations")
    return "\n".join(lines)


def _count(requests: Iterable[Request]) -> Counts:
    """By outcome; and where it is none, by its status and code."""
    counts = Counter(
        "ok" if it.answer.outcome == "ok" else f"{it.answer.status} {it.answer.code}".removeprefix("0 ")
        for it in requests
    )
    return dict(counts.most_common())


def _totals(evidence: Evidence) -> Counts:
    packets = evidence.packets
    states = Counter(packet.state for packet in packets)
    return {
        "topped_up": sum(it.amount for it in evidence.postings if it.kind == "topup"),
        "sent": sum(it.total for it in packets),
        "claimed": sum(it.claimed for it in packets),
        "refunded": sum(it.refunded for it in packets),
        "remaining": sum(it.total - it.claimed - it.refunded for it in packets),
        "packets": len(packets),
        **states,
        "claims": len(evidence.claims),
        "postings": len(evidence.postings),
        "records": sum(len(it.records) for it in evidence.shards),
    }


def _list(counts: Counts) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())
