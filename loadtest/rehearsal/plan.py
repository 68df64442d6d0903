"""What a rehearsal's people are told beforehand: who they are, with their tokens, and which packets are there.

It goes from process to process in a file without a name, so that nothing of it is left however they end: folders of
rehearsals are shown to others.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def written_plan(plan: Plan) -> Iterator[int]:
    """The descriptor of the file, to be passed on to the process that reads it."""
    with tempfile.TemporaryFile() as file:
        file.write(msgspec.json.encode(plan))
        file.seek(0)
        yield file.fileno()


def read_plan(descriptor: int) -> Plan:
    """Once: it is closed behind it."""
    with open(descriptor, "rb") as file:
        return msgspec.json.decode(file.read(), type=Plan)


def read_began(file: Path) -> float | None:
    """None where nobody has come yet."""
    text = file.read_text() if file.exists() else ""
    return float(text) if text else None
