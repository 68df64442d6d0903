"""The amounts behind share numbers, computed once a packet and process."""

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Sequence

from redpacket.commit.rounds import Rounds
from redpacket.split import SplitParameters, split_amounts, split_seed

# 8 bytes each; the packets used last are kept.
_SHARES_KEPT = 2_000_000
# 10,000 shares take some 15 ms, which no claim on the event loop shall wait for; 500 take less than one.
_SHARES_AT_ONCE = 500

_Key = tuple[str, SplitParameters]


class Amounts:
    """Computes amounts by packet id and split parameters, and keeps those used last.

    By both: a send that dies unconfirmed leaves its id to the next one with its key, which may have other terms.
    """

    def __init__(self, split_key: bytes) -> None:
        self._split_key = split_key
        self._kept: OrderedDict[_Key, Sequence[int]] = OrderedDict()
        self._shares = 0
        self._large: Rounds[_Key, Sequence[int]] = Rounds(self._compute_apart)

    def seed(self, packet: str) -> bytes:
        """32 bytes, from which all of the packet's amounts follow: told only once the packet is final."""
        return split_seed(self._split_key, packet)

    async def of_packet(self, packet: str, split: SplitParameters) -> Sequence[int]:
        """The amount of share number n, in minor units, is at n - 1."""
        key = packet, split
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        if split.shares <= _SHARES_AT_ONCE:
            return self._keep(key, self._compute(packet, split))
        return self._keep(key, await self._large.join(key))

    def _compute(self, packet: str, split: SplitParameters) -> Sequence[int]:
        return array("q", split_amounts(self.seed(packet), split))

    async def _compute_apart(self, key: _Key) -> Sequence[int]:
        return await asyncio.to_thread(self._compute, *key)

    def _keep(self, key: _Key, amounts: Sequence[int]) -> Sequence[int]:
        if key not in self._kept:
            self._kept[key] = amounts
            self._shares += len(amounts)
        while self._shares > _SHARES_KEPT and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._shares -= len(dropped)
        return amounts
