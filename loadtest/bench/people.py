"""Who takes part, with their tokens; and requests as bytes."""

from collections.abc import Sequence

from msgspec import Struct

from redpacket.ids import shard_of
from redpacket.settings import Settings
from redpacket.stack.tokens import issue_token

# Together fewer than a worker remembers tokens of (service/auth.py); and a packet has a share for every claimer, and
# one more.
CLAIMERS, SENDERS = 9_999, 1_024


class Person(Struct, frozen=True):
    owner: str
    token: str


class People(Struct, frozen=True):
    """`senders`: as many on every shard, one of each shard after the other."""

    operator: Person
    senders: Sequence[Person]
    claimers: Sequence[Person]


def make_people(settings: Settings) -> People:
    """Signs a token for each, some 0.2 ms. Raises StackError."""

    def person(owner: str, scope: str = "") -> Person:
        return Person(owner, issue_token(settings, owner, scope))

    senders = _spread_owners(settings.shards, SENDERS)
    return People(
        person("bench-operator", "operator"),
        [person(owner) for owner in senders],
        [person(f"bench-claimer-{number}") for number in range(CLAIMERS)],
    )


def request(method: str, path: str, person: Person, body: bytes = b"{}", key: str = "") -> bytes:
    """As a client of HTTP/1.1 sends it. A GET has no body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {person.token}\r\n"
    if key:
        head += f"Idempotency-Key: {key}\r\n"
    if method == "GET":
        return f"{head}\r\n".encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _spread_owners(shards: int, count: int) -> list[str]:
    by_shard: list[list[str]] = [[] for _ in range(shards)]
    number, wanted = 0, -(-count // shards)
    while any(len(owners) < wanted for owners in by_shard):
        owner = f"bench-sender-{number}"
        owners = by_shard[shard_of(owner, shards)]
        if len(owners) < wanted:
            owners.append(owner)
        number += 1
    return [owners[turn] for turn in range(wanted) for owners in by_shard][:count]
