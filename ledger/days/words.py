"""Days, for people and for programs."""

import msgspec

from ledger.days.read import Day

HEADINGS = ("DAY", "MIB", "SEALED", "DETACHED")
_TIME = "%Y-%m-%d %H:%M:%S"


def format_table(days: list[Day]) -> str:
    rows = [HEADINGS, *(_cells(day) for day in days)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _cells(day: Day) -> tuple[str, ...]:
    times = (format(at, _TIME) if at else "-" for at in (day.sealed_at, day.detached_at))
    return (str(day.day), f"{day.bytes / 2**20:,.1f}", *times)


def format_json(days: list[Day]) -> str:
    listed = [
        {"day": it.day, "bytes": it.bytes, "sealed_at": it.sealed_at, "detached_at": it.detached_at} for it in days
    ]
    return msgspec.json.format(msgspec.json.encode(listed)).decode()
