"""A line of progress every few seconds, from the record as it grows and from the last look."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from loadtest.rehearsal.plan import Plan
from loadtest.rehearsal.scenarios import SCENARIOS, people_at
from loadtest.rehearsal.watch import Look

_EVERY_S = 5.0


class RecordTail:
    """Counts the lines that are new since it last looked. Decodes nothing: our own words are looked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def count_new(self) -> Counter[str]:
        """Of `sent`, `final`, `unknown`."""
        new: Counter[str] = Counter()
        for file in self._folder.glob("requests-*.jsonl"):
            with file.open("rb") as lines:
                lines.seek(self._read.get(file, 0))
                for line in lines:
                    if line.endswith(b"\n"):
                        self._read[file] = self._read.get(file, 0) + len(line)
                        new[_kind_of(line)] += 1
        return new


def _kind_of(line: bytes) -> str:
    if line.startswith(b'{"type":"started"'):
        return "sent"
    return "unknown" if b'"outcome":"unknown"' in line else "final"


@asynccontextmanager
async def telling_progress(
    plan: Plan, began_s: float, looks: Sequence[Look], say: Callable[[str], None]
) -> AsyncIterator[None]:
    """While people come and go."""
    telling = asyncio.create_task(_tell_again(plan, began_s, looks, say))
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell_again(plan: Plan, began_s: float, looks: Sequence[Look], say: Callable[[str], None]) -> None:
    tail = RecordTail(Path(plan.folder))
    before, told_s = looks[-1] if looks else None, time.time()
    tail.count_new()
    while True:
        await asyncio.sleep(_EVERY_S)
        new, now_s, last = tail.count_new(), time.time(), looks[-1] if looks else None
        say(_line(plan, now_s - began_s, new, now_s - told_s, before, last))
        before, told_s = last, now_s


def _line(plan: Plan, at_s: float, new: Counter[str], lasted_s: float, before: Look | None, last: Look | None) -> str:
    people = people_at(SCENARIOS[plan.scenario], plan.people, at_s, plan.seconds) if at_s < plan.seconds else 0
    rates = {name: new[name] / lasted_s for name in ("sent", "final", "unknown")}
    line = f"{at_s:4.0f} of {plan.seconds:.0f} s  {people:5} people"
    line += f"  {rates['sent']:6.0f} requests/s  {rates['final']:6.0f} answered  {rates['unknown']:5.0f} not known"
    if before is not None and last is not None and before.settled is not None and last.settled is not None:
        line += f"  {(last.settled - before.settled) / lasted_s:6.0f} settled"
    lag = last.lag_records if last is not None else None
    return f"{line}  lag {'?' if lag is None else lag}"
