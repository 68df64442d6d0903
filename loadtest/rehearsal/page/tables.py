"""The tables of a page, as text to be shown: numbers have their commas and as many digits as mean something."""

from collections.abc import Sequence

from msgspec import Struct

from loadtest.rehearsal.figures import Cpu, Figures, Latency

Rows = list[Sequence[str]]


class Table(Struct, frozen=True):
    """`headings`: none where the first cell of a row says what the other is. `words`: cells are words, not numbers, and
    may break."""

    caption: str
    headings: Sequence[str]
    rows: Rows
    words: bool = False


def count_table(caption: str, heading: str, counts: dict[str, int]) -> Table:
    return Table(caption, (heading, "how many"), [(what, f"{count:,}") for what, count in counts.items()])


def latency_table(latencies: Sequence[Latency]) -> Table:
    rows: Rows = [
        (it.what, f"{it.count:,}", *map(_ms, (it.p50_ms, it.p90_ms, it.p99_ms, it.p999_ms, it.max_ms)))
        for it in latencies
    ]
    return Table("Latency in ms", ("of", "how many", "p50", "p90", "p99", "p99.9", "slowest"), rows)


def cpu_table(cpu: Sequence[Cpu]) -> Table:
    """The people stand below the sum: they are the load, not the system."""
    system = [it for it in cpu if it.part != "people"]
    summed = Cpu("sum", sum(it.seconds for it in system), sum(it.us_per_claim for it in system))
    rows: Rows = [
        (it.part, f"{it.seconds:,.1f}", f"{it.us_per_claim:,.0f}")
        for it in (*system, summed, *(it for it in cpu if it.part == "people"))
    ]
    return Table("CPU by part", ("part", "seconds", "µs each"), rows)


def conditions_table(figures: Figures) -> Table:
    rows: Rows = [
        ("began", figures.began_at),
        ("host", figures.host),
        ("version", figures.version),
        ("API workers", _workers(figures.api)),
        ("ledger workers", _workers(figures.ledger)),
        ("people", f"{figures.people:,}, processes that play them: {figures.processes:,}"),
        ("length", f"{len(figures.seconds):,} seconds"),
        *figures.machine.items(),
    ]
    return Table("Conditions", (), rows, words=True)


def _ms(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _workers(count: int | None) -> str:
    return "not known: another's host" if count is None else f"{count:,}"
