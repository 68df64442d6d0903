"""The floor of a run: what bare loops take for the same requests, calls, records and rows, added up by part."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from loadtest.bench.cases import Sender
from loadtest.bench.floors.fcalls import measure_claim_calls, measure_send_calls
from loadtest.bench.floors.http import measure_http
from loadtest.bench.floors.records import measure_records
from loadtest.bench.floors.rows import measure_rows
from loadtest.bench.people import Person
from loadtest.ledger import Ledger, Written
from loadtest.stack import Stack
from redpacket.ids import parse_id


class Seen(Struct, frozen=True):
    """What a run has left: how much was settled, between which two looks at the ledger, of which packets."""

    settled: int
    before: Written
    after: Written
    packets: Sequence[str]

    @property
    def batch_items(self) -> float:
        """Settled items in a record; 0 where nothing was settled."""
        return self.settled / max(1, self.after.records - self.before.records)

    @property
    def transaction_items(self) -> float:
        return self.settled / max(1, self.after.transactions - self.before.transactions)


async def measure_all(
    stack: Stack,
    ledger: Ledger,
    sender: Sender,
    senders: Sequence[Person],
    requests: Path,
    connections: int,
    seen: Seen,
) -> dict[str, float]:
    """Seconds of CPU a claim, or a send where no packets were claimed from, by part. `senders`: one of each shard at
    least, in the order of their shards."""
    shards = sorted({known.shard for id in seen.packets if (known := parse_id(id))})
    batch_items = max(1, round(seen.batch_items))
    floors = (
        await measure_http(requests, connections),
        await measure_claim_calls(stack, sender, [senders[shard] for shard in shards], batch_items)
        if shards
        else await measure_send_calls(stack, senders[: stack.settings.shards], batch_items),
        await measure_records(stack, ledger, seen.before.ends, seen.after.ends),
        await measure_rows(stack, ledger, "claim" if shards else "packet", max(1, round(seen.transaction_items))),
    )
    parts = {part for floor in floors for part in floor}
    return {part: sum(floor.get(part, 0.0) for floor in floors) for part in parts}
