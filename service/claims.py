"""To claim a share: the operation, and the short way to it past the framework for calls that need no further look."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from redpacket.commit.amounts import Amounts
from redpacket.commit.path import CommitPath
from redpacket.ops.health import answer
from redpacket.settings import Settings
from redpacket.shard import reserve
from service.auth import Authenticator
from service.connection import KNOWN
from service.outcomes import PENDING_HEADERS, count, refusal
from service.problems import Message, Send, answer_problem, problem_of
from service.reading import packet_id
from service.words import Claim, Pending, time_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PATH = re.compile(rb"/v1/packets/([0-9a-f]{38})/claims")
_PLAIN_BODIES = (b"{}", b"")

_PENDING_HEADERS = tuple((name.encode(), value.encode()) for name, value in PENDING_HEADERS.items())

_encode = msgspec.json.Encoder().encode


class Claims:
    def __init__(self, settings: Settings, path: CommitPath, amounts: Amounts) -> None:
        self._settings = settings
        self._path = path
        self._amounts = amounts

    async def claim_share(self, packet: str, owner: str) -> tuple[int, Claim | Pending]:
        """201 with the share, 200 where he has it already, 202 where the outcome is not known yet.

        Raises ProblemError, and as CommitPath.claim_share.
        """
        answered = await self._path.claim_share(packet_id(packet, self._settings.shards), owner)
        match answered.result:
            case reserve.ClaimFound(share, at_ms, split):
                # Of a new one they were drawn just now, to be published.
                amounts = await self._amounts.of_packet(packet, split, patient=answered.fresh)
                count("claim", "created" if answered.fresh else "repeated")
                claim = Claim(packet, share, amounts[share - 1], self._settings.currency, time_of(at_ms))
                return 201 if answered.fresh else 200, claim
            case reserve.Refused() as refused:
                raise refusal(refused)
            case _:
                count("claim", "pending")
                return 202, Pending(packet=packet)


class ClaimDoor:
    """Takes the claims that need no further look: a token seen before and an empty body. All else goes to `rest`,
    where the same operation has its route."""

    def __init__(self, claims: Claims, authenticator: Authenticator, rest: App) -> None:
        self._claims = claims
        self._authenticator = authenticator
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and (path := _PATH.fullmatch(scope["raw_path"])) and not scope["query_string"]:
            caller = self._authenticator.remembered_caller(scope["headers"])
            if caller is not None:
                scope["state"][KNOWN] = True
                first = await receive()
                if first["type"] == "http.request" and not first["more_body"] and first["body"] in _PLAIN_BODIES:
                    await self._claim(path[1].decode(), caller.owner, send)
                    return
                receive = _replay(first, receive)
        await self._rest(scope, receive, send)

    async def _claim(self, packet: str, owner: str, send: Send) -> None:
        try:
            status, claim = await self._claims.claim_share(packet, owner)
        except Exception as error:  # noqa: BLE001 problem_of logs what nobody expected
            problem = problem_of(error)
            count("claim", problem.code.code)
            await answer_problem(send, problem)
        else:
            await answer(send, status, _encode(claim), "application/json", _PENDING_HEADERS if status == 202 else ())


def _replay(first: Message, receive: Receive) -> Receive:
    """A `receive` that gives `first` once more, then goes on."""
    held: list[Message] = [first]

    async def receive_again() -> Message:
        return held.pop() if held else await receive()

    return receive_again
