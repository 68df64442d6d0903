"""Figures of a rehearsal that never was: a minute with a spike, and Redis killed in it."""

import math

from loadtest.rehearsal.figures import Cpu, Figures, Latency, Mark, Objective, Second


def made_up(seconds: int = 60) -> Figures:
    """A new year's eve of so many seconds: tenfold at the half, where Redis is killed for some seconds."""
    evening = [_second(at_s, seconds) for at_s in range(seconds)]
    accepted = sum(it.accepted for it in evening)
    refused = sum(it.refused for it in evening)
    return Figures(
        name="new-years-eve",
        what="An evening that grows, a tenfold spike within seconds at midnight, and its decay.",
        version="0.1.0",
        machine={"cpu": "Two cores of some kind @ 2.50 GHz", "memory": "8 GB", "kernel": "6.1", "python": "3.11.7"},
        host="a stack of its own on this machine",
        began_at="2026-12-31 23:59:30 UTC",
        people=1200,
        processes=1,
        api=2,
        ledger=1,
        seconds=evening,
        marks=[
            Mark(seconds / 2, "midnight"),
            Mark(seconds / 2 + 1, "redis killed"),
            Mark(seconds / 2 + 1.4, "an API worker killed"),
        ],
        counts={
            "packets sent": accepted * 5 // 18,
            "shares claimed": accepted - accepted * 5 // 18,
            "came too late": refused - 50,
            "sends and claims begun in the busiest second": max(it.offered for it in evening),
            "sends and claims accepted in the busiest second": max(it.accepted for it in evening),
            "requests": sum(it.attempts for it in evening),
        },
        latencies=[
            _latency("claim, one answer", 17_204, 6.2, 41.0, 812.4, 1502.8, 1811.0),
            _latency("claim, until it was final", 10_920, 6.9, 160.2, 5210.0, 7004.1, 7310.9),
            _latency("send, until it was final", 4_180, 9.4, 190.7, 5340.2, 7110.0, 7280.0),
        ],
        refusals={"503 unavailable": 3_310, "409 sold_out": refused - 50, "no answer: ReadError": 68},
        unknown={"done": 131, "not done": 39},
        cpu=[
            Cpu("api", 21.3, 1709.0),
            Cpu("redis", 2.9, 233.0),
            Cpu("kafka", 9.8, 787.0),
            Cpu("ledger", 8.4, 674.0),
            Cpu("postgres", 6.6, 530.0),
            Cpu("people", 38.0, 3050.0),
        ],
        drained_s=1.8,
        objectives=[
            Objective("claims accepted at the peak", "at least 200 a second", "412 a second", met=True),
            Objective("p99 of one answer to a claim", "at most 500 ms", "812 ms", met=False),
            Objective("recovery from a killed Redis", "at most 10 s", "4.2 s", met=True),
            Objective("drained", "within 60 s", "1.8 s", met=True),
        ],
        violations=[],
        audit="I1  holds: per packet claimed + refunded + remaining = total, and debits = credits, for every packet\n"
        "    packets 4,180, postings 29,210\nI2  holds: a share is claimed once\n\nall holds",
        audit_status=0,
    )


def _latency(what: str, count: int, p50: float, p90: float, p99: float, p999: float, most: float) -> Latency:
    return Latency(what=what, count=count, p50_ms=p50, p90_ms=p90, p99_ms=p99, p999_ms=p999, max_ms=most)


def _second(at_s: int, seconds: int) -> Second:
    middle = seconds // 2
    after = at_s - middle
    people = (
        120 + (2 * at_s * 60) // seconds + (round(1000 * math.exp(-after * 180 / seconds / 18)) if after >= 0 else 0)
    )
    offered = people * 2 // 5 + 17 * (at_s % 5)
    away = 1 <= after * 60 / seconds <= 4
    accepted = 0 if away else offered * 5 // 6
    lag = 2 + at_s % 3 + (round(40 * math.exp(-after * 60 / seconds / 4)) if after >= 0 else 0)
    return Second(
        at_s=at_s,
        people=people,
        offered=offered,
        attempts=offered * (4 if away else 2),
        accepted=accepted,
        refused=offered - accepted if not away else 0,
        turned_away=offered * 2 if away else (offered // 6 if after >= 0 else 0),
        broken=17 if away else 0,
        settled=accepted,
        lag_records=lag,
        p50_ms=None if away else 5 + people / 40 + at_s % 3,
        p99_ms=None if away else (20 + people * (1.2 if after > 0 else 0.2) + 13 * (at_s % 4)),
    )
