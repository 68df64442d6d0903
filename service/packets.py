"""To send a packet, and to see one."""

import asyncio

from msgspec import UNSET, UnsetType

from redpacket.commit.amounts import Amounts
from redpacket.commit.path import CommitPath
from redpacket.events import PacketTerms
from redpacket.ids import identity_of, shard_of
from redpacket.settings import Settings
from redpacket.shard import reserve
from redpacket.shard.read import HeldPacket, PacketHead
from redpacket.split import SplitError, SplitParameters, check_parameters
from service.outcomes import count, key_reused, refusal
from service.problems import Code, ProblemError
from service.reading import PacketReader, packet_id
from service.show import free_shares, show_packet
from service.texts import shows_something
from service.words import Packet, PacketRequest, Pending


class Packets:
    def __init__(
        self, settings: Settings, id_key: bytes, path: CommitPath, amounts: Amounts, reader: PacketReader
    ) -> None:
        self._settings = settings
        self._id_key = id_key
        self._path = path
        self._amounts = amounts
        self._reader = reader

    async def send_packet(self, owner: str, key: str, asked: PacketRequest) -> tuple[int, Packet | Pending]:
        """201 with the new packet, 200 with the one of this key as it is now, 202 where that is not known yet.

        Raises ProblemError, and as CommitPath.reserve_operation and PacketReader.
        """
        deadline_s = self._deadline()
        terms = packet_terms(owner, asked, self._settings.currency)
        shard, identity = shard_of(owner, self._settings.shards), identity_of(self._id_key, owner, key)
        answered = await self._path.reserve_operation(shard, identity, owner, asked.total, terms)
        match answered.result:
            case reserve.OperationFound() as found if found.terms != terms:
                raise key_reused()
            case reserve.OperationFound(id, at_ms) if answered.fresh:
                count("packet", "created")
                return 201, await self._see_new(id, at_ms, terms)
            case reserve.OperationFound(id):
                count("packet", "repeated")
                return await self._see_by(deadline_s, id)
            case reserve.Refused() as refused:
                raise refusal(refused)
            case reserve.Pending(id=id):
                count("packet", "pending")
                return 202, Pending(id=id)
        raise AssertionError(f"{answered.result} is no outcome of an operation")

    async def close_packet(self, owner: str, id: str) -> tuple[int, Packet | Pending]:
        """200 with the packet once what is left of it has gone back, also where it was sold out or over before; 202
        while that is not final.

        Raises ProblemError, and as CommitPath.close_packet and PacketReader.
        """
        deadline_s, packet = self._deadline(), packet_id(id, self._settings.shards)
        async with asyncio.timeout_at(deadline_s):
            held = await self._reader.packet(packet)
        if held.head.terms.owner != owner:
            raise ProblemError(Code.NOT_ALLOWED, "Only its owner may close a packet.")
        answered = await self._path.close_packet(packet, "closed")
        match answered.result:
            case reserve.PacketOver():
                count("close", "created" if answered.fresh else "repeated")
                return await self._see_by(deadline_s, id)
            case reserve.Refused() as refused:
                raise refusal(refused)
            case _:
                count("close", "pending")
                return 202, Pending(id=id)

    async def see_packet(self, id: str) -> tuple[int, Packet | Pending]:
        """200 with the packet as it is now, 202 while its send is not confirmed. Raises as PacketReader, and
        TimeoutError."""
        return await self._see_by(self._deadline(), id)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._settings.request_timeout_ms / 1000

    async def _see_by(self, deadline_s: float, id: str) -> tuple[int, Packet | Pending]:
        async with asyncio.timeout_at(deadline_s):
            held = await self._reader.packet(packet_id(id, self._settings.shards))
        if held.head.send_entry:
            return 202, Pending(id=id)
        return 200, await self._see(id, held)

    async def _see_new(self, id: str, at_ms: int, terms: PacketTerms) -> Packet:
        """The packet as it was made: nothing is taken."""
        expires_at_ms = at_ms + terms.expires_in_s * 1000
        head = PacketHead(at_ms, at_ms, terms, 0, expires_at_ms, handed_out=0, taken=0, state="", holes=())
        return await self._see(id, HeldPacket(head, ()))

    async def _see(self, id: str, held: HeldPacket) -> Packet:
        free, split = free_shares(id, held), held.head.terms.split
        claimed_minor = await self._amounts.claimed_minor(id, split, held.head.handed_out, free)
        return show_packet(id, held, claimed_minor, self._amounts.seed(id))


def packet_terms(owner: str, asked: PacketRequest, currency: str) -> PacketTerms:
    """What was asked for, in full. Raises ProblemError `invalid_request` where no split exists, or the greeting shows
    nothing."""
    check_currency(asked.currency, currency)
    if asked.greeting and not shows_something(asked.greeting):
        raise ProblemError(Code.INVALID_REQUEST, "greeting shows nothing: it needs a visible character, or is empty.")
    cap = asked.total if asked.cap is UNSET else asked.cap
    split = SplitParameters(asked.kind, asked.total, asked.shares, cap, asked.min)
    try:
        check_parameters(split)
    except SplitError as error:
        # The split's names of the fields, in the API's spelling.
        raise ProblemError(Code.INVALID_REQUEST, str(error).replace("_minor", "")) from None
    return PacketTerms(owner, currency, split, asked.greeting, asked.expires_in_s)


def check_currency(asked: str | UnsetType, currency: str) -> None:
    if asked not in (UNSET, currency):
        raise ProblemError(Code.INVALID_REQUEST, f"currency must be {currency}, not {asked}: it may be left out.")
