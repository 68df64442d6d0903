"""What the recorder's file says, in the order in which the audit asks for it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtest.record.operations import by_operation
from loadtest.record.words import Request
from redpacket.ids import identity_of


@dataclass
class Told:
    """`identities`: of each top-up and send its identity in the ledger, which is the end of its id."""

    requests: list[Request]
    operations: dict[str, list[Request]] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)

    def said_yes(self, kind: str) -> list[Request]:
        return [it for it in self.requests if it.asked.kind == kind and it.answer.outcome == "ok"]

    def by_packet(self, *kinds: str) -> dict[str, list[Request]]:
        """Requests of these kinds with a final yes, by the packet that they speak of."""
        found: defaultdict[str, list[Request]] = defaultdict(list)
        for request in self.requests:
            if request.asked.kind in kinds and request.answer.outcome == "ok":
                found[request.asked.packet or request.answer.body["id"]].append(request)
        return found


def index_requests(requests: Iterable[Request], id_key: bytes) -> Told:
    told = Told(list(requests))
    told.operations = by_operation(told.requests)
    for request in told.requests:
        asked = request.asked
        if asked.kind in ("topup", "send"):
            told.identities[asked.operation] = identity_of(id_key, asked.owner, asked.key)
    return told
