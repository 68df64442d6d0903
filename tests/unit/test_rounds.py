import asyncio

import pytest

from redpacket.commit.rounds import Rounds


class _Source:
    """Gives 1, 2, 3, ..., each when `release` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.running = 0
        self.most_running = 0
        self.release = asyncio.Event()

    async def read(self, key: str) -> int:
        self.calls += 1
        number = self.calls
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.release.wait()
        self.running -= 1
        if key == "bad":
            raise ValueError("bad")
        return number


async def test_who_asks_during_a_call_shares_the_next_one() -> None:
    source = _Source()
    rounds: Rounds[str, int] = Rounds(source.read)
    first = asyncio.create_task(rounds.join("k"))
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(rounds.join("k")) for _ in range(5)]
    await asyncio.sleep(0.01)
    source.release.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 5
    assert source.most_running == 1


async def test_keys_do_not_wait_for_each_other() -> None:
    source = _Source()
    rounds: Rounds[str, int] = Rounds(source.read)
    tasks = [asyncio.create_task(rounds.join(key)) for key in "abc"]
    await asyncio.sleep(0.01)
    assert source.most_running == 3
    source.release.set()
    assert sorted(await asyncio.gather(*tasks)) == [1, 2, 3]


async def test_a_caller_who_leaves_takes_nothing_from_the_others() -> None:
    source = _Source()
    rounds: Rounds[str, int] = Rounds(source.read)
    leaving, staying = (asyncio.create_task(rounds.join("k")) for _ in range(2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    source.release.set()
    assert await staying == 1


async def test_a_failure_reaches_every_caller_and_the_next_round_begins_anew() -> None:
    source = _Source()
    source.release.set()
    rounds: Rounds[str, int] = Rounds(source.read)
    for _ in range(2):
        answers = await asyncio.gather(*(rounds.join("bad") for _ in range(3)), return_exceptions=True)
        assert all(isinstance(answer, ValueError) for answer in answers)
    with pytest.raises(ValueError, match="bad"):
        await rounds.join("bad")
    assert source.calls == 3
