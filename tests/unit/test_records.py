"""Records between the log and the settler."""

import pytest
from aiokafka import ConsumerRecord

from ledger.records import chunks, decode
from ledger.settle.transaction import LogRecord
from redpacket.events import ShareClaimed
from redpacket.log.record import Batch, Fence, Record, encode_record

CLAIM = ShareClaimed("p", "bob", 1, 1, 1)


def _logged(*sizes: int) -> list[LogRecord]:
    return [LogRecord(n, b"", Batch(1, n, 0, (CLAIM,) * size)) for n, size in enumerate(sizes)]


def _consumed(offset: int, value: bytes | None) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("topic", 0, offset, 0, 0, None, value, None, 0, 0, ())


@pytest.mark.parametrize(
    ("sizes", "events_max", "lengths"),
    [((), 5, []), ((5,), 5, [1]), ((9,), 5, [1]), ((2, 2, 2), 5, [2, 1]), ((9, 1, 1), 5, [1, 2]), ((1, 1), 1, [1, 1])],
)
def test_a_transaction_takes_whole_records_up_to_a_number_of_events(
    sizes: tuple[int, ...], events_max: int, lengths: list[int]
) -> None:
    cut = list(chunks(_logged(*sizes), events_max))
    assert [len(chunk) for chunk in cut] == lengths
    assert [logged for chunk in cut for logged in chunk] == _logged(*sizes)


@pytest.mark.parametrize("record", [Fence(7), Batch(7, 1, 2, (CLAIM,)), Batch(7, 1, 2, ())])
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    (logged,), undecodable = decode([_consumed(3, encode_record(record))])
    assert (logged.record, logged.kafka_offset, undecodable) == (record, 3, None)


@pytest.mark.parametrize("junk", [None, b"", b"junk", b"\xff" * 40, encode_record(Fence(1))[:-1]])
def test_decoding_ends_before_the_first_record_that_cannot_be_decoded(junk: bytes | None) -> None:
    good = encode_record(Fence(1))
    logged, undecodable = decode([_consumed(3, good), _consumed(4, junk), _consumed(5, good)])
    assert ([it.kafka_offset for it in logged], undecodable and undecodable.offset) == ([3], 4)
