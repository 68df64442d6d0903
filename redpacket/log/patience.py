"""What aiokafka's clients lack: a pause before they connect again, and before they ask for metadata again.

While a partition has no leader (Kafka is being stopped, say), its producer and its consumer ask for new metadata as
fast as that is refused: a whole core, and tens of thousands of log lines a second. Nor do they wait before they connect
again to a broker that has just refused.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection

# Java's client waits 50 ms to 1 s. The longest is what a part that is back may have to wait for.
_PAUSE_FIRST_S, _PAUSE_MAX_S = 0.1, 1.0


class _Backoff:
    """A pause after each failure, twice as long as the one before; none after a success."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._again_at_s = 0.0

    @property
    def left_s(self) -> float:
        return max(0.0, self._again_at_s - asyncio.get_running_loop().time())

    def note(self, *, failed: bool) -> None:
        self._pause_s = min(_PAUSE_MAX_S, max(_PAUSE_FIRST_S, 2 * self._pause_s)) if failed else 0.0
        self._again_at_s = asyncio.get_running_loop().time() + self._pause_s


class _Patience:
    """Stands before the two methods of one client through which all its connecting and refreshing goes."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._get_conn: Callable[..., Awaitable[AIOKafkaConnection | None]] = client._get_conn
        self._update: Callable[[ClusterMetadata, set[str]], Awaitable[bool]] = client._metadata_update
        self._refreshes = _Backoff()
        self._connects: dict[tuple[Any, ConnectionGroup], _Backoff] = {}

    async def get_conn(
        self, node_id: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> AIOKafkaConnection | None:
        """None, as where it cannot be connected to, for as long as the pause lasts: who asks has a pause of its own."""
        backoff = self._connects.setdefault((node_id, group), _Backoff())
        if backoff.left_s:
            return None
        connection = await self._get_conn(node_id, group=group, no_hint=no_hint)
        backoff.note(failed=connection is None)
        return connection

    async def update(self, metadata: ClusterMetadata, topics: set[str]) -> bool:
        """Waits before it asks: its callers wait for what it brings, and some of them for nothing else."""
        await asyncio.sleep(self._refreshes.left_s)
        updated = await self._update(metadata, topics)
        self._refreshes.note(failed=not (updated and _all_led(metadata)))
        return updated


def _all_led(metadata: ClusterMetadata) -> bool:
    return all(
        metadata.partitions_for_topic(it) == metadata.available_partitions_for_topic(it) for it in metadata.topics()
    )


def make_patient(made: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Gives the client of `made` its pauses; once, before `start`."""
    client = made.client if isinstance(made, AIOKafkaProducer) else made._client
    patience = _Patience(client)
    client._get_conn = patience.get_conn  # type: ignore[method-assign]
    client._metadata_update = patience.update  # type: ignore[method-assign]
