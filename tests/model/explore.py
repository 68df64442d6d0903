"""Explores every state that a model can reach, breadth first, so that the first counterexample is a shortest one.

Safety: no step says anything that a person may not be told, and no state is wrong. Liveness in its weak form: from
every reachable state a path without faults leads to a state at rest.
"""

import gc
import sys
import time
from array import array
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)

_LOOK_EVERY = 4096
_PROGRESS_S = 10.0


class Step(NamedTuple, Generic[S]):
    """One step in words, and where it leads. `broken` says what it does that must never be done."""

    words: str
    state: S
    fault: bool = False
    broken: str = ""


class Model(Protocol[S]):
    """`violation` is '' where the state is right; at rest nothing is pending, unknown or stranded."""

    @property
    def name(self) -> str: ...
    def start(self) -> S: ...
    def steps(self, state: S) -> Iterator[Step[S]]: ...
    def violation(self, state: S) -> str: ...
    def at_rest(self, state: S) -> bool: ...


@dataclass(frozen=True)
class Report:
    name: str
    states: int
    transitions: int
    seconds: float
    problem: str = ""
    path: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        return self.problem or "holds"

    def in_words(self) -> str:
        return "\n".join(
            [*(f"{number:3}. {words}" for number, words in enumerate(self.path, 1)), f"     {self.problem}"]
        )


def explore(model: Model[Any]) -> Report:
    """All of the model, or the shortest way to what is wrong with it."""
    # Nothing here is garbage before the end, and looking for it among millions of tuples takes a third of the time.
    gc.disable()
    try:
        return _Exploration(model).run()
    finally:
        gc.enable()


class _Exploration(Generic[S]):
    def __init__(self, model: Model[S]) -> None:
        self._model = model
        self._began = self._shown = time.monotonic()
        self._numbers: dict[S, int] = {}
        self._parents = array("i")
        self._transitions = 0
        # The steps that are no faults, from and to, for the way back from the states at rest.
        self._sources, self._targets = array("i"), array("i")

    def run(self) -> Report:
        model, waiting = self._model, deque([self._model.start()])
        self._number(waiting[0], -1)
        source = -1
        while waiting:
            state = waiting.popleft()
            source += 1
            if source % _LOOK_EVERY == 0:
                self._show_progress(len(waiting))
            if problem := model.violation(state):
                return self._report(problem, source)
            for step in model.steps(state):
                self._transitions += 1
                if step.broken:
                    return self._report(step.broken, source, step.words)
                target = self._numbers.get(step.state)
                if target is None:
                    target = self._number(step.state, source)
                    waiting.append(step.state)
                if not step.fault and target != source:
                    self._sources.append(source)
                    self._targets.append(target)
        return self._report(*self._first_stuck())

    def _number(self, state: S, parent: int) -> int:
        number = self._numbers[state] = len(self._numbers)
        self._parents.append(parent)
        return number

    def _first_stuck(self) -> tuple[str, int]:
        """The first state from which no path without faults leads to rest."""
        states = len(self._numbers)
        starts = array("i", bytes(4 * (states + 1)))
        for target in self._targets:
            starts[target + 1] += 1
        for number in range(states):
            starts[number + 1] += starts[number]
        before, filled = array("i", bytes(4 * len(self._sources))), array("i", starts)
        for source, target in zip(self._sources, self._targets, strict=True):
            before[filled[target]] = source
            filled[target] += 1
        reaches = bytearray(states)
        pending = [number for state, number in self._numbers.items() if self._model.at_rest(state)]
        for number in pending:
            reaches[number] = 1
        while pending:
            number = pending.pop()
            for source in before[starts[number] : starts[number + 1]]:
                if not reaches[source]:
                    reaches[source] = 1
                    pending.append(source)
        stuck = reaches.find(0)
        return ("", -1) if stuck < 0 else ("from here no way leads to rest", stuck)

    def _report(self, problem: str, number: int, last: str = "") -> Report:
        path = self._path(number) if problem else []
        seconds = time.monotonic() - self._began
        words = (*path, last) if last else tuple(path)
        return Report(self._model.name, len(self._numbers), self._transitions, seconds, problem, words)

    def _path(self, number: int) -> list[str]:
        numbers = [number]
        while (number := self._parents[number]) >= 0:
            numbers.append(number)
        wanted = set(numbers)
        held = {number: state for state, number in self._numbers.items() if number in wanted}
        states = [held[number] for number in reversed(numbers)]
        return [
            next(step.words for step in self._model.steps(before) if step.state == after)
            for before, after in pairwise(states)
        ]

    def _show_progress(self, waiting: int) -> None:
        now = time.monotonic()
        if now - self._shown > _PROGRESS_S:
            self._shown = now
            states, seconds = len(self._numbers), now - self._began
            sys.stderr.write(f"  {self._model.name}: {states:,} states, {waiting:,} waiting, {seconds:.0f} s\n")
            sys.stderr.flush()
