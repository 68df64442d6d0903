"""The topic: made once, with one partition for each shard; its cluster's id; where its partitions end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from redpacket.log.connect import kafka_access
from redpacket.log.patience import make_patient
from redpacket.log.producer import LogUnavailableError
from redpacket.log.stop import stop_within
from redpacket.settings import Settings

_ADMIN_TIMEOUT_S = 30.0
_LOOK_AGAIN_S = 0.1


async def cluster_id(settings: Settings) -> str:
    """Raises LogUnavailableError."""
    async with _admin(settings) as admin:
        return str((await admin.describe_cluster())["cluster_id"])


async def create_topic(settings: Settings, topic: str) -> None:
    """Makes the topic, or finds it there; returns when every partition has a leader. Raises LogUnavailableError."""
    # Kafka keeps everything: records are deleted only below what is settled and in a backup.
    configs = {
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "min.insync.replicas": str(settings.kafka_min_insync),
        # A replica that lacks what was acknowledged never leads, whatever the brokers' own default is.
        "unclean.leader.election.enable": "false",
    }
    new = NewTopic(topic, settings.shards, settings.kafka_replication, topic_configs=configs)
    async with _admin(settings) as admin:
        answer = await admin.create_topics([new])
        for _, code, *message in answer.topic_errors:  # type: ignore[attr-defined]
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise LogUnavailableError(f"creating topic {topic}: {error.__name__} {message}")
        # A consumer that does not see it yet is assigned nothing, and looks again only minutes later.
        while not await _is_led(admin, topic, settings.shards):
            await asyncio.sleep(_LOOK_AGAIN_S)


async def _is_led(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> bool:
    (described,) = await admin.describe_topics([topic])
    led = [partition for partition in described["partitions"] if partition["leader"] >= 0]
    return len(led) == partitions


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, started and closed, with a deadline for all that is done with it."""
    admin = AIOKafkaAdminClient(**kafka_access(settings), request_timeout_ms=settings.kafka_timeout_ms)
    try:
        async with asyncio.timeout(_ADMIN_TIMEOUT_S):
            await admin.start()
            yield admin
    except (KafkaError, TimeoutError) as error:
        raise LogUnavailableError(f"kafka at {settings.kafka_bootstrap}: {error!r}") from error
    finally:
        await admin.close()


class LogEnds:
    """Asks where the partitions end now. Close it with `stop`."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._timeout_s = settings.kafka_timeout_ms / 1000
        self._partitions = [TopicPartition(topic, shard) for shard in range(settings.shards)]
        self._consumer = AIOKafkaConsumer(
            **kafka_access(settings),
            request_timeout_ms=settings.kafka_timeout_ms,
            enable_auto_commit=False,
        )
        make_patient(self._consumer)

    async def start(self) -> None:
        """Raises LogUnavailableError."""
        try:
            await self._consumer.start()
        except KafkaError as error:
            await self.stop()
            raise LogUnavailableError(f"kafka does not answer: {error!r}") from error
        # A consumer stopped before its own tasks took their first step is stopped by half (aiokafka 0.14).
        await asyncio.sleep(0)

    async def stop(self) -> None:
        await stop_within(self._timeout_s, self._consumer.stop())

    async def read(self) -> list[int]:
        """By shard, the offset that the next record will get. Raises LogUnavailableError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                ends = await self._consumer.end_offsets(self._partitions)
        except (KafkaError, TimeoutError) as error:
            raise LogUnavailableError(f"reading end offsets: {error!r}") from error
        return [ends[partition] for partition in self._partitions]
