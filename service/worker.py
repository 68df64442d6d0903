"""The API worker: wires itself together here and nowhere else."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial

from redpacket.books.database import Books
from redpacket.books.deployment import check_deployment, read_keys
from redpacket.commit.parts import start_parts
from redpacket.commit.place import check_redis, deployments_redis
from redpacket.log.topic import cluster_id
from redpacket.ops import metrics
from redpacket.ops.drain import finish_s, move_clients_away
from redpacket.ops.health import PATHS, PROBES, HealthApp
from redpacket.ops.open_files import connections_within
from redpacket.ops.server import ListenError, listen, serving
from redpacket.ops.signals import stop_on_signals
from redpacket.settings import Settings
from redpacket.shard.client import ShardUnreachableError
from service.app import build_app
from service.auth import Authenticator, read_public_key
from service.claim_lists import ClaimLists
from service.claims import ClaimDoor, Claims
from service.connection import SERVED, Connection
from service.door import Door
from service.operations import Operations
from service.packets import Packets
from service.reading import PacketReader
from service.routes import api_routes
from service.settled import SettledOperations
from service.statements import Statements
from service.topups import TopUps
from service.wallets import Wallets

logger = logging.getLogger(__name__)

# Each waits for a batch of its shard; what more would bring is a longer wait for all.
_IN_FLIGHT_MAX = 8_192
# Looking for garbage every 700 allocations costs a sixth of a claim: hundreds of requests are under way at any time,
# none of them garbage yet.
_GARBAGE_THRESHOLDS = (20_000, 20, 50)


async def run_api(settings: Settings, fd: int | None, host: str, port: int) -> None:
    """Serves until SIGTERM, SIGINT or SIGHUP, on the listening socket `fd` of the parent or else on host and port.

    Raises DeploymentError, SettingsError, ListenError, or what the parts raise: Postgres and Kafka are asked at the
    start whether this is the deployment that the settings mean. Redis may be away.
    """
    stop = stop_on_signals()
    gc.freeze()  # what is imported stays
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    with _own_socket(host, port) if fd is None else _shared_socket(fd) as listening:
        await serve_api(settings, listening, stop)


async def serve_api(settings: Settings, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serves until `stop`, then lets its clients go. Raises as run_api."""
    health = HealthApp(partial(_why_not_ready, stop))
    async with AsyncExitStack() as resources:
        health_paths = PATHS if settings.public_metrics else PROBES
        app = await _wire(settings, resources, health_paths)
        door = Door(app, health, health_paths, stop, _IN_FLIGHT_MAX)
        await resources.enter_async_context(serving(health, listen(settings.ops_host, settings.ops_port)))
        server = await resources.enter_async_context(
            serving(
                door,
                listening,
                finish_s(settings),
                connections_max=connections_within(settings.connections_max),
                http=Connection,
                **SERVED,
            )
        )
        metrics.CONNECTIONS.set_function(lambda: len(server.connections))
        logger.info("API worker of %d shards", settings.shards)
        await stop.wait()
        await move_clients_away(server.connections, server.stop_accepting)


async def _wire(settings: Settings, resources: AsyncExitStack, health_paths: Iterable[str]) -> ClaimDoor:
    keys = read_keys(settings)
    authenticator = Authenticator(settings, read_public_key(settings))
    books = Books(settings)
    await books.start()
    resources.push_async_callback(books.aclose)
    deployment = await check_deployment(books, settings, keys, await cluster_id(settings))

    parts = await start_parts(resources, settings, keys, deployment.topic, books)
    await check_redis(parts.client, settings, await deployments_redis(books, deployment))
    try:
        await parts.client.load_library()
    except ShardUnreachableError as error:
        logger.warning("its shards are answered 503 until Redis is there: %s", error)

    amounts, path = parts.amounts, parts.path
    reader = PacketReader(parts.client, parts.loader)
    ledger = SettledOperations(books)
    resources.push_async_callback(ledger.aclose)
    claims = Claims(settings, path, amounts)
    api = api_routes(
        claims,
        ClaimLists(settings, books, amounts, reader),
        Packets(settings, keys.id_key, path, amounts, reader),
        TopUps(settings, keys.id_key, path, ledger),
        Wallets(settings, books),
        Statements(settings, books),
        Operations(settings, keys.id_key, ledger, reader),
    )
    return ClaimDoor(claims, authenticator, build_app(api, authenticator, health_paths))


def _why_not_ready(stop: asyncio.Event) -> str:
    return "the worker stops" if stop.is_set() else ""


def _shared_socket(fd: int) -> socket.socket:
    """The parent's socket, by a descriptor of our own: it goes on listening there when this one is closed. Raises
    ListenError."""
    try:
        listening = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise ListenError(f"descriptor {fd} (--fd) is no listening socket: {error.strerror}") from None
    listening.setblocking(False)
    return listening


def _own_socket(host: str, port: int) -> socket.socket:
    return listen(host, port, SERVED["backlog"], "--host and --port")
