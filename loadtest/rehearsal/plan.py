"""What a rehearsal's people are told beforehand, in a file: who they are, and which packets are there."""

from pathlib import Path

import msgspec
from msgspec import Struct

# Files in the folder: when the first person came, in seconds since 1970; and one that is there if a process of the
# generator was near the end of what a core can do, so that people waited for their own phones too. One that says why
# not everybody did what he should have.
BEGAN, STRAINED, BROKEN = "began", "strained", "broken"


class Person(Struct, frozen=True):
    owner: str
    token: str


class Plan(Struct, frozen=True, kw_only=True):
    """`people`: how many are there at most at a time. `persons` and `senders`: with their tokens. `packets`: ids of
    those that are there beforehand, one for each turn, the first for that with the number `first_turn` since 1970.
    Records are written into `folder`."""

    scenario: str
    seconds: float
    seed: str
    processes: int
    folder: str
    people: int
    persons: list[Person]
    senders: list[Person]
    packets: list[str]
    first_turn: int


def write_plan(plan: Plan, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(plan))


def read_plan(path: Path) -> Plan:
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def read_began(file: Path) -> float | None:
    """None where nobody has come yet."""
    text = file.read_text() if file.exists() else ""
    return float(text) if text else None
