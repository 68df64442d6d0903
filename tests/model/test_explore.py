"""The explorer itself: it finds what is wrong, by the shortest way, and where no way leads to rest."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model.explore import Step, explore


@dataclass(frozen=True)
class Counter:
    """Counts to `last` by ones and twos and may fall into `trap`, by a fault."""

    name: str = "counter"
    last: int = 6
    wrong: int = 99
    broken_at: int = 99
    trap: bool = False
    rest: frozenset[int] = field(default_factory=lambda: frozenset({6}))

    def start(self) -> int:
        return 0

    def steps(self, state: int) -> Iterator[Step[int]]:
        for more in (1, 2):
            if 0 <= state <= self.last - more:
                yield Step(f"add {more}", state + more, broken="too far" if state + more == self.broken_at else "")
        if self.trap:
            yield Step("fall", -1, True)

    def violation(self, state: int) -> str:
        return "wrong" if state == self.wrong else ""

    def at_rest(self, state: int) -> bool:
        return state in self.rest


def test_all_of_a_model_that_holds_is_seen() -> None:
    report = explore(Counter())
    assert (report.states, report.transitions, report.verdict) == (7, 11, "holds")


def test_a_wrong_state_is_reached_by_the_shortest_way() -> None:
    assert explore(Counter(wrong=4)).path == ("add 2", "add 2")


def test_a_step_that_must_never_be_done_is_the_last_of_its_way() -> None:
    report = explore(Counter(broken_at=5))
    assert (report.problem, report.path[-1], len(report.path)) == ("too far", "add 2", 3)


def test_a_state_from_which_no_way_leads_to_rest_is_found() -> None:
    report = explore(Counter(trap=True))
    assert (report.problem, report.path) == ("from here no way leads to rest", ("fall",))


def test_a_way_to_rest_that_needs_a_fault_is_none() -> None:
    assert explore(Counter(trap=True, rest=frozenset({-1}))).problem == "from here no way leads to rest"
