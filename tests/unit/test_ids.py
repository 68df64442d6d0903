from collections import Counter
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpacket.ids import OperationId, date_of, identity_of, parse_id, shard_of, unix_ms, utc

KEY = bytes(range(32))
identities = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(st.integers(0, 255), st.integers(0, 65_535), identities)
def test_an_id_is_read_back_as_it_was_written(shard: int, day: int, identity: str) -> None:
    known = OperationId(shard, day, identity)
    assert parse_id(str(known)) == known


@given(st.text())
def test_a_text_is_an_id_only_in_the_one_spelling(text: str) -> None:
    known = parse_id(text)
    assert known is None or str(known) == text


@pytest.mark.parametrize(
    "spelling", ["", "00" * 19 + "\n", "00" * 18, "00" * 20, "0F" + "0" * 36, "\u0660" * 38, " " + "0" * 37]
)
def test_other_spellings_are_no_ids(spelling: str) -> None:
    assert parse_id(spelling) is None


def test_a_day_is_the_date_of_creation() -> None:
    assert OperationId(3, 20_781, "0" * 32).date == date(2026, 11, 24)
    assert date_of(str(OperationId(3, 0, "0" * 32))) == date(1970, 1, 1)


def test_owner_and_key_cannot_be_cut_differently() -> None:
    assert identity_of(KEY, "alice", "1key") != identity_of(KEY, "alice1", "key")
    assert identity_of(KEY, "alice", "key") != identity_of(bytes(32), "alice", "key")


def test_identities_and_shards_never_change() -> None:
    # Written down: a change of either would lose every wallet and every idempotency key there is.
    assert identity_of(KEY, "alice", "key") == "5668b437bc07c76d8e8efee6f9ae0ec2"
    assert [shard_of(owner, 16) for owner in ("alice", "bob", "carol")] == [15, 10, 14]


def test_owners_spread_over_shards() -> None:
    owners = Counter(shard_of(f"owner-{n}", 16) for n in range(16_000))
    assert len(owners) == 16
    # 1,000 each, with a standard deviation of 31.
    assert all(800 < count < 1_200 for count in owners.values())


@given(st.integers(0, 10**13))
def test_a_time_keeps_its_milliseconds(at_ms: int) -> None:
    assert unix_ms(utc(at_ms)) == at_ms
    assert utc(0) == datetime(1970, 1, 1, tzinfo=UTC)
