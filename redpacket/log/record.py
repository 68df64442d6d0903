"""The record: what one message of the log holds. Kafka's partition is the shard."""

from msgspec import DecodeError, Struct, msgpack

from redpacket.events import Event


class Batch(Struct, frozen=True, array_like=True, tag="Batch"):
    """One reservation of one shard: `entry` is its number in the outbox of `epoch`, `at_ms` the time by Redis.

    `entry` is 0 of an event that a person has replayed, under a later epoch than that of its reservation.
    """

    epoch: int
    entry: int
    at_ms: int
    events: tuple[Event, ...]


class Fence(Struct, frozen=True, array_like=True, tag="Fence"):
    """From here on items of an epoch below `epoch` are ignored."""

    epoch: int


Record = Batch | Fence

encode_record = msgpack.Encoder().encode
decode_record = msgpack.Decoder(Record).decode
# What it raises for what is no record: neither bad UTF-8 nor nesting that is too deep is a DecodeError.
UNDECODABLE = (DecodeError, UnicodeDecodeError, RecursionError)
