"""The parts of the commit path, wired together the same way in every process that has them."""

from contextlib import AsyncExitStack

from msgspec import Struct

from redpacket.books.database import Books
from redpacket.books.deployment import Keys
from redpacket.commit.amounts import Amounts
from redpacket.commit.epochs import FencedEpochs
from redpacket.commit.funds import Funds
from redpacket.commit.load import Loader
from redpacket.commit.path import CommitPath
from redpacket.commit.repeat import Repeater
from redpacket.log.producer import LogProducer
from redpacket.log.topic import LogEnds
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient


class CommitParts(Struct, frozen=True):
    client: ShardClient
    producer: LogProducer
    amounts: Amounts
    loader: Loader
    repeater: Repeater
    path: CommitPath


async def start_parts(
    resources: AsyncExitStack, settings: Settings, keys: Keys, topic: str, books: Books
) -> CommitParts:
    """Started, and closed by `resources` in the right order. Raises LogUnavailableError, BooksUnavailableError; Redis
    may be away."""
    client = ShardClient(settings)
    resources.push_async_callback(client.aclose)
    epochs = FencedEpochs(client, settings)
    resources.push_async_callback(epochs.aclose)
    await epochs.start()
    producer = LogProducer(settings, topic)
    await producer.start()
    resources.push_async_callback(producer.stop)
    ends = LogEnds(settings, topic)
    await ends.start()
    resources.push_async_callback(ends.stop)

    amounts = Amounts(keys.split_key)
    resources.push_async_callback(amounts.aclose)
    loader = Loader(client, books)
    resources.push_async_callback(loader.aclose)
    funds = Funds(books, ends)
    resources.push_async_callback(funds.aclose)
    repeater = Repeater(settings, client, producer, amounts)
    resources.push_async_callback(repeater.aclose)
    path = CommitPath(settings, client, producer, amounts, loader, funds, repeater)
    resources.push_async_callback(path.aclose)
    return CommitParts(client, producer, amounts, loader, repeater, path)
