"""The stack's processes, for people and for programs."""

import msgspec

from redpacket.stack.state import ChildState, StackState

HEADINGS = ("NAME", "PID", "STATE", "RESTARTS", "PORT")


def format_table(state: StackState) -> str:
    rows = [HEADINGS, *(_cells(child) for child in state.children)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def format_json(state: StackState) -> str:
    return msgspec.json.format(msgspec.json.encode(state.children)).decode()


def _cells(child: ChildState) -> tuple[str, ...]:
    return tuple("-" if cell is None else str(cell) for cell in msgspec.structs.astuple(child))
