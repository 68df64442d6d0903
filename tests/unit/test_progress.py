"""How long a shard's oldest record that is not settled is said to have been waiting."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ledger import progress
from ledger.progress import Progress
from redpacket.ops import metrics


class Clock:
    now_s = 1_000.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    yield clock
    for shard in range(1_001, 1_005):
        metrics.forget_shard((metrics.SHARD_UNSETTLED_AGE_SECONDS, metrics.SHARD_LAG), shard)


def _record(offset: int, at_s: float) -> Any:
    return SimpleNamespace(offset=offset, timestamp=int(at_s * 1000))


def test_it_is_by_kafka_s_time_of_the_first_record_that_is_not_settled(clock: Clock) -> None:
    shard = Progress(1_001)
    shard.note_settled(5)
    assert shard.age_s() == 0
    shard.note_polled([_record(5, 990.0), _record(6, 997.0)])
    assert shard.age_s() == 10
    shard.note_settled(6)
    assert shard.age_s() == 3
    # Postgres stops telling: it is what it was, and older.
    clock.now_s = 1_050.0
    assert shard.age_s() == 53
    shard.note_settled(7)
    assert shard.age_s() == 0


def test_a_record_that_was_not_read_is_at_least_as_old_as_it_was_seen_to_wait(clock: Clock) -> None:
    shard = Progress(1_002)
    shard.note_settled(5)
    shard.note_end(8)
    clock.now_s += 20
    shard.note_end(9)
    assert shard.age_s() == 20
    # It has moved on: how old the next one is nobody knows yet.
    shard.note_settled(6)
    assert shard.age_s() == 0
    shard.note_end(9)
    clock.now_s += 1
    assert shard.age_s() == 1
    shard.note_settled(9)
    shard.note_end(9)
    assert shard.age_s() == 0


def test_where_nobody_knows_up_to_where_it_is_settled_it_is_since_the_shard_came(clock: Clock) -> None:
    shard = Progress(1_003)
    clock.now_s += 40
    assert shard.age_s() == 40
    shard.note_settled(0)
    assert shard.age_s() == 0


def test_clocks_that_differ_make_no_record_younger_than_new(clock: Clock) -> None:
    shard = Progress(1_004)
    shard.note_settled(0)
    shard.note_polled([_record(0, clock.now_s + 5)])
    assert shard.age_s() == 0


def test_a_shard_that_has_gone_is_told_of_no_more(clock: Clock) -> None:
    shard = Progress(1_005)
    shard.note_settled(0)
    shard.note_end(3)
    assert REGISTRY.get_sample_value("redpacket_shard_lag_records", {"shard": "1005"}) == 3
    shard.end()
    # The answer to a question that was asked before.
    shard.note_end(4)
    for gauge in ("redpacket_shard_lag_records", "redpacket_shard_unsettled_age_seconds"):
        assert REGISTRY.get_sample_value(gauge, {"shard": "1005"}) is None
