"""`redpacket demo`: one packet, many people at once, each twice, as a phone retries; then every fen is looked for."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import httpx

from redpacket.books.database import Books
from redpacket.ids import date_of
from redpacket.settings import Settings
from redpacket.stack.tokens import token_issuer

_TOTAL_PER_SHARE_MINOR = 888
_SHOWN = 10
# People who ask at one time, each with a client of two connections. At each request a client of httpx looks through all
# its connections, and through all who wait for one: of 20,000 requests at once most of the work was that.
_AT_ONCE = 100
_LIMITS = httpx.Limits(max_connections=2)
_PROGRESS_S = 1.0
# For an answer, and for one that is final.
_ANSWER_S, _PATIENCE_S = 15.0, 60.0
_LOOK_AGAIN_S = 0.1

Say = Callable[[str], None]
_Connect = Callable[[], httpx.AsyncClient]
# A person, and what they were told twice.
_Answers = tuple[str, httpx.Response, httpx.Response]


class DemoError(Exception):
    """The stack did not answer as it should; nothing was checked."""


class _Phone:
    """One person's client: it asks again where the answer says so, as an app would."""

    def __init__(self, http: httpx.AsyncClient, owner: str, token: str) -> None:
        self._http = http
        self.owner = owner
        self._headers = {"Authorization": f"Bearer {token}"}

    async def post(self, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    try:
                        answer = await self._http.post(path, json=body, headers=headers)
                    except httpx.TransportError:
                        await asyncio.sleep(_LOOK_AGAIN_S)
                        continue
                    if answer.status_code not in (202, 429, 503):
                        return answer
                    await asyncio.sleep(float(answer.headers.get("Retry-After", _LOOK_AGAIN_S)))
        except TimeoutError:
            raise DemoError(f"{self.owner} got no final answer to POST {path} in {_PATIENCE_S:g} s") from None

    async def get(self, path: str, params: dict[str, str]) -> httpx.Response:
        return (await self._http.get(path, params=params, headers=self._headers)).raise_for_status()


async def run_demo(settings: Settings, url: str, shares: int, people: int, say: Say, tell: Say) -> int:
    """Says who got what and the conservation line, computed from Postgres, and tells meanwhile how far it is. The exit
    status: 0 only if all holds. Raises StackError, DemoError and httpx.HTTPError."""
    run, token = secrets.token_hex(3), token_issuer(settings)
    connect = _connector(url)
    async with connect() as http:
        operator = _Phone(http, "demo-operator", token("demo-operator", "operator"))
        sender = f"demo-{run}-sender"
        packet = await _send(operator, _Phone(http, sender, token(sender, "")), shares, run)
        say(f"{sender} sent packet {packet['id']}: {packet['total']} fen in {shares} shares")
        owners = [f"demo-{run}-{n:04d}" for n in range(people)]
        path = f"/v1/packets/{packet['id']}/claims"
        pairs = await _claim(connect, owners, token, path, tell)
        claims: dict[str, Any] = {owner: first.json() for owner, first, _ in pairs if first.is_success}
        _show(claims, people, say)
        await _show_best_luck(operator, path, say)
    tell("waiting until the ledger has all of it")
    problems = _check_answers(pairs, min(shares, people), claims)
    problems += await _check_ledger(settings, packet, claims, say)
    for problem in problems:
        say(f"FAILED: {problem}")
    say("all holds" if not problems else f"{len(problems)} checks failed")
    return 1 if problems else 0


def _connector(url: str) -> _Connect:
    # What certificates to trust is read once, for all clients.
    trusted = ssl.create_default_context()
    return partial(httpx.AsyncClient, base_url=url, timeout=_ANSWER_S, limits=_LIMITS, verify=trusted, trust_env=False)


async def _claim(
    connect: _Connect, owners: list[str], token: Callable[[str, str], str], path: str, tell: Say
) -> list[_Answers]:
    """What each was answered, in some order: many at a time, and each of them twice at once."""
    pairs: list[_Answers] = []
    waiting = iter(owners)

    async def claim_in_turn() -> None:
        async with connect() as http:
            for owner in waiting:
                phone = _Phone(http, owner, token(owner, ""))
                first, second = await asyncio.gather(phone.post(path, {}), phone.post(path, {}))
                pairs.append((owner, first, second))

    def progress() -> str:
        return f"{len(pairs)} of {len(owners)} people have their answers"

    try:
        async with _told(tell, progress), asyncio.TaskGroup() as crowd:
            for _ in range(min(_AT_ONCE, len(owners))):
                crowd.create_task(claim_in_turn())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return pairs


@asynccontextmanager
async def _told(tell: Say, progress: Callable[[], str]) -> AsyncIterator[None]:
    """Tells the progress every second, and once more at the end."""

    async def tell_again() -> None:
        while True:
            await asyncio.sleep(_PROGRESS_S)
            tell(progress())

    telling = asyncio.create_task(tell_again())
    try:
        yield
    finally:
        telling.cancel()
        tell(progress())


async def _send(operator: _Phone, sender: _Phone, shares: int, run: str) -> dict[str, Any]:
    total = _TOTAL_PER_SHARE_MINOR * shares
    (await operator.post("/v1/topups", {"owner": sender.owner, "amount": total}, f"topup-{run}")).raise_for_status()
    body = {"kind": "lucky", "total": total, "shares": shares, "greeting": "恭喜发财"}
    answer = await sender.post("/v1/packets", body, f"packet-{run}")
    packet: dict[str, Any] = answer.raise_for_status().json()
    return packet


def _show(claims: dict[str, Any], people: int, say: Say) -> None:
    ranked = sorted(claims.items(), key=lambda it: (-it[1]["amount"], it[1]["claimed_at"]))
    for owner, claim in ranked[:_SHOWN]:
        say(f"  {owner}  share {claim['share']:>5}  {claim['amount']:>8} fen")
    if len(ranked) > _SHOWN:
        say(f"  ... and {len(ranked) - _SHOWN} more")
    say(f"{len(claims)} of {people} people got a share; {people - len(claims)} came too late")


async def _show_best_luck(phone: _Phone, path: str, say: Say) -> None:
    """As everyone sees it in the list of claims, once the packet is final."""
    after: str | None = ""
    while after is not None:
        page = (await phone.get(path, {"limit": "200"} | ({"after": after} if after else {}))).json()
        for claim in page["claims"]:
            if claim["best"]:
                say(f"best luck: {claim['owner']} with {claim['amount']} fen")
        after = page["next"]


def _check_answers(pairs: list[_Answers], winners: int, claims: dict[str, Any]) -> list[str]:
    problems = []
    for owner, first, second in pairs:
        codes = {first.status_code, second.status_code}
        if codes <= {200, 201}:
            if first.json() != second.json():
                problems.append(f"{owner} was told two things: {first.text} and {second.text}")
        elif codes != {409}:
            problems.append(f"{owner} was answered {first.status_code} and {second.status_code}")
    if len({claim["share"] for claim in claims.values()}) != len(claims):
        problems.append("a share was given twice")
    if len(claims) != winners:
        problems.append(f"{len(claims)} people got a share, {winners} should have")
    return problems


async def _check_ledger(settings: Settings, packet: dict[str, Any], claims: dict[str, Any], say: Say) -> list[str]:
    """The same from the other side: what Postgres holds."""
    books = Books(settings)
    await books.start()
    async with aclosing(books):
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                row = await books.row("packet_conservation", packet["id"], days=[date_of(packet["id"])])
                if row is not None and row["claims"] >= len(claims):
                    break
                await asyncio.sleep(_LOOK_AGAIN_S)
        (totals,) = await books.rows("ledger_totals")
    say(
        f"conservation: total {row['total_minor']} = claimed {row['claims_minor']} + refunded {row['refunded_minor']}"
        f" + remaining {row['escrow_minor']}"
    )
    say(f"the whole ledger: debits {totals['debits_minor']} = credits {totals['credits_minor']}")
    problems = []
    if row["claims_minor"] != sum(claim["amount"] for claim in claims.values()) or row["claims"] != len(claims):
        problems.append("what people were told and what the ledger holds differ")
    if row["total_minor"] != row["claims_minor"] + row["refunded_minor"] + row["escrow_minor"]:
        problems.append("total = claimed + refunded + remaining does not hold")
    if row["claims_minor"] != row["claimed_minor"] or row["claims"] != row["claimed_shares"]:
        problems.append("the packet and its claims differ")
    if totals["debits_minor"] != totals["credits_minor"]:
        problems.append("debits and credits differ")
    return problems
