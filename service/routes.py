"""Every endpoint: its path, what is checked before it, what it takes and gives; the OpenAPI document is made of it."""

from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Response, Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from msgspec import Struct

from service.call import Call, check_key, check_operator, check_size, check_token, key_of
from service.claim_lists import ClaimLists
from service.claims import Claims
from service.operations import Operations
from service.outcomes import PENDING_HEADERS
from service.packets import Packets
from service.problems import MEDIA_TYPE, Code, Problem
from service.query import check_query
from service.statements import Statements
from service.topups import TopUps
from service.wallets import Wallets
from service.words import (
    Claim,
    ClaimList,
    ClaimRequest,
    CloseRequest,
    Operation,
    Packet,
    PacketRequest,
    Pending,
    Statement,
    TopUp,
    TopUpRequest,
    Wallet,
)

_KEY_PATTERN = r"^[!-~]{1,255}(?![\s\S])"
Key = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        pattern=_KEY_PATTERN,
        description="Of the caller's choice, one for each thing that is to happen once: a request is repeated with the "
        "key of the first. With other parameters it is 422.",
    ),
]
Id = Annotated[str, PathParameter(description="A packet's `id`, exactly as it was given.")]
# The framework sees it percent-encoded, so key_of checks it; to the document it is what it was when it was sent.
PathKey = Annotated[
    str,
    PathParameter(
        description="The `Idempotency-Key` of the request, percent-encoded.", schema_extra={"pattern": _KEY_PATTERN}
    ),
]
# A sequence number, and an account's version; to clients they are opaque.
After = Annotated[str, QueryParameter(pattern=r"^[0-9]{1,9}(?![\s\S])", description="`next` of the page before.")]
AfterVersion = Annotated[
    str, QueryParameter(name="after", pattern=r"^[0-9]{1,18}(?![\s\S])", description="`next` of the page before.")
]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="At most so many in one page.")]

_SAID = {200: "A repeat: what the first answer said, as of now.", 202: "Not known yet: ask the same again."}
_ANY = (
    Code.INVALID_REQUEST,
    Code.UNAUTHENTICATED,
    Code.METHOD_NOT_ALLOWED,
    Code.REQUEST_TIMEOUT,
    Code.HEADERS_TOO_LARGE,
    Code.OVERLOADED,
    Code.UNAVAILABLE,
)
_PACKET = (*_ANY, Code.NOT_FOUND, Code.SHARD_CLOSED)
_MOVE = (*_ANY, Code.TOO_LARGE, Code.SHARD_CLOSED, Code.IDEMPOTENCY_KEY_MISSING, Code.IDEMPOTENCY_KEY_REUSED)
_SEND = (*_MOVE, Code.INSUFFICIENT_FUNDS, Code.LIMIT_EXCEEDED)
_CLAIM = (*_PACKET, Code.TOO_LARGE, Code.SOLD_OUT, Code.PACKET_EXPIRED, Code.PACKET_CLOSED)


def _answers(codes: Sequence[Code], **others: type[Struct]) -> dict[int, ResponseSpec]:
    """For the document: what else a route answers, `status_N=Struct` each, and its refusals."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(code.status, []).append(f"`{code.code}`: {code.title}.")
    given = {int(name.removeprefix("status_")): struct for name, struct in others.items()}
    return {status: ResponseSpec(struct, False, _SAID[status]) for status, struct in given.items()} | {
        status: ResponseSpec(Problem, False, " ".join(said), media_type=MEDIA_TYPE)
        for status, said in by_status.items()
    }


def _respond(answered: tuple[int, Any]) -> Response[Any]:
    status, content = answered
    return Response(content, status_code=status, headers=PENDING_HEADERS if status == 202 else {})


def api_routes(
    claims: Claims,
    claim_lists: ClaimLists,
    packets: Packets,
    topups: TopUps,
    wallets: Wallets,
    statements: Statements,
    operations: Operations,
) -> Router:
    """All that needs a token. A new operation is one more of these functions, with its module beside packets.py."""
    return Router(
        "/v1",
        guards=[check_token],
        before_request=check_query,
        security=[{"token": []}],
        route_handlers=[
            *_wallet_routes(topups, wallets, statements),
            *_packet_routes(packets),
            *_claim_routes(claims, claim_lists),
            _operation_route(operations),
        ],
    )


def _wallet_routes(topups: TopUps, wallets: Wallets, statements: Statements) -> list[HTTPRouteHandler]:
    @post(
        "/topups",
        guards=[check_operator, check_size, check_key],
        response_description="Final.",
        opt={"kind": "topup"},
        responses=_answers((*_MOVE, Code.NOT_ALLOWED), status_200=TopUp, status_202=Pending),
    )
    async def top_up(request: Call, key: Key, data: JSONBody[TopUpRequest]) -> Response[TopUp]:
        """Move money into a wallet, from outside; answered once it is in the ledger."""
        return _respond(await topups.top_up(request.user.owner, key, data))

    @get("/wallet", response_description="As of now.", responses=_answers(_ANY))
    async def see_wallet(request: Call) -> Wallet:
        """The caller's wallet."""
        return await wallets.see_wallet(request.user.owner)

    @get("/wallet/entries", response_description="A page.", responses=_answers(_ANY))
    async def list_entries(request: Call, after: AfterVersion = "0", limit: Limit = 50) -> Statement:
        """What moved the caller's wallet, in the order in which it was settled, the first first."""
        return await statements.list_entries(request.user.owner, int(after), limit)

    return [top_up, see_wallet, list_entries]


