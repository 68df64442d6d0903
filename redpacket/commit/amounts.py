"""The amounts behind share numbers, drawn once a packet and process as long as they are kept."""

import asyncio
from array import array
from collections.abc import Sequence
from contextvars import Context

from redpacket.commit.kept import Kept
from redpacket.split import SplitParameters, split_amounts, split_seed

# A worker's own 70 MiB are not to be doubled by them, and those in use at one time should stay: this holds 400 packets
# of 10,000 shares, or 55,000 of a few. A sum takes a hundredth of the amounts that it spares.
_AMOUNTS_BYTES, _SUMS_BYTES = 32 * 1024 * 1024, 8 * 1024 * 1024
# Measured: a packet with its key and its place takes less beside the 8 bytes of each amount; so does a sum, beside the
# numbers of the shares that are free again.
_PACKET_BYTES, _SUM_BYTES, _FREE_BYTES = 560, 720, 140
# 10,000 shares take some 15 ms, which no claim on the event loop shall wait for; 500 take less than one.
_SHARES_AT_ONCE = 500
# Larger packets are drawn one at a time, so that the event loop has half of the core. This many take 0.25 s at most.
_WAITING_MAX = 16

_Key = tuple[str, SplitParameters]


class AmountsBusyError(Exception):
    """Too many large packets wait to be drawn."""


class _Sum:
    """What the shares up to `handed_out` that are not `free` come to."""

    __slots__ = ("free", "handed_out", "minor")

    def __init__(self, handed_out: int, free: frozenset[int], minor: int) -> None:
        self.handed_out, self.free, self.minor = handed_out, free, minor


class Amounts:
    """Draws amounts by packet id and split parameters, and keeps those used last.

    By both: a send that dies unconfirmed leaves its id to the next one with its key, which may have other terms.
    """

    def __init__(self, split_key: bytes) -> None:
        self._split_key = split_key
        self._kept: Kept[_Key, array[int]] = Kept(_AMOUNTS_BYTES, lambda amounts: _PACKET_BYTES + 8 * len(amounts))
        self._sums: Kept[_Key, _Sum] = Kept(_SUMS_BYTES, lambda it: _SUM_BYTES + _FREE_BYTES * len(it.free))
        self._drawing: dict[_Key, asyncio.Task[array[int]]] = {}
        self._turn = asyncio.Semaphore(1)

    async def aclose(self) -> None:
        """Ends what is being drawn: nobody may be left who waits for it."""
        tasks = list(self._drawing.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def seed(self, packet: str) -> bytes:
        """32 bytes, from which all of the packet's amounts follow: told only once the packet is final."""
        return split_seed(self._split_key, packet)

    async def of_packet(self, packet: str, split: SplitParameters, patient: bool = False) -> Sequence[int]:
        """The amount of share number n, in minor units, is at n - 1.

        `patient`: for what is reserved, which has to be published whatever else is asked for; all others are refused
        with AmountsBusyError where too many wait.
        """
        key = packet, split
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        if split.shares <= _SHARES_AT_ONCE:
            amounts = self._compute(packet, split)
            self._kept.put(key, amounts)
            return amounts
        # Shielded: one caller's deadline must not take the answer from the others.
        return await asyncio.shield(self._drawing.get(key) or self._begin(key, patient))

    async def claimed_minor(self, packet: str, split: SplitParameters, handed_out: int, free: frozenset[int]) -> int:
        """What the shares 1 to `handed_out` less those that are `free` come to. Raises AmountsBusyError.

        Kept apart from the amounts, so that whoever looks at a packet again does not have it drawn again.
        """
        if handed_out == len(free):
            return 0
        if handed_out == split.shares and not free:
            return split.total_minor
        key = packet, split
        kept = self._sums.get(key)
        if kept is not None and (kept.handed_out, kept.free) == (handed_out, free):
            return kept.minor
        amounts = await self.of_packet(packet, split)
        minor = sum(amounts[:handed_out]) - sum(amounts[share - 1] for share in free)
        self._sums.put(key, _Sum(handed_out, free, minor))
        return minor

    def _begin(self, key: _Key, patient: bool) -> "asyncio.Task[array[int]]":
        if len(self._drawing) >= _WAITING_MAX and not patient:
            raise AmountsBusyError(f"{len(self._drawing)} large packets wait to be drawn")
        # In a context of its own: it serves all who wait, not the request that happens to begin it.
        task = self._drawing[key] = asyncio.create_task(self._draw(key), context=Context())
        # Every caller may have left by the time it fails; then nobody else asks for the exception.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _draw(self, key: _Key) -> "array[int]":
        try:
            async with self._turn:
                amounts = await asyncio.to_thread(self._compute, *key)
            self._kept.put(key, amounts)
            return amounts
        finally:
            del self._drawing[key]

    def _compute(self, packet: str, split: SplitParameters) -> "array[int]":
        return array("q", split_amounts(self.seed(packet), split))
