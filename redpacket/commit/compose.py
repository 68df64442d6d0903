"""From an outbox entry to its record: a pure function, so that any two who publish one entry publish the same."""

from redpacket.commit.amounts import Amounts
from redpacket.events import Event, PacketClosed, PacketOpened, PacketTerms, ShareClaimed, Terms, WalletToppedUp
from redpacket.log.record import Batch
from redpacket.shard.outbox import Entry, ReservedClaim, ReservedClose
from redpacket.split import commitment


async def compose_record(amounts: Amounts, epoch: int, number: int, entry: Entry) -> Batch:
    """The record of entry `number`, under the epoch of its reservation."""
    by_packet = {packet: await amounts.of_packet(packet, split, patient=True) for packet, split in entry.packets}
    events: list[Event] = []
    for item in entry.items:
        match item:
            case ReservedClaim(packet, owner, share, sequence, request):
                amount_minor = by_packet[packet][share - 1]
                events.append(ShareClaimed(packet, owner, share, amount_minor, sequence, request))
            case ReservedClose(packet, why, handed_out, holes, request):
                left = by_packet[packet]
                left_minor = sum(left[handed_out:]) + sum(left[hole - 1] for hole in holes)
                events.append(PacketClosed(packet, why, left_minor, request))
            case _:
                events.append(_operation_event(amounts, item.id, item.terms, item.request))
    return Batch(epoch, number, entry.at_ms, tuple(events))


def _operation_event(amounts: Amounts, id: str, terms: Terms, request: str) -> Event:
    match terms:
        case PacketTerms():
            return PacketOpened(id, terms, commitment(amounts.seed(id), terms.split), request)
        case _:
            return WalletToppedUp(id, terms, request)
