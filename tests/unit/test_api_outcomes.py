"""What the API answers to whatever the path of an outflow may say, by the short way and by the framework's."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, TypeVar, cast

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from redpacket.books.database import Books, BooksUnavailableError
from redpacket.commit.amounts import Amounts
from redpacket.commit.lane import Answer
from redpacket.commit.path import CommitPath
from redpacket.events import PacketTerms, TopUpTerms
from redpacket.log.producer import LogUnavailableError
from redpacket.operations import Claim
from redpacket.settings import Settings
from redpacket.shard.client import MemoryFullError, ShardClosedError, ShardUnreachableError
from redpacket.shard.outbox import Entry, ReservedClaim
from redpacket.shard.read import ClaimAnswer, ClaimPage, HeldOperation, HeldPacket, PacketHead
from redpacket.shard.reserve import ClaimFound, OperationFound, Pending, Refused
from redpacket.split import SplitParameters, split_amounts
from service.app import build_app
from service.auth import Authenticator
from service.claim_lists import ClaimLists
from service.claims import ClaimDoor, Claims
from service.door import Door
from service.operations import Operations
from service.packets import Packets
from service.reading import PacketReader, not_found
from service.routes import api_routes
from service.settled import SettledOperations
from service.statements import Statements
from service.topups import TopUps
from service.wallets import Wallets

T = TypeVar("T")

KEY = Ed25519PrivateKey.generate()
ID = "00512d" + "0" * 32
AT_MS = 1_771_315_200_123
SPLIT = SplitParameters("lucky", 1000, 4, 1000, 1)
SETTINGS = Settings(postgres_url="", redis_url="", kafka_bootstrap="", keys_dir="", request_timeout_ms=300)


class Parts:
    """Stands for the path, the books and what reads Redis: says what it is told to say."""

    def __init__(self) -> None:
        self.says: Answer | Exception = Answer(Refused("late"), 0)
        self.settled: bool | Exception = True
        self.held: HeldPacket | Exception = not_found()
        self.listed: list[Claim] = []
        self.own = ClaimAnswer(0, ())
        self.asked_for = HeldOperation(ID, 0, TopUpTerms("alice", "bob", "CNY", 500))
        self.asked: list[Any] = []

    async def claim_share(self, *asked: Any) -> Answer:
        self.asked.append(asked)
        return _said(self.says)

    async def reserve_operation(self, *asked: Any) -> Answer:
        self.asked.append(asked)
        return _said(self.says)

    async def rows(self, query: str, *args: Any) -> list[Any]:
        settled = _said(self.settled)
        if query == "settled_shares":
            return [{"share": share} for share in args[2]] if settled else []
        assert query == "settled_operations"
        return [{"identity": identity} for identity in args[0]] if settled else []

    async def operation(self, _shard: int, _identity: str) -> HeldOperation:
        return self.asked_for

    async def packet(self, _: Any) -> HeldPacket:
        return _said(self.held)

    async def claims(self, _: Any, after: int, limit: int) -> ClaimPage:
        rest = [claim for claim in self.listed if claim.sequence > after]
        return ClaimPage(tuple(rest[:limit]), rest[limit - 1].sequence if len(rest) > limit else 0)

    async def claim(self, _id: Any, _owner: str) -> ClaimAnswer:
        return self.own


def _said(told: T | Exception) -> T:
    if isinstance(told, Exception):
        raise told
    return told


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def api(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    amounts = Amounts(b"k" * 32)
    path, books, reader = cast("CommitPath", parts), cast("Books", parts), cast("PacketReader", parts)
    authenticator = Authenticator(SETTINGS, KEY.public_key())
    claims, ledger = Claims(SETTINGS, path, amounts), SettledOperations(books)
    routes = api_routes(
        claims,
        ClaimLists(SETTINGS, books, amounts, reader),
        Packets(SETTINGS, b"i" * 32, path, amounts, reader),
        TopUps(SETTINGS, b"i" * 32, path, ledger),
        Wallets(SETTINGS, books),
        Statements(SETTINGS, books),
        Operations(SETTINGS, b"i" * 32, ledger, reader),
    )
    app = ClaimDoor(claims, authenticator, build_app(routes, authenticator, lambda: ""))
    door: Any = Door(app, asyncio.Event(), 100)
    good = {"iss": "redpacket", "aud": "redpacket", "sub": "alice", "scope": "operator", "exp": int(time.time()) + 600}
    headers = {"Authorization": f"Bearer {jwt.encode(good, KEY, algorithm='EdDSA')}"}
    transport = httpx.ASGITransport(door)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


def problem_in(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    return answer.status_code, answer.json()["code"]


async def send(api: httpx.AsyncClient, **asked: Any) -> httpx.Response:
    body = {"kind": "lucky", "total": 1000, "shares": 4, **asked}
    return await api.post("/v1/packets", json=body, headers={"Idempotency-Key": secrets.token_hex(4)})


async def top_up(api: httpx.AsyncClient) -> httpx.Response:
    body = {"owner": "bob", "amount": 500}
    return await api.post("/v1/topups", json=body, headers={"Idempotency-Key": "k"})


REFUSALS: list[tuple[Any, int, str]] = [
    (Refused("not_found"), 404, "not_found"),
    (Refused("sold_out"), 409, "sold_out"),
    (Refused("expired"), 410, "packet_expired"),
    (Refused("closed"), 410, "packet_closed"),
    (Refused("busy"), 503, "unavailable"),
    (Refused("late"), 503, "unavailable"),
    (Refused("frozen"), 503, "unavailable"),
    (Refused("overloaded"), 503, "overloaded"),
    (Refused("short"), 402, "insufficient_funds"),
]
ERRORS: list[tuple[Any, int, str]] = [
    (ShardClosedError("x"), 503, "shard_closed"),
    (ShardUnreachableError("x"), 503, "unavailable"),
    (MemoryFullError("x"), 503, "overloaded"),
    (BooksUnavailableError("x"), 503, "unavailable"),
    (LogUnavailableError("x"), 503, "unavailable"),
    (TimeoutError(), 503, "unavailable"),
    (RuntimeError("a bug"), 503, "unavailable"),
]


@pytest.mark.parametrize(("said", "status", "code"), REFUSALS + ERRORS)
async def test_every_refusal_has_its_code(
    api: httpx.AsyncClient, parts: Parts, said: Any, status: int, code: str
) -> None:
    parts.says = said if isinstance(said, Exception) else Answer(said, 0)
    # The first call of a token goes the framework's way, the next ones the short way.
    for _ in range(2):
        assert problem_in(await api.post(f"/v1/packets/{ID}/claims")) == (status, code)
    assert problem_in(await send(api)) == (status, code)
    assert problem_in(await top_up(api)) == (status, code)
    assert len(parts.asked) == 4


async def test_a_pending_claim_is_a_202(api: httpx.AsyncClient, parts: Parts) -> None:
    parts.says = Answer(Pending(7, AT_MS), AT_MS)
    for _ in range(2):
        answer = await api.post(f"/v1/packets/{ID}/claims")
        assert (answer.status_code, answer.json()) == (202, {"state": "pending", "packet": ID})


@pytest.mark.parametrize(("fresh", "status"), [(True, 201), (False, 200)])
async def test_a_claim_has_the_amount_of_its_share(
    api: httpx.AsyncClient, parts: Parts, fresh: bool, status: int
) -> None:
    parts.says = Answer(ClaimFound(3, AT_MS, SPLIT), AT_MS, fresh)
    amount = split_amounts(Amounts(b"k" * 32).seed(ID), SPLIT)[2]
    claim = {"packet": ID, "share": 3, "amount": amount, "currency": "CNY", "claimed_at": "2026-02-17T08:00:00.123Z"}
    for _ in range(2):
        answer = await api.post(f"/v1/packets/{ID}/claims", json={})
        assert (answer.status_code, answer.json()) == (status, claim)


async def test_a_pending_send_or_top_up_is_a_202_with_its_id(api: httpx.AsyncClient, parts: Parts) -> None:
    parts.says = Answer(Pending(7, AT_MS, ID), AT_MS)
    for answer in (await send(api), await top_up(api)):
        assert (answer.status_code, answer.json()) == (202, {"state": "pending", "id": ID})


@pytest.mark.parametrize("settled", [False, BooksUnavailableError("x")])
async def test_a_top_up_that_is_not_seen_in_the_ledger_is_a_202_with_its_id(
    api: httpx.AsyncClient, parts: Parts, settled: bool | Exception
) -> None:
    parts.settled = settled

    async def reserve(shard: int, identity: str, payer: Any, amount: int, terms: Any) -> Answer:
        assert payer is None
        return Answer(OperationFound(ID, AT_MS, terms), AT_MS, fresh=True)

    parts.reserve_operation = reserve  # type: ignore[method-assign]
    answer = await top_up(api)
    assert (answer.status_code, answer.json()) == (202, {"state": "pending", "id": ID})
    parts.settled = True
    answer = await top_up(api)
    assert (answer.status_code, answer.json()["id"]) == (201, ID)


def held(**changed: Any) -> HeldPacket:
    terms = PacketTerms("alice", "CNY", SPLIT, "hi", 60)
    head = {"now_ms": AT_MS, "send_entry": 0, "handed_out": 0, "taken": 0, "state": "", "holes": (), **changed}
    entries = head.pop("entries", ())
    return HeldPacket(PacketHead(at_ms=AT_MS, terms=terms, expires_at_ms=AT_MS + 60_000, **head), entries)


def entry(*shares: int, packet: str = ID) -> Entry:
    return Entry(AT_MS, ((packet, SPLIT),), tuple(ReservedClaim(packet, f"p{n}", n, n) for n in shares))


@pytest.mark.parametrize(
    ("packet", "state", "confirmed"),
    [
        (held(), "open", []),
        (held(handed_out=2, taken=2), "open", [1, 2]),
        (held(handed_out=3, taken=2, holes=(2,)), "open", [1, 3]),
        (held(handed_out=3, taken=3, entries=(entry(2), entry(3))), "open", [1]),
        (held(handed_out=3, taken=3, entries=(entry(3, packet="another"),)), "open", [1, 2, 3]),
        (held(handed_out=4, taken=4), "sold_out", [1, 2, 3, 4]),
        (held(handed_out=4, taken=4, entries=(entry(4),)), "open", [1, 2, 3]),
        (held(handed_out=4, taken=3, holes=(4,)), "open", [1, 2, 3]),
        (held(handed_out=2, taken=2, state="closing"), "closing", [1, 2]),
        (held(handed_out=2, taken=2, now_ms=AT_MS + 59_999), "open", [1, 2]),
        (held(handed_out=2, taken=2, now_ms=AT_MS + 60_000), "closing", [1, 2]),
        (held(handed_out=4, taken=4, now_ms=AT_MS + 60_000), "sold_out", [1, 2, 3, 4]),
        (held(handed_out=2, taken=2, state="closed"), "closed", [1, 2]),
        (held(handed_out=4, taken=3, holes=(2,), state="expired"), "expired", [1, 3, 4]),
    ],
)
async def test_a_packet_counts_confirmed_claims_only(
    api: httpx.AsyncClient, parts: Parts, packet: HeldPacket, state: str, confirmed: list[int]
) -> None:
    parts.held = packet
    seen = (await api.get(f"/v1/packets/{ID}")).json()
    amounts = split_amounts(Amounts(b"k" * 32).seed(ID), SPLIT)
    assert seen["state"] == state
    left, shares_left = 1000 - sum(amounts[share - 1] for share in confirmed), 4 - len(confirmed)
    over = state in ("closed", "expired")
    assert (seen["remaining"], seen["remaining_shares"]) == ((0, 0) if over else (left, shares_left))
    assert seen["refunded"] == (left if over else 0)
    assert ("seed" in seen) == (over or state == "sold_out")


async def test_while_the_send_is_pending_everything_of_the_packet_is(api: httpx.AsyncClient, parts: Parts) -> None:
    parts.held = held(send_entry=9)
    for path in ("", "/claims", "/claims/me"):
        answer = await api.get(f"/v1/packets/{ID}{path}")
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")


async def test_a_claim_that_is_pending_is_not_told(api: httpx.AsyncClient, parts: Parts) -> None:
    parts.held = held(handed_out=1, taken=1)
    parts.own = ClaimAnswer(5, (Claim("alice", 1, 1, AT_MS),))
    answer = await api.get(f"/v1/packets/{ID}/claims/me")
    assert (answer.status_code, answer.json()) == (202, {"state": "pending", "packet": ID})


async def test_the_list_is_there_when_the_ledger_is_not_but_nothing_is_called_settled(
    api: httpx.AsyncClient, parts: Parts
) -> None:
    parts.held = held(handed_out=2, taken=2)
    parts.listed = [Claim("bob", 1, 1, AT_MS), Claim("carol", 2, 2, AT_MS)]
    claims = (await api.get(f"/v1/packets/{ID}/claims")).json()["claims"]
    assert [claim["settled"] for claim in claims] == [True, True]
    parts.settled = BooksUnavailableError("x")
    claims = (await api.get(f"/v1/packets/{ID}/claims")).json()["claims"]
    assert [claim["settled"] for claim in claims] == [False, False]


async def test_a_top_up_is_neither_captured_nor_pending_while_the_ledger_cannot_be_asked(
    api: httpx.AsyncClient, parts: Parts
) -> None:
    for settled, status in ((True, 200), (False, 202)):
        parts.settled = settled
        assert (await api.get("/v1/operations/k")).status_code == status
    parts.settled = BooksUnavailableError("x")
    assert problem_in(await api.get("/v1/operations/k")) == (503, "unavailable")
    parts.asked_for = HeldOperation(ID, 9, parts.asked_for.terms)
    answer = await api.get("/v1/operations/k")
    assert (answer.status_code, answer.json()) == (202, {"state": "pending", "id": ID})


async def test_a_send_that_died_while_it_was_looked_at_is_pending(api: httpx.AsyncClient, parts: Parts) -> None:
    parts.asked_for = HeldOperation(ID, 0, PacketTerms("alice", "CNY", SPLIT, "hi", 60))
    parts.held = held(send_entry=9)
    answer = await api.get("/v1/operations/k")
    assert (answer.status_code, answer.json()) == (202, {"state": "pending", "id": ID})
    parts.held = not_found()
    assert problem_in(await api.get("/v1/operations/k")) == (404, "not_found")
