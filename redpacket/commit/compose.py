"""From an outbox entry to its record: a pure function, so that any two who publish one entry publish the same."""

from redpacket.commit.amounts import Amounts
from redpacket.events import Event, PacketOpened, PacketTerms, ShareClaimed, Terms, WalletToppedUp
from redpacket.log.record import Batch
from redpacket.shard.reserve import Entry, ReservedClaim
from redpacket.split import commitment


async def compose_record(amounts: Amounts, epoch: int, number: int, entry: Entry) -> Batch:
    """The record of entry `number`, under the epoch of its reservation."""
    by_packet = {packet: await amounts.of_packet(packet, split) for packet, split in entry.packets}
    events: list[Event] = []
    for item in entry.items:
        if isinstance(item, ReservedClaim):
            amount_minor = by_packet[item.packet][item.share - 1]
            events.append(ShareClaimed(item.packet, item.owner, item.share, amount_minor, item.sequence))
        else:
            events.append(_operation_event(amounts, item.id, item.terms))
    return Batch(epoch, number, entry.at_ms, tuple(events))


def _operation_event(amounts: Amounts, id: str, terms: Terms) -> Event:
    match terms:
        case PacketTerms():
            return PacketOpened(id, terms, commitment(amounts.seed(id), terms.split))
        case _:
            return WalletToppedUp(id, terms)
