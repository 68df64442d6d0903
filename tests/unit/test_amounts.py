"""What a worker keeps of packets' amounts: bounded in bytes, drawn once, one large packet at a time."""

import asyncio
import gc
import tracemalloc
from collections.abc import Sequence
from threading import Lock

import pytest

from redpacket.commit import amounts as module
from redpacket.commit.amounts import Amounts, AmountsBusyError
from redpacket.split import SplitParameters, split_amounts, split_seed

KEY = b"k" * 32
LARGE = SplitParameters("lucky", 100_000, 2_000, 100_000, 1)


def packet(n: int) -> str:
    return f"00512d{n:032x}"


class Draws:
    """Counts what is drawn, and how many at a time."""

    def __init__(self) -> None:
        self.all = self.now = self.most = 0
        self._lock = Lock()

    def draw(self, seed: bytes, split: SplitParameters) -> Sequence[int]:
        with self._lock:
            self.all += 1
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return split_amounts(seed, split)
        finally:
            with self._lock:
                self.now -= 1


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Draws:
    draws = Draws()
    monkeypatch.setattr(module, "split_amounts", draws.draw)
    return draws


@pytest.mark.parametrize(("shares", "packets"), [(1, 5_000), (60, 2_500)])
async def test_what_is_kept_is_counted_in_bytes_and_bounded_however_small_the_packets(
    monkeypatch: pytest.MonkeyPatch, shares: int, packets: int
) -> None:
    limit = 1024 * 1024
    monkeypatch.setattr(module, "_AMOUNTS_BYTES", limit)
    monkeypatch.setattr(module, "_SUMS_BYTES", limit)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        amounts = Amounts(KEY)
        for n in range(packets):
            total = 10_000 + n
            split = SplitParameters("equal" if shares > 1 else "lucky", shares * total, shares, shares * total, 1)
            await amounts.of_packet(packet(n), split)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        for n in range(packets):
            total = 10_000 + n
            split = SplitParameters("equal", 100 * total, 100, 100 * total, 1)
            await amounts.claimed_minor(packet(n), split, 7 + n % 90, frozenset(range(1, 1 + n % 5)))
        gc.collect()
        taken_with_sums = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Full, and what is counted is what is taken, or a little more.
    assert limit / 2 < taken < limit
    assert limit < taken_with_sums < 2 * limit


async def test_many_who_ask_for_one_packet_have_it_drawn_once(draws: Draws) -> None:
    amounts = Amounts(KEY)
    first, *others = await asyncio.gather(*(amounts.of_packet(packet(1), LARGE) for _ in range(50)))
    assert list(first) == split_amounts(split_seed(KEY, packet(1)), LARGE)
    assert all(other is first for other in others)
    assert draws.all == 1


async def test_large_packets_are_drawn_one_at_a_time_and_who_is_one_too_many_is_refused(draws: Draws) -> None:
    amounts = Amounts(KEY)
    asked = [asyncio.create_task(amounts.of_packet(packet(n), LARGE)) for n in range(40)]
    await asyncio.sleep(0)
    # What is reserved has to be published: it is never refused. And one that is being drawn may be waited for.
    published, joined = await asyncio.gather(
        amounts.of_packet(packet(99), LARGE, patient=True), amounts.of_packet(packet(0), LARGE)
    )
    assert sum(published) == sum(joined) == LARGE.total_minor
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, AmountsBusyError)]
    assert len(refused) == 40 - 16
    assert draws.all == 16 + 1
    assert draws.most == 1
    assert sum(await amounts.of_packet(packet(30), LARGE)) == LARGE.total_minor


async def test_a_packet_looked_at_again_is_not_drawn_again_though_others_have_pushed_it_out(
    monkeypatch: pytest.MonkeyPatch, draws: Draws
) -> None:
    monkeypatch.setattr(module, "_AMOUNTS_BYTES", 40_000)  # two of them
    amounts = Amounts(KEY)
    none = frozenset[int]()
    seen = [await amounts.claimed_minor(packet(n), LARGE, 1_000, none) for n in range(10)]
    assert draws.all == 10
    assert [await amounts.claimed_minor(packet(n), LARGE, 1_000, none) for n in range(10)] == seen
    assert draws.all == 10
    expected = split_amounts(split_seed(KEY, packet(0)), LARGE)
    assert seen[0] == sum(expected[:1_000])
    # One more claim is another sum; so is a share that is free again.
    assert await amounts.claimed_minor(packet(0), LARGE, 1_001, none) == sum(expected[:1_001])
    assert await amounts.claimed_minor(packet(0), LARGE, 1_001, frozenset({5})) == sum(expected[:1_001]) - expected[4]


async def test_what_is_all_or_nothing_is_not_drawn(draws: Draws) -> None:
    amounts = Amounts(KEY)
    assert await amounts.claimed_minor(packet(1), LARGE, 0, frozenset()) == 0
    assert await amounts.claimed_minor(packet(1), LARGE, 2, frozenset({1, 2})) == 0
    assert await amounts.claimed_minor(packet(1), LARGE, 2_000, frozenset()) == LARGE.total_minor
    assert draws.all == 0


async def test_one_who_leaves_takes_the_answer_from_nobody(draws: Draws) -> None:
    amounts = Amounts(KEY)
    leaving, staying = (asyncio.create_task(amounts.of_packet(packet(1), LARGE)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert sum(await staying) == LARGE.total_minor
    assert draws.all == 1
    await amounts.aclose()
