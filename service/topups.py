"""To top up a wallet: an operator moves money into it from the funding account of his own shard."""

import asyncio

from redpacket.books.database import BooksUnavailableError
from redpacket.commit.path import CommitPath
from redpacket.events import TopUpTerms
from redpacket.ids import identity_of, shard_of
from redpacket.settings import Settings
from redpacket.shard import reserve
from service.outcomes import count, key_reused, refusal
from service.packets import check_currency
from service.settled import SettledOperations
from service.words import Pending, TopUp, TopUpRequest

_LOOK_AGAIN_S = 0.02


class TopUps:
    def __init__(self, settings: Settings, id_key: bytes, path: CommitPath, ledger: SettledOperations) -> None:
        self._settings = settings
        self._id_key = id_key
        self._path = path
        self._ledger = ledger

    async def top_up(self, operator: str, key: str, asked: TopUpRequest) -> tuple[int, TopUp | Pending]:
        """201 once it is in the ledger, 200 where it was made before, 202 where that is not so in the request's time.

        Raises ProblemError, and as CommitPath.reserve_operation.
        """
        deadline_s = asyncio.get_running_loop().time() + self._settings.request_timeout_ms / 1000
        check_currency(asked.currency, self._settings.currency)
        terms = TopUpTerms(operator, asked.owner, self._settings.currency, asked.amount)
        shard, identity = shard_of(operator, self._settings.shards), identity_of(self._id_key, operator, key)
        answered = await self._path.reserve_operation(shard, identity, None, asked.amount, terms)
        match answered.result:
            case reserve.OperationFound() as found if found.terms != terms:
                raise key_reused()
            case reserve.OperationFound(id):
                if not await self._settled(identity, deadline_s):
                    count("topup", "pending")
                    return 202, Pending(id=id)
                count("topup", "created" if answered.fresh else "repeated")
                return 201 if answered.fresh else 200, TopUp(id, asked.owner, asked.amount, terms.currency)
            case reserve.Refused() as refused:
                raise refusal(refused)
            case reserve.Pending(id=id):
                count("topup", "pending")
                return 202, Pending(id=id)
        raise AssertionError(f"{answered.result} is no outcome of an operation")

    async def _settled(self, identity: str, deadline_s: float) -> bool:
        """True once the ledger has it, False where that is not known by the deadline."""
        try:
            async with asyncio.timeout_at(deadline_s):
                while not await self._ledger.has(identity):
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except (TimeoutError, BooksUnavailableError):
            return False
        return True