def _packet_routes(packets: Packets) -> list[HTTPRouteHandler]:
    @post(
        "/packets",
        guards=[check_size, check_key],
        response_description="Final.",
        opt={"kind": "packet"},
        responses=_answers(_SEND, status_200=Packet, status_202=Pending),
    )
    async def send_packet(request: Call, key: Key, data: JSONBody[PacketRequest]) -> Response[Packet]:
        """Put money of the caller's into a packet that others may claim shares of."""
        return _respond(await packets.send_packet(request.user.owner, key, data))

    @get("/packets/{id:str}", response_description="As of now.", responses=_answers(_PACKET, status_202=Pending))
    async def see_packet(id: Id) -> Response[Packet]:
        """A packet as it is now."""
        return _respond(await packets.see_packet(id))

    @post(
        "/packets/{id:str}/close",
        guards=[check_size],
        status_code=200,
        response_description="Final.",
        opt={"kind": "close"},
        responses=_answers((*_PACKET, Code.TOO_LARGE, Code.NOT_ALLOWED), status_202=Pending),
    )
    async def close_packet(request: Call, id: Id, data: JSONBody[CloseRequest]) -> Response[Packet]:
        """End a packet of the caller's: what nobody has claimed goes back to him, once."""
        return _respond(await packets.close_packet(request.user.owner, id))

    return [send_packet, see_packet, close_packet]


def _claim_routes(claims: Claims, claim_lists: ClaimLists) -> list[HTTPRouteHandler]:
    @post(
        "/packets/{id:str}/claims",
        guards=[check_size],
        response_description="Final.",
        opt={"kind": "claim"},
        responses=_answers(_CLAIM, status_200=Claim, status_202=Pending),
    )
    async def claim_share(request: Call, id: Id, data: JSONBody[ClaimRequest]) -> Response[Claim]:
        """Claim a share for the caller, who has at most one."""
        return _respond(await claims.claim_share(id, request.user.owner))

    @get("/packets/{id:str}/claims", response_description="A page.", responses=_answers(_PACKET, status_202=Pending))
    async def list_claims(id: Id, after: After = "0", limit: Limit = 50) -> Response[ClaimList]:
        """The confirmed claims of a packet, in the order in which they were made."""
        return _respond(await claim_lists.list_claims(id, int(after), limit))

    @get(
        "/packets/{id:str}/claims/me",
        response_description="Final.",
        responses=_answers((*_PACKET, Code.NOT_CLAIMED), status_202=Pending),
    )
    async def see_claim(request: Call, id: Id) -> Response[Claim]:
        """The caller's claim."""
        return _respond(await claim_lists.see_claim(id, request.user.owner))

    return [claim_share, list_claims, see_claim]


def _operation_route(operations: Operations) -> HTTPRouteHandler:
    @get(
        "/operations/{idempotency_key:str}",
        response_description="What became of it, as of now.",
        responses=_answers(_PACKET, status_202=Pending),
    )
    async def see_operation(request: Call, idempotency_key: PathKey) -> Response[Operation]:
        """What became of a request of the caller's; 404 while it has not been seen."""
        return _respond(await operations.see_operation(request.user.owner, key_of(idempotency_key)))

    return see_operation
