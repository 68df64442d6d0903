"""What a rehearsal plays: how many people are there when, what they do, and what is wanted of the service."""

import math

from msgspec import Struct


class Point(Struct, frozen=True):
    """`share` of all people are there at this part of the time, and `plus_s` later: a spike is as steep in one minute
    as in an hour. Between two points the line is straight."""

    part: float
    share: float
    plus_s: float = 0.0


class Objectives(Struct, frozen=True):
    """`final_p99_s`: of 100 sends and claims, 99 are final after that many seconds, retries included. `drained_s`: how
    long after the last request the ledger may take to have everything."""

    final_p99_s: float
    drained_s: float


class Scenario(Struct, frozen=True, kw_only=True):
    """`turn_s`: each person does one thing in so many seconds, at his own pace, or, `together`, all at the same moment.

    `claims_per_send`: how many times people open a packet for each that they send. None: packets with shares for this
    part of the people (`shares`) are there beforehand, one for each turn, and everybody opens the one whose turn it is.
    """

    what: str
    people: int
    minutes: float
    shape: tuple[Point, ...]
    peak: Point
    peak_name: str
    objectives: Objectives
    turn_s: float = 2.0
    together: bool = False
    claims_per_send: float | None = None
    shares: float = 1.0


# On WeChat on 1 January 2016, some 2.6 claims for each packet sent.
_CLAIMS_PER_SEND = 2.6
_CALM = Objectives(final_p99_s=1.0, drained_s=10.0)
_SPIKE = Objectives(final_p99_s=5.0, drained_s=30.0)
# Within seconds: people look at one clock.
_RISE_S = 3.0
_RISE_MAX = 0.05

SCENARIOS = {
    "steady": Scenario(
        what="An ordinary evening: as many people all the time, who send packets and open those that they see.",
        people=500,
        minutes=2.0,
        shape=(Point(0.0, 0.1), Point(0.1, 1.0), Point(1.0, 1.0)),
        peak=Point(0.5, 1.0),
        peak_name="half-time",
        objectives=_CALM,
        claims_per_send=_CLAIMS_PER_SEND,
    ),
    "new-years-eve": Scenario(
        what="An evening that fills up, ten times as many people within seconds at midnight, and the time after.",
        people=1000,
        minutes=5.0,
        shape=(
            Point(0.0, 0.02),
            Point(0.3, 0.1),
            Point(0.5, 0.1),
            Point(0.5, 1.0, _RISE_S),
            Point(0.65, 1.0),
            Point(0.75, 0.5),
            Point(0.9, 0.2),
            Point(1.0, 0.1),
        ),
        peak=Point(0.5, 1.0, _RISE_S),
        peak_name="midnight",
        objectives=_SPIKE,
        claims_per_send=_CLAIMS_PER_SEND,
    ),
    "red-packet-rain": Scenario(
        what="Every ten seconds a packet falls, and everybody opens it on the second. It has shares for four of five.",
        people=1000,
        minutes=2.0,
        shape=(Point(0.0, 0.5), Point(0.1, 1.0), Point(1.0, 1.0)),
        peak=Point(0.5, 1.0),
        peak_name="half-time",
        objectives=_SPIKE,
        turn_s=10.0,
        together=True,
        shares=0.8,
    ),
    "hot-packet": Scenario(
        what="Everybody is after one packet, and when it is old after the next. It has shares for half of them.",
        people=800,
        minutes=2.0,
        shape=(Point(0.0, 0.1), Point(0.1, 1.0), Point(1.0, 1.0)),
        peak=Point(0.5, 1.0),
        peak_name="half-time",
        objectives=_SPIKE,
        shares=0.5,
    ),
}


def moment_s(point: Point, seconds: float) -> float:
    """When in a rehearsal of so many seconds. Of one of less than a minute a spike takes its part, else it would come
    behind its own end."""
    return point.part * seconds + min(point.plus_s, _RISE_MAX * seconds)


def people_at(scenario: Scenario, people: int, at_s: float, seconds: float) -> int:
    """How many of `people` are there, at least one; `at_s` seconds from the beginning."""
    before = scenario.shape[0]
    for after in scenario.shape:
        if moment_s(after, seconds) > at_s:
            break
        before = after
    else:
        after = before
    from_s, to_s = moment_s(before, seconds), moment_s(after, seconds)
    part = (at_s - from_s) / (to_s - from_s) if to_s > from_s else 0.0
    return max(1, math.ceil(people * (before.share + (after.share - before.share) * part)))
