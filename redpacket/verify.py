"""`redpacket verify`: a final packet's shares, recomputed from what everyone sees of it through the API.

It knows no key of the deployment's, only a token of anybody's to ask with: docs/verify.mjs does the same in JavaScript.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx

from redpacket.split import SplitError, SplitParameters, check_parameters, commitment, split_amounts

_TIMEOUT_S = 30.0

Packet = dict[str, Any]
Say = Callable[[str], None]


class UnverifiableError(Exception):
    """There is nothing to verify: the packet is not there, not final, or the service does not answer."""


async def verify_packet(url: str, token: str, packet: str, say: Say) -> int:
    """Says what was compared. The exit status: 0 only if all matches. Raises UnverifiableError."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False) as http:
            path = f"/v1/packets/{quote(packet, safe='')}"
            seen = await _get(http, path, {})
            if "seed" not in seen:
                raise UnverifiableError(f"packet {packet} is {seen['state']}: its seed is published once it is final")
            claims = [claim async for page in _pages(http, path) for claim in page]
        problems = list(check_packet(seen, claims))
    except httpx.HTTPError as error:
        raise UnverifiableError(f"the service at {url} does not answer: {error!r}") from None
    except (LookupError, TypeError, AttributeError) as error:
        raise UnverifiableError(f"what answers at {url} is no redpacket: {error!r}") from None
    say(f"packet {packet}: {seen['state']}, {seen['kind']}, {seen['total']} in {seen['shares']} shares")
    say(f"seed        {seen['seed']}")
    say(f"commitment  {seen['commitment']}: compare it with what you were shown before anyone had claimed")
    say(
        f"claims      {len(claims)} of {seen['shares']} shares, {sum(it['amount'] for it in claims)} of {seen['total']}"
    )
    for problem in problems:
        say(f"FAILED: {problem}")
    say("all match" if not problems else f"{len(problems)} do not match")
    return 1 if problems else 0


def check_packet(packet: Packet, claims: list[dict[str, Any]]) -> Iterator[str]:
    """A sentence for everything in which the packet, as the API tells it, is not what its seed makes of it."""
    split = SplitParameters(packet["kind"], packet["total"], packet["shares"], packet["cap"], packet["min"])
    try:
        check_parameters(split)
        seed = bytes.fromhex(packet["seed"])
        amounts = split_amounts(seed, split)
    except (SplitError, ValueError) as error:
        yield f"there is no such split: {error}"
        return
    if (made := commitment(seed, split)) != packet["commitment"]:
        yield f"the seed and the parameters make the commitment {made}, not {packet['commitment']}"
    by_share = {claim["share"]: claim for claim in claims}
    if len(by_share) != len(claims):
        yield "a share was given to two people"
    if len({claim["owner"] for claim in claims}) != len(claims):
        yield "somebody has two shares"
    for share, claim in sorted(by_share.items()):
        right = amounts[share - 1] if 1 <= share <= split.shares else None
        if claim["amount"] != right:
            yield f"{claim['owner']} was given {claim['amount']} for share {share}, which is {right}"
    left_minor = sum(amount for share, amount in enumerate(amounts, 1) if share not in by_share)
    if packet["refunded"] != left_minor:
        yield f"{packet['refunded']} went back to the sender, the shares that nobody claimed are {left_minor}"
    yield from _check_state(packet, len(by_share))
    yield from _check_best(packet, claims)


def _check_state(packet: Packet, claimed_shares: int) -> Iterator[str]:
    """Sold out is what has every share claimed; what is final has nothing left."""
    if (packet["state"] == "sold_out") != (claimed_shares == packet["shares"]):
        yield f"it is said to be {packet['state']}, of {packet['shares']} shares {claimed_shares} are claimed"
    if packet["remaining"] or packet["remaining_shares"]:
        yield f"{packet['remaining']} in {packet['remaining_shares']} shares are said to remain of what is final"


def _check_best(packet: Packet, claims: list[dict[str, Any]]) -> Iterator[str]:
    """The largest amount, on a tie the earlier claim: the list is in the order of claims."""
    lucky = packet["kind"] == "lucky" and claims
    best = [max(claims, key=lambda claim: claim["amount"])["owner"]] if lucky else []
    told = [claim["owner"] for claim in claims if claim["best"]]
    if told != best:
        yield f"best luck is said to be {told}, it is {best}"


async def _pages(http: httpx.AsyncClient, path: str) -> Any:
    after: str | None = ""
    while after is not None:
        page = await _get(http, f"{path}/claims", {"limit": "200"} | ({"after": after} if after else {}))
        after = page["next"]
        yield page["claims"]


async def _get(http: httpx.AsyncClient, path: str, params: dict[str, str]) -> Packet:
    answer = await http.get(path, params=params)
    if answer.status_code != 200:
        raise UnverifiableError(f"GET {path} is answered {answer.status_code}: {answer.text}")
    try:
        seen: Packet = answer.json()
    except ValueError:
        raise UnverifiableError(f"GET {path} is answered with what is no JSON") from None
    return seen
