"""The claims of a packet, page by page, and the caller's own."""

import asyncio
from collections import OrderedDict

from redpacket import operations
from redpacket.books.database import Books, BooksUnavailableError
from redpacket.commit.amounts import Amounts
from redpacket.ids import OperationId
from redpacket.settings import Settings
from redpacket.shard.read import HeldPacket
from service.problems import Code, ProblemError
from service.reading import PacketReader, packet_id
from service.show import FINAL, state_of
from service.words import Claim, ClaimList, ListedClaim, Pending, time_of

# Claims in one call, where all of a packet's are looked through.
_PAGE = 1_000
# Packets whose best claim is remembered: once they are final it never changes.
_BEST_KEPT = 10_000


class ClaimLists:
    """Both methods raise ProblemError, TimeoutError, and as PacketReader."""

    def __init__(self, settings: Settings, books: Books, amounts: Amounts, reader: PacketReader) -> None:
        self._shards = settings.shards
        self._timeout_s = settings.request_timeout_ms / 1000
        self._books = books
        self._amounts = amounts
        self._reader = reader
        self._best: OrderedDict[str, int] = OrderedDict()

    async def list_claims(self, packet: str, after: int, limit: int) -> tuple[int, ClaimList | Pending]:
        """200 with at most `limit` confirmed claims whose sequence is above `after`; 202 while the packet is pending.

        `settled` is false where Postgres does not have a claim, or cannot be asked: what is said to be settled is.
        """
        id = packet_id(packet, self._shards)
        async with asyncio.timeout(self._timeout_s):
            held = await self._reader.packet(id)
            if held.head.send_entry:
                return 202, Pending(id=packet)
            page = await self._reader.claims(id, after, limit)
            settled = await self._settled(id, page.claims)
            best = await self._best_share(id, held)
            amounts = await self._amounts.of_packet(packet, held.head.terms.split)
        listed = [
            ListedClaim(
                owner=claim.owner,
                share=claim.share,
                amount=amounts[claim.share - 1],
                claimed_at=time_of(claim.at_ms),
                settled=claim.share in settled,
                best=claim.share == best,
            )
            for claim in page.claims
        ]
        return 200, ClaimList(listed, str(page.last) if page.last else None)

    async def see_claim(self, packet: str, owner: str) -> tuple[int, Claim | Pending]:
        """200 with the owner's claim, 202 while it, or the packet, is pending."""
        id = packet_id(packet, self._shards)
        async with asyncio.timeout(self._timeout_s):
            held = await self._reader.packet(id)
            found = await self._reader.claim(id, owner)
            if held.head.send_entry or found.entry:
                return 202, Pending(packet=packet)
            if not found.claims:
                raise ProblemError(Code.NOT_CLAIMED, "The caller has no share of this packet.")
            (claim,) = found.claims
            amount = (await self._amounts.of_packet(packet, held.head.terms.split))[claim.share - 1]
        return 200, Claim(packet, claim.share, amount, held.head.terms.currency, time_of(claim.at_ms))

    async def _settled(self, id: OperationId, claims: tuple[operations.Claim, ...]) -> set[int]:
        if not claims:
            return set()
        try:
            rows = await self._books.rows("settled_shares", str(id), [claim.share for claim in claims], days=[id.date])
        except BooksUnavailableError:
            return set()  # the list itself comes from Redis: it is not refused because the ledger is away
        return {row["share"] for row in rows}

    async def _best_share(self, id: OperationId, held: HeldPacket) -> int:
        """The share with the largest amount, on a tie the one claimed first; 0 where there is none to tell (yet)."""
        packet, split = str(id), held.head.terms.split
        if split.kind != "lucky" or not held.head.taken or state_of(packet, held) not in FINAL:
            return 0
        if packet not in self._best:
            amounts = await self._amounts.of_packet(packet, split)
            claims = await self._all_claims(id)
            self._best[packet] = max(claims, key=lambda claim: (amounts[claim.share - 1], -claim.sequence)).share
            if len(self._best) > _BEST_KEPT:
                self._best.popitem(last=False)
        return self._best[packet]

    async def _all_claims(self, id: OperationId) -> list[operations.Claim]:
        claims: list[operations.Claim] = []
        after = 0
        while True:
            page = await self._reader.claims(id, after, _PAGE)
            claims += page.claims
            after = page.last
            if not after:
                return claims
