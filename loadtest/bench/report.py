"""A report as JSON and as a table."""

from collections.abc import Sequence

from msgspec import json, to_builtins

from loadtest.bench.figures import Figures, Report
from loadtest.stack import PARTS

_HEADINGS = (
    *("case", "conn", "per s", "p50 ms", "p99 ms", "batch"),
    *(*PARTS, "sum", "ratio", "gen"),
)
_EXPLAINED = """\
per s: settled a second, from the first request until the ledger has drained (sold_out: answers). batch: items a record.
CPU in us a settled claim or send (sold_out: an answer): by part, in sum, and of the generator, which is not in the sum.
floor: the same by bare loops (docs/bench.md); ratio: how many times the floor the whole path takes."""


def format_json(report: Report) -> str:
    return json.format(json.encode({**to_builtins(report), "holds": report.holds, "faults": report.faults})).decode()


def format_table(report: Report) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    idle = ", ".join(f"{part} {ms:g}" for part, ms in report.idle_cpu_ms_per_s.items())
    rows: list[Sequence[str]] = [_HEADINGS]
    for run in report.runs:
        rows.append(_cells(run))
        rows.append(("  floor", "", "", "", "", "", *_cpu(run.floor.cpu_us), "", ""))
    return "\n".join(
        [
            f"redpacket {report.version}: {report.api_workers} API, {report.ledger_workers} ledger; {machine}",
            f"generator: {report.generator}; idle, ms of CPU a second: {idle}",
            "",
            *_aligned(rows),
            "",
            _EXPLAINED,
            *(f"! {fault}" for fault in report.faults),
            "All that was acknowledged is in the ledger." if report.holds else "THE LEDGER DIFFERS, see above.",
        ]
    )


def _cells(run: Figures) -> Sequence[str]:
    flag = " !" if run.fault else ""
    batch = f"{run.batch_items:.1f}" if run.batch_items else "-"
    figures = (f"{run.connections}", f"{run.per_s:.0f}", f"{run.p50_ms:.1f}", f"{run.p99_ms:.1f}", batch)
    return (f"{run.case}{flag}", *figures, *_cpu(run.cpu_us), f"{run.floor.ratio:.1f}", f"{run.generator_cpu_us:.0f}")


def _cpu(cpu_us: dict[str, float]) -> list[str]:
    return [f"{cpu_us[part]:.0f}" for part in (*PARTS, "sum")]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
