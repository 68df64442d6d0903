"""Which charts a page has."""

from collections.abc import Callable

from loadtest.rehearsal.figures import Figures, Second
from loadtest.rehearsal.page.draw import Chart, Line


def choose_charts(figures: Figures) -> list[Chart]:
    at = {it.at_s: it for it in figures.seconds}

    def line(name: str, value: Callable[[Second], float | None]) -> Line:
        # A second that is not there is a gap like one without a value.
        return Line(name, [value(at[s]) if s in at else None for s in range(max(at, default=-1) + 1)])

    return [
        Chart(
            title="Offered, accepted and settled a second",
            explained="Offered: sends and claims that people began. Accepted: got their first final yes. Settled: "
            "written to the ledger, which may follow a little later. Where accepted is lower than offered, people were "
            "refused, or came again.",
            unit="a second",
            lines=[
                line("offered", lambda it: it.offered),
                line("accepted", lambda it: it.accepted),
                line("settled", lambda it: it.settled),
            ],
            keep="mean",
        ),
        Chart(
            title="Turned away and broken a second",
            explained="Turned away: requests told to come again later (429 or 503), because of load or because a part "
            "was away. Broken: requests without an answer. People repeat both until they know.",
            unit="a second",
            lines=[
                line("turned away", lambda it: it.turned_away),
                line("broken", lambda it: it.broken),
            ],
            keep="mean",
        ),
        Chart(
            title="Latency of claims, in ms",
            explained="How long one answer to a claim took: half of them were faster than p50, 99 of 100 faster than "
            "p99. The scale is logarithmic. A gap: no claim was answered in that second.",
            unit="ms",
            lines=[line("p50", lambda it: it.p50_ms), line("p99", lambda it: it.p99_ms)],
            keep="extremes",
            log=True,
        ),
        Chart(
            title="Records by which the ledger lags",
            explained="Records of the log that the ledger did not have yet. One record holds many sends and claims; "
            "people do not wait for it.",
            unit="records",
            lines=[line("lag", lambda it: it.lag_records)],
            keep="extremes",
        ),
        Chart(
            title="People",
            explained="How many were to take part at once, as the scenario has it.",
            unit="people",
            lines=[line("people", lambda it: it.people)],
            keep="mean",
        ),
    ]
