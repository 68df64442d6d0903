"""Gathers an operation's story from the ledger, the log and Redis; `redpacket trace` tells it."""

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from datetime import date
from typing import Any

import asyncpg
from msgspec import msgpack

from ledger.trace.log import LogReader, reading_log
from ledger.trace.redis import RedisReader
from ledger.trace.story import Letter, Posting, Side, Step, Story
from redpacket.commit.place import check_redis
from redpacket.events import PacketTerms, Terms
from redpacket.ids import OperationId, parse_id, shard_of
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient
from redpacket.shard.mark import Mark
from redpacket.sql import of_days, read_queries

_QUERIES = read_queries("ledger.trace")
_decode_terms = msgpack.Decoder(Terms).decode
_CLAIMS_TOLD_MAX = 5
# Anybody may give all his requests one id.
_POSTINGS_TOLD_MAX = 100
# Looked through by one statement, which locks their partitions.
_DAYS_AT_ONCE = 32


class UntraceableError(Exception):
    """There is no such thing in any of the three stores."""


async def gather_story(settings: Settings, id: str, owner: str | None) -> Story:
    """The story of an operation by its id, of a packet's claim by `owner` where one is given, or of all that the
    request of this id asked for.

    Raises UntraceableError, LogUnavailableError, DeploymentError where the settings lead to another Redis, and what
    asyncpg raises. Redis may be away, which is told.
    """
    async with AsyncExitStack() as resources:
        timeout_s = settings.postgres_timeout_ms / 1000
        connection = await asyncpg.connect(settings.postgres_url, timeout=timeout_s, command_timeout=5 * timeout_s)
        resources.callback(connection.terminate)
        (deployment,) = await connection.fetch(
            "SELECT topic, shards, generation, name FROM deployment, redis ORDER BY generation DESC LIMIT 1"
        )
        client = ShardClient(settings)
        resources.push_async_callback(client.aclose)
        mark = Mark(deployment["topic"], deployment["generation"], deployment["name"])
        await check_redis(client, settings, mark)
        log = await resources.enter_async_context(reading_log(settings, deployment["topic"]))
        tracer = _Tracer(connection, log, RedisReader(client), deployment["shards"])
        operation = parse_id(id)
        if operation is not None:
            return await tracer.operation(operation, owner)
        return await tracer.request(id)


class _Tracer:
    def __init__(self, connection: asyncpg.Connection, log: LogReader, redis: RedisReader, shards: int) -> None:
        self._connection = connection
        self._log = log
        self._redis = redis
        self._shards = shards

    async def request(self, id: str) -> Story:
        rows = await self._of_request(id)
        if not rows:
            raise UntraceableError(
                f"nothing in the ledger was asked for by a request {id}. What is not settled yet is found by the"
                " operation's own id; a repeat has left its first request's id"
            )
        steps = tuple([await self._settled(row) for row in rows[:_POSTINGS_TOLD_MAX]])
        return Story(f"request {id}", steps, more=len(rows) > _POSTINGS_TOLD_MAX)

    async def _of_request(self, id: str) -> list[asyncpg.Record]:
        """Its postings, and one more than are told: of all days, those of the newest first."""
        days = [row["day"] for row in await self._fetch("days")]
        rows: list[asyncpg.Record] = []
        for first in range(0, len(days), _DAYS_AT_ONCE):
            more = _POSTINGS_TOLD_MAX + 1 - len(rows)
            if more <= 0:
                break
            rows += await self._fetch("postings_of_request", id, more, days=days[first : first + _DAYS_AT_ONCE])
        return sorted(rows, key=lambda row: (row["at"], row["shard"], row["kafka_offset"], row["item"]))

    async def operation(self, id: OperationId, owner: str | None) -> Story:
        rows = await self._postings(id)
        letters = tuple(
            Letter(f"{it['shard']}-{it['kafka_offset']}-{it['item']}", it["reason"], it["event"], it["decision"] or "")
            for it in await self._fetch("letters_of", str(id))
        )
        if owner is not None:
            rows = [row for row in rows if row["kind"] == "claim" and row["credit_owner"] == owner]
            steps = [await self._settled(row) for row in rows] or await self._unsettled(id, owner)
            return Story(f"the claim of {owner} to packet {id}", _or_nothing(steps, letters), letters)
        claims = [row for row in rows if row["kind"] == "claim"]
        told = claims if len(claims) <= _CLAIMS_TOLD_MAX else []
        steps = [await self._settled(row) for row in rows if row["kind"] != "claim" or row in told]
        steps = steps or await self._unsettled(id, None)
        return Story(f"operation {id}", _or_nothing(steps, letters), letters, len(claims) - len(told))

    async def _fetch(self, query: str, *args: Any, days: Collection[date] = ()) -> Sequence[asyncpg.Record]:
        rows: Sequence[asyncpg.Record] = await self._connection.fetch(of_days(_QUERIES[query], days), *args)
        return rows

    async def _postings(self, id: OperationId) -> Sequence[asyncpg.Record]:
        held = await self._connection.fetchrow(_QUERIES["operation"], str(id))
        if held is None:
            return []
        terms = _decode_terms(held["terms"])
        if isinstance(terms, PacketTerms):
            account = (terms.owner, "escrow", id.shard)
        else:
            account = (terms.owner, "wallet", shard_of(terms.owner, self._shards))
        return await self._fetch("postings_of_operation", str(id), *account, days=[id.date])

    async def _settled(self, row: asyncpg.Record) -> Step:
        posting = _posting(row)
        place = await self._log.item_at(row["shard"], row["kafka_offset"], row["item"])
        operation = parse_id(posting.operation)
        assert operation is not None
        match posting.kind:
            case "claim":
                owner = posting.credit.owner
                redis = await self._redis.claim(operation, owner)
                return Step(f"claim of {owner} to packet {operation}", redis, place, posting)
            case "refund":
                return Step(f"refund of packet {operation}", await self._redis.end(operation), place, posting)
            case kind:
                redis = await self._redis.operation(operation)
                return Step(f"{kind} {operation}", redis, place, posting)

    async def _unsettled(self, id: OperationId, owner: str | None) -> list[Step]:
        """What is in Redis, or on its way: the log is looked through from where the ledger is."""
        next_offset = await self._connection.fetchval(_QUERIES["next_offset"], id.shard)
        if next_offset is None:
            return []
        place = await self._log.find_from(id.shard, next_offset, str(id), owner)
        there = await (self._redis.operation(id) if owner is None else self._redis.claim(id, owner))
        if place is None and there in RedisReader.NOTHING:
            return []
        return [Step(f"{'operation' if owner is None else f'claim of {owner} to packet'} {id}", there, place, None)]


def _or_nothing(steps: Sequence[Step], letters: Sequence[Letter]) -> tuple[Step, ...]:
    if not steps and not letters:
        raise UntraceableError("neither the ledger, nor what the log has beyond it, nor Redis knows of it")
    return tuple(steps)


def _posting(row: asyncpg.Record) -> Posting:
    debit, credit = (
        Side(row[f"{it}_owner"], row[f"{it}_kind"], row[f"{it}_version"], row[f"{it}_balance_minor"])
        for it in ("debit", "credit")
    )
    at = row["at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Posting(row["kind"], row["operation"], at, row["amount_minor"], debit, credit, row["request"])
