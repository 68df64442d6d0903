"""The figures that a reader wants first, each with what it means."""

from msgspec import Struct

from loadtest.rehearsal.figures import Figures

_EXPLAINED = {
    "packets sent": "Sends that got a final yes.",
    "shares claimed": "Claims that got a final yes, with an amount that never changes.",
    "came too late": "Claims that got a final no: the packet was empty.",
    "sends and claims begun in the busiest second": "What people wanted; their repeats are not counted.",
    "sends and claims accepted in the busiest second": "Those that got their first final yes in it.",
    "requests": "All that were sent, repeats and looks included.",
    "packets and lists looked at": "Requests that only read.",
}


class Figure(Struct, frozen=True):
    """`explained`: "" where its name says all."""

    name: str
    value: str
    explained: str


def choose_key_figures(figures: Figures) -> list[Figure]:
    settled = [it.settled for it in figures.seconds if it.settled is not None]
    most = f"{max(settled):,}" if settled else "not measured"
    unknown = f"{sum(figures.unknown.values()):,}"
    drained = "not in time" if figures.drained_s is None else f"{figures.drained_s:,.1f} s"
    return [
        Figure("people at the peak", f"{figures.people:,}", "All at once, each with a telephone of their own."),
        *(Figure(name, f"{count:,}", _EXPLAINED.get(name, "")) for name, count in figures.counts.items()),
        Figure("settled in the busiest second", most, "Sends and claims that reached the ledger in it."),
        Figure("once unknown", unknown, "Sends and claims that had, for a while, no answer or none that was final."),
        Figure("until the ledger had everything", drained, "From the end of the load."),
    ]
