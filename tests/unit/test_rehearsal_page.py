"""What a rehearsal's page says, without a browser."""

import re
from html.parser import HTMLParser

import msgspec
import pytest

from loadtest.rehearsal.figures import Figures, Mark, Objective
from loadtest.rehearsal.page.axis import counting_axis, log_axis, time_axis
from loadtest.rehearsal.page.draw import HEIGHT, Chart, Line, draw
from loadtest.rehearsal.page.render import render_page
from loadtest.rehearsal.page.thin import POINTS_MAX, Keep, Values, thin
from loadtest.rehearsal.page.verdict import give_verdict
from tests.rehearsed import made_up

MADE_UP = made_up()


class _Reader(HTMLParser):
    """A page's words, and what it refers to."""

    _REFERRING = ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "background")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.referred: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.referred += [str(value) for name, value in attrs if name in self._REFERRING]

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def _changed(**fields: object) -> Figures:
    return msgspec.structs.replace(MADE_UP, **fields)


def _chart(values: Values, keep: Keep = "mean", *, log: bool = False) -> Chart:
    return Chart(title="Some", explained="", unit="ms", lines=[Line("one", values)], keep=keep, log=log)


def test_every_word_of_the_figures_is_escaped() -> None:
    evil = "<script>alert('x')</script><b a=\"b\">&amp;"
    figures = _changed(
        name=evil,
        what=evil,
        version=evil,
        machine={evil: evil},
        host=evil,
        began_at=evil,
        marks=[Mark(1, evil)],
        counts={evil: 1},
        latencies=[msgspec.structs.replace(MADE_UP.latencies[0], what=evil)],
        refusals={evil: 1},
        unknown={evil: 1},
        cpu=[msgspec.structs.replace(MADE_UP.cpu[0], part=evil)],
        objectives=[Objective(evil, evil, evil, met=False)],
        violations=[evil] * 30,
        audit=evil,
    )
    page = render_page(figures)
    assert "<script" not in page
    assert "<b " not in page
    told = _Reader(page)
    assert told.text.count(evil) > len(figures.violations) + 12
    assert "script" not in told.tags


def test_every_objective_violation_reason_and_outcome_stands_there() -> None:
    violations = [f"the claim number {number} is not in the ledger" for number in range(45)]
    text = _Reader(render_page(_changed(violations=violations))).text
    for it in MADE_UP.objectives:
        assert f"{it.name} {it.wanted} {it.measured} {'met' if it.met else 'missed'}" in text
    for words in [*violations, *(" ".join(line.split()) for line in MADE_UP.audit.splitlines())]:
        assert words in text
    for what, count in [*MADE_UP.refusals.items(), *MADE_UP.unknown.items(), *MADE_UP.counts.items()]:
        assert f"{what} {count:,}" in text
    for latency in MADE_UP.latencies:
        assert f"{latency.what} {latency.count:,} {latency.p50_ms:,.1f}" in text


@pytest.mark.parametrize(
    ("figures", "words", "explained"),
    [
        (_changed(objectives=[Objective("drained", "60 s", "1 s", met=True)]), "Held", "Every objective was met"),
        (MADE_UP, "Objectives missed", "1 of 4: p99 of one answer to a claim. Nothing was lost or doubled"),
        (_changed(violations=["x"]), "Something was lost, doubled or untrue", "one thing that is not"),
        (_changed(violations=["x", "y"]), "Something was lost, doubled or untrue", "2 things that are not"),
        (_changed(audit_status=1), "The audit does not hold", "could not all be checked"),
        (_changed(seconds=[], objectives=[]), "Nothing was shown", "No send and no claim was accepted"),
    ],
)
def test_the_verdict_is_said_in_words_first(figures: Figures, words: str, explained: str) -> None:
    verdict = give_verdict(figures)
    assert verdict.words == words
    assert explained in verdict.explained
    assert {"held": 0, "broken": 1, "missed": 3}[verdict.kind] == figures.exit_status
    text = _Reader(render_page(figures)).text
    assert text.index(verdict.explained) < text.index("What was wanted" if figures.objectives else "None was set")


def test_a_page_refers_to_nothing() -> None:
    page = render_page(MADE_UP)
    told = _Reader(page)
    assert told.referred == []
    assert not set(told.tags) & {"script", "link", "img", "iframe", "object", "embed", "image", "use", "base"}
    assert not re.search(r"https?://|url\(|@import|//[a-z]", page)


def test_the_address_of_a_host_is_only_text() -> None:
    told = _Reader(render_page(_changed(host="https://packets.example", api=None, ledger=None, cpu=[])))
    assert "https://packets.example" in told.text
    assert told.referred == []
    assert "Not measured: the processes are those of another's host." in told.text


def test_the_people_are_not_in_the_sum_of_the_cpu() -> None:
    system = [it for it in MADE_UP.cpu if it.part != "people"]
    seconds, us = sum(it.seconds for it in system), sum(it.us_per_claim for it in system)
    assert f"sum {seconds:,.1f} {us:,.0f} people 38.0 3,050" in _Reader(render_page(MADE_UP)).text


