"""All figures of a rehearsal together, and whether what was wanted of it came."""

import os
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from msgspec import Struct

from ledger.audit.report import format_table
from loadtest.record.operations import by_operation
from loadtest.record.words import Request
from loadtest.rehearsal import summary
from loadtest.rehearsal.afterwards import Aftermath
from loadtest.rehearsal.figures import Figures, Mark, Objective, Second
from loadtest.rehearsal.plan import Plan
from loadtest.rehearsal.scenarios import SCENARIOS, Scenario, people_at
from loadtest.rehearsal.watch import Look
from loadtest.stack import Stack


class Played(Struct, frozen=True):
    """What was seen from beside. `gone_s`: when the last person had gone. `cpu_s`: by part, until the ledger had
    everything. `strained`: the generator was."""

    plan: Plan
    url: str
    began_s: float
    gone_s: float
    marks: Sequence[Mark]
    looks: Sequence[Look]
    cpu_s: dict[str, float]
    strained: bool


def figures_of(played: Played, aftermath: Aftermath, stack: Stack | None) -> Figures:
    """What people asked for before the first of them came (money, packets) and what was asked afterwards is left out,
    but for what became of what they had begun."""
    plan, scenario = played.plan, SCENARIOS[played.plan.scenario]
    people = [people_at(scenario, plan.people, second + 0.5, plan.seconds) for second in range(round(plan.seconds))]
    theirs = _theirs(aftermath.requests, played)
    settled = [look.settled for look in played.looks if look.settled is not None]
    last_s = max((it.ended_s for it in theirs if it.ended_s is not None and it.ended_s < played.gone_s), default=0.0)
    drained_s = summary.drained_s(played.looks, last_s)
    seconds = summary.by_second(theirs, played.looks, played.began_s, people)
    return Figures(
        name=plan.scenario,
        what=scenario.what,
        version=version("redpacket"),
        machine=_machine(),
        host=played.url,
        began_at=f"{datetime.fromtimestamp(played.began_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
        people=plan.people,
        processes=plan.processes,
        api=_workers(stack, "api"),
        ledger=_workers(stack, "ledger"),
        seconds=seconds,
        marks=list(played.marks),
        counts=_counts(theirs, seconds),
        latencies=summary.latencies(theirs),
        refusals=summary.refusals(theirs),
        unknown=summary.became_of_unknown(theirs),
        cpu=summary.cpu_per_claim(played.cpu_s, settled[-1] - settled[0]) if stack is not None and settled else [],
        drained_s=drained_s,
        objectives=_objectives(scenario, theirs, drained_s, played.strained),
        violations=aftermath.violations,
        audit=format_table(aftermath.findings),
        audit_status=aftermath.findings.exit_status,
    )


def _theirs(requests: Sequence[Request], played: Played) -> list[Request]:
    """All attempts at what people began, and their looks."""
    return [
        it
        for it in requests
        if it.started_s >= played.began_s
        and (it.asked.kind in summary.MOVES or (it.asked.kind != "see_wallet" and it.started_s < played.gone_s))
    ]


def _objectives(
    scenario: Scenario, requests: Sequence[Request], drained_s: float | None, strained: bool
) -> list[Objective]:
    wanted, waited_s = scenario.objectives, summary.until_final(requests, *summary.MOVES)
    final_s = summary.percentile(waited_s, 99) if waited_s else float("inf")
    begun = sum(attempts[0].asked.kind in summary.MOVES for attempts in by_operation(requests).values())
    return [
        Objective(
            "sends and claims are final in time, retries included",
            f"99 of 100 within {wanted.final_p99_s:g} s",
            f"99 of 100 within {final_s:.2f} s",
            final_s <= wanted.final_p99_s,
        ),
        Objective(
            "every send and claim is final in the end",
            f"{begun:,} of {begun:,}",
            f"{len(waited_s):,} of {begun:,}",
            len(waited_s) == begun > 0,
        ),
        Objective(
            "the ledger has everything soon after the last request",
            f"within {wanted.drained_s:g} s",
            "not seen" if drained_s is None else f"after {drained_s:.1f} s",
            drained_s is not None and drained_s <= wanted.drained_s,
        ),
        Objective(
            "the generator does not slow down those whom it plays",
            "each of its processes below 90 % of a core",
            "not all the time: more processes, or fewer people" if strained else "all the time",
            not strained,
        ),
    ]


def _counts(requests: Sequence[Request], seconds: Sequence[Second]) -> dict[str, int]:
    final = {
        kind: Counter(
            answer.answer.code or answer.answer.outcome if answer is not None else "not known"
            for attempts in by_operation(requests).values()
            if attempts[0].asked.kind == kind
            for answer in [summary.final_answer(attempts)]
        )
        for kind in summary.MOVES
    }
    return {
        "packets sent": final["send"]["ok"],
        "shares claimed": final["claim"]["ok"],
        "came too late": final["claim"]["sold_out"],
        "sends and claims begun in the busiest second": max((it.offered for it in seconds), default=0),
        "sends and claims accepted in the busiest second": max((it.accepted for it in seconds), default=0),
        "requests": len(requests),
        "requests in the busiest second": max((it.attempts for it in seconds), default=0),
        "packets and lists looked at": sum(it.asked.kind.startswith("see_") for it in requests),
    }


def _workers(stack: Stack | None, part: str) -> int | None:
    return len(stack.pids()[part]) if stack is not None else None


def _machine() -> dict[str, str]:
    return {
        "processors": str(os.cpu_count()),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
