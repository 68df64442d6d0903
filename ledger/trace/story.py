"""What is known of an operation, as plain data: gathered by gather.py, told by words.py."""

from msgspec import Struct

from redpacket.events import Event


class Side(Struct, frozen=True):
    """One account of a movement: its version, and the balance that the movement made."""

    owner: str
    kind: str
    version: int
    balance_minor: int


class Posting(Struct, frozen=True):
    """One movement in the ledger; `at` is RFC 3339, by Redis at the reservation."""

    kind: str
    operation: str
    at: str
    amount_minor: int
    debit: Side
    credit: Side
    request: str


class LogPlace(Struct, frozen=True):
    """An item of a record in the log; `entry` is that of the outbox, `event` None where the item is not in it."""

    shard: int
    kafka_offset: int
    item: int
    epoch: int
    entry: int
    event: Event | None


class Letter(Struct, frozen=True):
    """What was set aside; `decision` is '' while it waits."""

    name: str
    reason: str
    event: str
    decision: str


class Step(Struct, frozen=True):
    """One movement: `title` names it, `redis` says in words what Redis holds of it. What is not there yet is None."""

    title: str
    redis: str
    log: LogPlace | None
    ledger: Posting | None


class Story(Struct, frozen=True):
    """`untold`: claims that were left out. `more`: a request has asked for more than these steps."""

    asked: str
    steps: tuple[Step, ...]
    letters: tuple[Letter, ...] = ()
    untold: int = 0
    more: bool = False