def test_a_rehearsal_without_a_second_has_a_page() -> None:
    nothing = _changed(
        seconds=[], marks=[], counts={}, latencies=[], refusals={}, unknown={}, cpu=[], objectives=[], drained_s=None
    )
    text = _Reader(render_page(nothing)).text
    assert text.count("Not measured.") == 5 + 1  # the charts, and the CPU
    assert "until the ledger had everything not in time" in text


def test_a_page_of_two_hours_is_small() -> None:
    assert len(render_page(made_up(seconds=7200)).encode()) < 100_000


def test_a_value_that_is_missing_is_a_gap() -> None:
    (trace,) = draw(_chart([1, 2, None, 4, 5]), []).traces
    assert [len(run.split("L")) for run in trace.path.split("M")[1:]] == [2, 2]


def test_a_second_that_is_missing_is_a_gap() -> None:
    seconds = [it for it in MADE_UP.seconds if it.at_s != 10]
    whole, with_gap = (render_page(figures).count("M") for figures in (MADE_UP, _changed(seconds=seconds)))
    assert with_gap - whole == 9  # in each line of each chart


def test_a_value_between_gaps_is_a_dot() -> None:
    (trace,) = draw(_chart([None, 3, None]), []).traces
    assert trace.path == ""
    assert trace.dots.count("M") == 1


def test_a_line_that_was_never_measured_is_said_not_to_be() -> None:
    drawing = draw(_chart([None, None]), [])
    assert not drawing.is_measured
    assert "one: not measured" in drawing.told


def test_a_line_that_stays_at_nothing_is_said_to() -> None:
    calm = [msgspec.structs.replace(it, turned_away=0, broken=0) for it in MADE_UP.seconds]
    assert "Never above 0." in _Reader(render_page(_changed(seconds=calm))).text
    unbroken = [msgspec.structs.replace(it, broken=0) for it in MADE_UP.seconds]
    assert "broken never above 0" in _Reader(render_page(_changed(seconds=unbroken))).text
    assert "Never above 0." not in _Reader(render_page(MADE_UP)).text


def test_extremes_keep_the_peak_and_its_second() -> None:
    values = [5.0] * 7200
    values[4321], values[1234] = 900.0, 0.5
    points = list(thin(values, "extremes"))
    assert len(points) <= POINTS_MAX
    assert (4321, 900.0) in points
    assert (1234, 0.5) in points
    assert [at for at, _ in points] == sorted(at for at, _ in points)


def test_means_keep_the_sum() -> None:
    values = [float(at % 7) for at in range(7200)]
    points = list(thin(values, "mean"))
    assert len(points) == POINTS_MAX
    assert sum(value * 12 for _, value in points if value is not None) == pytest.approx(sum(values))


@pytest.mark.parametrize("keep", ["mean", "extremes"])
def test_a_gap_outlives_thinning(keep: Keep) -> None:
    values: list[float | None] = [1.0] * 3000 + [None] * 300 + [1.0] * 3900
    runs = "".join("." if value is None else "x" for _, value in thin(values, keep))
    assert re.fullmatch(r"x+\.+x+", runs)


def test_the_peak_is_told_in_words_as_it_was_and_not_as_it_is_drawn() -> None:
    values = [1.0] * 7200
    values[3600] = 1200.0
    drawing = draw(_chart(values), [])
    assert drawing.told == "Some, over time. one: at most 1,200 ms, in second 3,600."
    assert drawing.thinned == "Each 12 seconds are drawn as the mean of them."


def test_a_greater_value_is_drawn_higher_and_none_outside() -> None:
    (trace,) = draw(_chart([0, 10, 5]), []).traces
    heights = [float(point.split()[1]) for point in trace.path.strip("M").split("L")]
    assert heights == [HEIGHT, 0, HEIGHT / 2]


def test_ticks_are_at_round_numbers() -> None:
    assert [tick.label for tick in counting_axis(472).ticks] == ["0", "100", "200", "300", "400", "500"]
    assert [tick.label for tick in counting_axis(0).ticks] == ["0", "1"]
    assert [tick.label for tick in log_axis(7, 812).ticks] == ["1", "10", "100", "1,000"]
    assert [tick.label for tick in log_axis(10, 10).ticks] == ["10", "20", "50", "100"]
    axis, unit = time_axis(60)
    assert ([tick.label for tick in axis.ticks], unit) == (["0", "10", "20", "30", "40", "50", "60"], "seconds")
    axis, unit = time_axis(7200)
    assert ([tick.label for tick in axis.ticks], unit) == (["0", "20", "40", "60", "80", "100", "120"], "minutes")


def test_labels_of_marks_that_are_close_are_in_rows() -> None:
    marks = [Mark(30, "midnight"), Mark(31, "redis killed"), Mark(59, "an API worker killed"), Mark(2, "begun")]
    labels = draw(_chart([1.0] * 60), marks).labels
    assert [(it.what, it.leftward, it.row) for it in labels] == [
        ("begun", False, 0),
        ("midnight", False, 0),
        ("redis killed", False, 1),
        ("an API worker killed", True, 2),
    ]
