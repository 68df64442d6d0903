"""One run: a case at a number of connections, measured from the first request until the ledger has drained."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct, json

from loadtest.bench.cases import Case, CaseError, Sender
from loadtest.bench.figures import Figures, Floor, differs, per_unit_us
from loadtest.bench.floors.http import measure_http
from loadtest.bench.floors.total import Seen, measure_all
from loadtest.bench.load import Fired, fire, write_requests
from loadtest.bench.people import People, request
from loadtest.cpu import cpu_of_parts, ended_children_s, spent_since
from loadtest.ledger import Ledger
from loadtest.stack import Stack

# More than any case can be answered: when they are used up, a run ends early.
_REQUESTS_PER_S = 20_000
_FIRST_CONNECTIONS = 64
_FUNDS_MINOR = 10**10
_IDLE_S = 3.0
_ACKNOWLEDGED = ("200", "201")
# Answers after which nothing has moved. Any other leaves the outcome open, and so does none.
_REFUSED = ("400", "401", "402", "403", "404", "409", "410", "422")


class _Spent(Struct, frozen=True):
    """Of one load: what the generator tells, seconds until the ledger had drained, seconds of CPU."""

    fired: Fired
    seconds: float
    cpu_s: dict[str, float]
    generator_cpu_s: float


class Bench:
    """Measures on one stack. `requests`: a file that generators read."""

    def __init__(
        self, stack: Stack, ledger: Ledger, sender: Sender, people: People, requests: Path, say: Callable[[str], None]
    ) -> None:
        self._stack = stack
        self._ledger = ledger
        self._sender = sender
        self._people = people
        self._requests = requests
        self._say = say

    async def warm(self) -> None:
        """Money for all senders, and every token seen once. Raises CaseError, LoadError."""
        people = self._people
        self._say(f"warming: {len(people.senders)} wallets, {len(people.claimers)} tokens")
        # What is no packet's id: the token is verified, then nothing is looked for.
        await self._fire_once([request("GET", "/v1/packets/none", person) for person in people.claimers], "404")
        bodies = [json.encode({"owner": person.owner, "amount": _FUNDS_MINOR}) for person in people.senders]
        top_ups = [request("POST", "/v1/topups", people.operator, body, f"{n}") for n, body in enumerate(bodies)]
        await self._fire_once(top_ups, "201")

    async def idle(self) -> dict[str, float]:
        """What every part spends while nothing is asked for, in ms of CPU a second."""
        before = cpu_of_parts(self._stack.pids())
        await asyncio.sleep(_IDLE_S)
        spent = spent_since(before, cpu_of_parts(self._stack.pids()))
        return {part: round(1000 * seconds / _IDLE_S, 1) for part, seconds in spent.items()}

    async def run(self, case: Case, connections: int, seconds: float) -> Figures:
        """Raises CaseError, LoadError, TimeoutError where the ledger does not drain, and what its parts raise."""
        prepared = await case.prepare(self._sender, self._people, round(seconds * _REQUESTS_PER_S))
        await self._fire_once(prepared.first, "201")
        if prepared.again:  # a worker remembers that a packet is sold out once it has told somebody so
            await self._fire_once(prepared.requests[:1], "409")
        write_requests(self._requests, prepared.requests)
        before, rows = await self._ledger.written(), await self._ledger.count(case.table)
        spent = await self._load(connections, seconds, again=prepared.again)
        settled = await self._ledger.count(case.table) - rows
        seen = Seen(settled, before, await self._ledger.written(), prepared.packets)
        units = sum(spent.fired.statuses.values()) if case.counted == "answer" else settled
        cpu_us = per_unit_us(spent.cpu_s, units)
        floor = await self._floor(case, connections, seen, cpu_us["sum"])
        figures = _figures(case, connections, spent, seen, units, cpu_us, floor)
        what = f"{figures.per_s:.0f} {case.counted}s/s, {cpu_us['sum']:.0f} us of CPU each"
        self._say(f"{case.name}, {connections} connections: {what}")
        return figures

    async def _load(self, connections: int, seconds: float, *, again: bool) -> _Spent:
        generator_s, before = ended_children_s(), cpu_of_parts(self._stack.pids())
        fired = await fire(self._stack.port, connections, self._requests, seconds, again=again)
        await self._ledger.wait_drained()
        drained_s, after = time.monotonic(), cpu_of_parts(self._stack.pids())
        return _Spent(fired, drained_s - fired.began_s, spent_since(before, after), ended_children_s() - generator_s)

    async def _floor(self, case: Case, connections: int, seen: Seen, sum_us: float) -> Floor:
        if case.counted == "answer":
            floor_s = await measure_http(self._requests, connections)
        else:
            senders = self._people.senders
            floor_s = await measure_all(
                self._stack, self._ledger, self._sender, senders, self._requests, connections, seen
            )
        floor_us = per_unit_us(floor_s, 1)
        return Floor(floor_us, round(sum_us / floor_us["sum"], 2))

    async def _fire_once(self, requests: Sequence[bytes], status: str) -> None:
        """Each once, not measured, all answered with `status`; until the ledger has drained."""
        if not requests:
            return
        write_requests(self._requests, requests)
        fired = await fire(self._stack.port, min(_FIRST_CONNECTIONS, len(requests)), self._requests)
        if fired.statuses != {status: len(requests)}:
            raise CaseError(f"{len(requests)} requests should be answered {status}, and were: {fired.statuses}")
        await self._ledger.wait_drained()


def _figures(
    case: Case, connections: int, spent: _Spent, seen: Seen, units: int, cpu_us: dict[str, float], floor: Floor
) -> Figures:
    fired, answers = spent.fired, spent.fired.statuses
    acknowledged = sum(answers.get(status, 0) for status in _ACKNOWLEDGED)
    known = acknowledged + sum(answers.get(status, 0) for status in _REFUSED)
    return Figures(
        case=case.name,
        connections=connections,
        counted=case.counted,
        answers=answers,
        unanswered=fired.sent - sum(answers.values()),
        unexpected=sum(count for status, count in answers.items() if status not in case.expected),
        acknowledged=acknowledged,
        settled=seen.settled,
        differs=differs(acknowledged, seen.settled, fired.sent - known),
        seconds=round(spent.seconds, 3),
        per_s=round(units / spent.seconds, 1),
        p50_ms=fired.p50_ms,
        p99_ms=fired.p99_ms,
        batch_items=round(seen.batch_items, 1),
        transaction_items=round(seen.transaction_items, 1),
        cpu_us=cpu_us,
        generator_cpu_us=round(1e6 * spent.generator_cpu_s / max(1, units), 1),
        floor=floor,
    )
