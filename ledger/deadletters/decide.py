"""What a person decides about a dead letter: replayed or rejected, once.

A decision is one transaction. It holds the letter's row from the first look to the end, so that of two who decide at
once one is refused; it marks the letter and shuts the shard's epoch together, so that nothing stays loaded as frozen. A
replay publishes the event and sees it settled inside that transaction. Cut off before the COMMIT, the letter is
undecided and what it froze stays frozen; the same again is harmless: an event that moved money by then is a repeat.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import asyncpg
from msgspec import Struct, msgpack

from ledger.deadletters.letter import Letter, LetterError, LetterName
from ledger.deadletters.read import QUERIES, connected, read_letter
from redpacket.books.database import Books
from redpacket.books.deployment import check_deployment, read_keys
from redpacket.events import Event
from redpacket.log.producer import LogProducer
from redpacket.log.record import Batch
from redpacket.log.topic import cluster_id
from redpacket.settings import Settings

_SETTLED_TIMEOUT_S = 30.0
_LOOK_AGAIN_S = 0.05
# Of no outbox: those are numbered from 1.
_NO_ENTRY = 0

_decode_event = msgpack.Decoder(Event).decode


class Replayed(Struct, frozen=True):
    """`outcome` is 'applied'; 'repeated' where the ledger had it already; 'set aside' again, as `again`; or 'tried' of
    a whole record: its shard settles it where it stands, or is held again."""

    outcome: str
    again: LetterName | None = None


async def reject_letter(settings: Settings, name: LetterName) -> Letter:
    """What it froze goes on from what the ledger says. A record that holds its shard is settled and moves nothing.

    Raises LetterError.
    """
    async with connected(settings) as connection, _deciding(connection, name) as letter:
        await _mark(connection, name, "rejected")
        await connection.execute(QUERIES["shut"], name.shard)
    return letter


async def replay_letter(settings: Settings, name: LetterName) -> Replayed:
    """Publishes the event once more, under the shard's present epoch and with its own time, and sees it settled.

    Raises LetterError, LogUnavailableError, DeploymentError, BooksUnavailableError.
    """
    async with connected(settings) as connection, _deciding(connection, name) as letter:
        if letter.is_record:
            # It is in the log, and is tried again from there. The shard is not shut: where it fails again it could not
            # be opened, and nothing in Redis depends on it.
            replayed = Replayed("tried")
        else:
            async with _producing(settings) as producer:
                replayed = await _publish(connection, producer, letter)
            await connection.execute(QUERIES["shut"], name.shard)
        await _mark(connection, name, "replayed")
    return replayed


@asynccontextmanager
async def _deciding(connection: asyncpg.Connection, name: LetterName) -> AsyncIterator[Letter]:
    async with connection.transaction():
        try:
            letter = await read_letter(connection, "lock_letter", name)
        except asyncpg.LockNotAvailableError:
            raise LetterError(f"somebody else is deciding about {name} at this moment") from None
        if letter.decision:
            raise LetterError(f"{name} was {letter.decision} at {letter.decided_at:%Y-%m-%d %H:%M:%S %Z}")
        yield letter


async def _mark(connection: asyncpg.Connection, name: LetterName, decision: str) -> None:
    await connection.execute(QUERIES["decide"], name.shard, name.kafka_offset, name.item, decision)


@asynccontextmanager
async def _producing(settings: Settings) -> AsyncIterator[LogProducer]:
    books = Books(settings)
    await books.start()
    async with aclosing(books):
        deployment = await check_deployment(books, settings, read_keys(settings), await cluster_id(settings))
    producer = LogProducer(settings, deployment.topic)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _publish(connection: asyncpg.Connection, producer: LogProducer, letter: Letter) -> Replayed:
    if not letter.packed or letter.at_ms is None:
        raise LetterError(f"an older version set {letter.name} aside and did not keep it: it can only be rejected")
    shard, event = letter.name.shard, _decode_event(letter.packed)
    try:
        async with asyncio.timeout(_SETTLED_TIMEOUT_S):
            while True:
                epoch = await _epoch(connection, shard)
                offset = await producer.append(shard, Batch(epoch, _NO_ENTRY, letter.at_ms, (event,)))
                settled = await _outcome(connection, shard, offset)
                # Ignored: the shard was opened anew before the record had come to the log.
                if not settled["ignored"]:
                    break
    except TimeoutError:
        raise LetterError(
            f"shard {shard} was not open, or not settled, for {_SETTLED_TIMEOUT_S:.0f} s:"
            f" {letter.name} is undecided, and the same command again goes on"
        ) from None
    if settled["applied"]:
        return Replayed("applied")
    return Replayed("repeated") if settled["repeated"] else Replayed("set aside", LetterName(shard, offset, 0))


async def _epoch(connection: asyncpg.Connection, shard: int) -> int:
    """The shard's present epoch, once what made this letter is shut: Redis knows it as frozen then, so that nothing is
    reserved that the event would contradict."""
    while True:
        row = await connection.fetchrow(QUERIES["epochs"], shard)
        if row is not None and row["epoch_fenced"] > row["epoch_shut"]:
            return int(row["epoch_fenced"])
        await asyncio.sleep(_LOOK_AGAIN_S)


async def _outcome(connection: asyncpg.Connection, shard: int, offset: int) -> asyncpg.Record:
    while (row := await connection.fetchrow(QUERIES["outcome"], shard, offset)) is None:
        await asyncio.sleep(_LOOK_AGAIN_S)
    return row
