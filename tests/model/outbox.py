"""What travels from a reservation to the ledger, in the words that the models share.

An item is a name and a number: who gets which share, or which key was sent with which terms.
"""

from typing import NamedTuple, TypeVar

T = TypeVar("T", bound=tuple[object, ...])

Item = tuple[str, int]


class Entry(NamedTuple):
    """A batch in the outbox of the present epoch."""

    number: int
    items: tuple[Item, ...]


class Work(NamedTuple):
    """What a worker has in hand: an entry under its epoch, and whether Kafka has acknowledged its record."""

    epoch: int
    entry: int
    items: tuple[Item, ...]
    acknowledged: bool = False


class Record(NamedTuple):
    """A batch of `items` in Kafka, or under way to it; a Fence has none."""

    epoch: int
    items: tuple[Item, ...] = ()


def with_one(things: tuple[T, ...], thing: T) -> tuple[T, ...]:
    """In order, since workers are alike: only what they have in hand counts."""
    return tuple(sorted((*things, thing)))


def without_one(things: tuple[T, ...], thing: T) -> tuple[T, ...]:
    place = things.index(thing)
    return things[:place] + things[place + 1 :]


def ranks(offsets: set[int]) -> dict[int, int]:
    """Offsets as small as their order allows: states that differ in nothing else are one. -1 stays, for none."""
    rank = {offset: place for place, offset in enumerate(sorted(offsets - {-1}))}
    rank[-1] = -1
    return rank
