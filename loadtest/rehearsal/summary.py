"""From the record and the looks to figures: pure, so that what is reported can be worked out again from the files."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import quantiles

from loadtest.record.operations import by_operation
from loadtest.record.words import Request
from loadtest.rehearsal.figures import Cpu, Latency, Second
from loadtest.rehearsal.watch import Look

MOVES = ("send", "claim")
# Between looks that are farther apart nothing is told of single seconds.
_LOOKS_APART_S = 3.0
# Of a second: so much of it was looked at.
_SEEN_S = 0.99


def by_second(
    requests: Sequence[Request], looks: Sequence[Look], began_s: float, people: Sequence[int]
) -> list[Second]:
    """One for each of `people`, which says how many were wanted there in each second."""
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    waited_ms: defaultdict[int, list[float]] = defaultdict(list)
    for request in requests:
        counts["attempts"][_second(request.started_s, began_s)] += 1
        if request.ended_s is None:
            continue
        ended = _second(request.ended_s, began_s)
        if request.answer.status in (429, 503):
            counts["turned_away"][ended] += 1
        elif request.answer.status == 0:
            counts["broken"][ended] += 1
        if request.asked.kind == "claim" and request.answer.status:
            waited_ms[ended].append(1000 * (request.ended_s - request.started_s))
    for attempts in by_operation(requests).values():
        if attempts[0].asked.kind in MOVES:
            counts["offered"][_second(attempts[0].started_s, began_s)] += 1
            final = final_answer(attempts)
            if final is not None and final.ended_s is not None:
                counts["accepted" if final.answer.outcome == "ok" else "refused"][_second(final.ended_s, began_s)] += 1
    settled, lag = _settled(looks, began_s), _lag(looks, began_s)
    return [
        Second(
            at_s=at_s,
            people=there,
            offered=counts["offered"][at_s],
            attempts=counts["attempts"][at_s],
            accepted=counts["accepted"][at_s],
            refused=counts["refused"][at_s],
            turned_away=counts["turned_away"][at_s],
            broken=counts["broken"][at_s],
            settled=settled.get(at_s),
            lag_records=lag.get(at_s),
            p50_ms=_percentile(waited_ms[at_s], 50),
            p99_ms=_percentile(waited_ms[at_s], 99),
        )
        for at_s, there in enumerate(people)
    ]


def latencies(requests: Sequence[Request]) -> list[Latency]:
    """Of sends and claims: of each answer by itself, and from the first attempt to the first final answer."""
    waited: dict[str, list[float]] = {}
    for kind in MOVES:
        waited[f"{kind}, one answer"] = [
            it.ended_s - it.started_s
            for it in requests
            if it.asked.kind == kind and it.answer.status and it.ended_s is not None
        ]
        waited[f"{kind}, until it was final"] = until_final(requests, kind)
    return [_latency(what, all_s) for what, all_s in waited.items() if all_s]


def until_final(requests: Iterable[Request], *kinds: str) -> list[float]:
    """Seconds from the first attempt to the first final answer, of each operation that has one."""
    return [
        final.ended_s - attempts[0].started_s
        for attempts in by_operation(requests).values()
        if attempts[0].asked.kind in kinds
        and (final := final_answer(attempts)) is not None
        and final.ended_s is not None
    ]


def final_answer(attempts: Iterable[Request]) -> Request | None:
    """The first yes; where there is none, the first no."""
    known = sorted((it for it in attempts if it.answer.outcome != "unknown"), key=lambda it: it.ended_s or math.inf)
    return next((it for it in known if it.answer.outcome == "ok"), known[0] if known else None)


def refusals(requests: Iterable[Request]) -> dict[str, int]:
    """Answers that were no yes, by reason, the most frequent first."""
    counted = Counter(
        f"{it.answer.status} {it.answer.code}" if it.answer.status else f"no answer: {it.answer.code}"
        for it in requests
        if it.answer.outcome != "ok"
    )
    return dict(counted.most_common())


def became_of_unknown(requests: Iterable[Request]) -> dict[str, int]:
    """Of the operations whose outcome was not known at some time: how many were done, and so on, in the end."""
    became: Counter[str] = Counter()
    for attempts in by_operation(requests).values():
        outcomes = {it.answer.outcome for it in attempts}
        if "unknown" in outcomes:
            became["done" if "ok" in outcomes else "not done" if "fail" in outcomes else "not known"] += 1
    return dict(became)


def drained_s(looks: Iterable[Look], last_s: float) -> float | None:
    """From the last request (seconds since 1970) to the first look that found the ledger with everything; None where
    there was none."""
    return next((look.at_s - last_s for look in looks if look.at_s >= last_s and look.lag_records == 0), None)


def cpu_per_claim(spent_s: dict[str, float], settled: int) -> list[Cpu]:
    return [
        Cpu(part=part, seconds=seconds, us_per_claim=1e6 * seconds / settled if settled else 0.0)
        for part, seconds in spent_s.items()
    ]


def percentile(values: Sequence[float], percent: float) -> float:
    """Of at least one value; to a tenth of a percent, between two of them in proportion."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=1000, method="inclusive")[round(10 * percent) - 1]


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return percentile(values, percent) if values else None


def _latency(what: str, all_s: Sequence[float]) -> Latency:
    cuts = [1000 * percentile(all_s, percent) for percent in (50, 90, 99, 99.9)]
    return Latency(
        what=what,
        count=len(all_s),
        p50_ms=cuts[0],
        p90_ms=cuts[1],
        p99_ms=cuts[2],
        p999_ms=cuts[3],
        max_ms=1000 * max(all_s),
    )


def _second(at_s: float, began_s: float) -> int:
    return math.floor(at_s - began_s)


def _settled(looks: Sequence[Look], began_s: float) -> dict[int, int]:
    """By second, what came into the ledger, where looks stand around all of it: between two of them evenly."""
    came: defaultdict[int, float] = defaultdict(float)
    seen_s: defaultdict[int, float] = defaultdict(float)
    known = [(look.at_s, look.settled) for look in looks if look.settled is not None]
    for (from_s, before), (to_s, after) in pairwise(known):
        if to_s - from_s > _LOOKS_APART_S:
            continue
        for second in range(_second(from_s, began_s), _second(to_s, began_s) + 1):
            shared_s = min(began_s + second + 1, to_s) - max(began_s + second, from_s)
            came[second] += (after - before) * shared_s / (to_s - from_s)
            seen_s[second] += shared_s
    return {second: round(count) for second, count in came.items() if seen_s[second] > _SEEN_S}


def _lag(looks: Sequence[Look], began_s: float) -> dict[int, int]:
    return {_second(it.at_s, began_s): it.lag_records for it in looks if it.lag_records is not None}
