"""Whether the ledger holds what people were told, all of it and nothing else."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from loadtest.auditor.evidence import Claim, Evidence, Packet
from loadtest.auditor.told import Told
from loadtest.record.wire import LIST_LIMIT
from loadtest.record.words import Request

# What never changes in a packet's body; of the other bodies, everything.
_FIXED = ("id", "owner", "kind", "total", "shares", "commitment", "expires_at")
_FINAL = ("sold_out", "closed", "expired")
_DAY_S = 86_400


def check_told(told: Told, evidence: Evidence) -> Iterator[str]:
    """A sentence for everything that is wrong, beginning with the invariant."""
    yield from _check_topups(told, evidence)
    packets = {packet.id: packet for packet in evidence.packets}
    claims = {(claim.packet, claim.owner): claim for claim in evidence.claims}
    yield from _check_packets(told, packets)
    yield from _check_claims(told, claims)
    yield from _check_repeats(told)
    yield from _check_unknown(told, evidence)
    yield from _check_money(told, evidence)


def _check_topups(told: Told, evidence: Evidence) -> Iterator[str]:
    owners = {account.id: account.owner for account in evidence.accounts}
    made = {it.operation: (owners[it.credit], it.amount) for it in evidence.postings if it.kind == "topup"}
    for request in told.said_yes("topup"):
        body = request.answer.body
        if made.get(body["id"]) != (body["owner"], body["amount"]):
            yield f"I4 the ledger has {made.get(body['id'])} for {_words(request)}"
    asked = _asked_by_identity(told, "topup")
    for id, (owner, amount) in made.items():
        first = asked.get(id[-32:])
        if first is None or first.asked.body != {"owner": owner, "amount": amount}:
            yield f"I5 nobody asked for top-up {id} of {amount} for {owner}"


def _check_packets(told: Told, packets: dict[str, Packet]) -> Iterator[str]:
    asked = _asked_by_identity(told, "send")
    for packet in packets.values():
        request = asked.get(packet.id[-32:])
        if request is None or not _is_as_asked(packet, request):
            yield f"I5 nobody asked for {packet}"
        if packet.state == "closed" and f"close {packet.owner}  {packet.id}" not in told.operations:
            yield f"I5 nobody asked to close {packet}"
        if packet.state == "expired" and packet.over_at_ms < packet.expires_at_ms:
            yield f"I5 before its time: {packet}"
    for id, requests in told.by_packet("send", "close", "see_packet").items():
        held = packets.get(id)
        for request in requests:
            if held is None or any(request.answer.body[name] != _fixed(held)[name] for name in _FIXED):
                yield f"I4 the ledger has {held} for {_words(request)}"
            elif (wrong := _wrong_state(held, request)) is not None:
                yield f"I4 {wrong}: {_words(request)}, and the ledger has {held}"


def _wrong_state(held: Packet, request: Request) -> str | None:
    body = request.answer.body
    state, left, refunded = body["state"], body["remaining"], body["refunded"]
    if state in _FINAL:
        if (state, refunded, left) != (held.state, held.refunded, 0):
            return "another end than the ledger's"
    elif request.asked.kind == "close":
        return "a close that did not close"
    elif refunded or not 0 < left <= held.total:
        return "not what an open packet has"
    return None


def _check_claims(told: Told, claims: dict[tuple[str, str], Claim]) -> Iterator[str]:
    asked = {(it.asked.packet, it.asked.owner) for it in told.requests if it.asked.kind == "claim"}
    yield from (f"I5 nobody asked for {claim}" for key, claim in claims.items() if key not in asked)
    for request in told.said_yes("claim") + told.said_yes("see_claim"):
        held, body = claims.get((request.asked.packet, request.asked.owner)), request.answer.body
        if held is None or (
            (held.packet, held.share, held.amount, held.at_ms)
            != (body["packet"], body["share"], body["amount"], _ms(body["claimed_at"]))
        ):
            yield f"I4 the ledger has {held} for {_words(request)}"
    yield from _check_lists(told, claims)


def _check_lists(told: Told, claims: dict[tuple[str, str], Claim]) -> Iterator[str]:
    """A list has every claim that was acknowledged before it was asked for, unless it goes on; and only true ones."""
    known: dict[str, dict[str, float]] = {}
    for request in told.said_yes("claim"):
        by_owner = known.setdefault(request.asked.packet, {})
        ended_s = request.ended_s or 0.0
        by_owner[request.asked.owner] = min(by_owner.get(request.asked.owner, ended_s), ended_s)
    for id, requests in told.by_packet("see_claims").items():
        for request in requests:
            listed = {it["owner"]: (it["share"], it["amount"]) for it in request.answer.body["claims"]}
            if len(listed) != len(request.answer.body["claims"]):
                yield f"I6 somebody is twice in the list of claims of {id}: {_words(request)}"
            for owner, what in listed.items():
                held = claims.get((id, owner))
                if held is None or what != (held.share, held.amount):
                    yield f"I4 the list of claims of {id} has {owner} with {what}, the ledger has {held}"
            acknowledged = {owner for owner, at_s in known.get(id, {}).items() if at_s < request.started_s}
            goes_on = request.answer.body["next"] is not None
            if goes_on and len(listed) < LIST_LIMIT:
                yield f"I4 the list of claims of {id} goes on behind {len(listed)}: {_words(request)}"
            if not goes_on and not acknowledged <= listed.keys():
                yield f"I4 the list of claims of {id} lacks {sorted(acknowledged - listed.keys())}: {_words(request)}"


def _check_repeats(told: Told) -> Iterator[str]:
    for operation, requests in told.operations.items():
        bodies = [it.answer.body for it in requests if it.answer.outcome == "ok"]
        if operation.startswith(("send", "close")):
            bodies = [{name: body[name] for name in _FIXED} for body in bodies]
        if any(body != bodies[0] for body in bodies):
            yield f"I6 {operation} was told different things: {bodies}"


def _check_unknown(told: Told, evidence: Evidence) -> Iterator[str]:
    """Each is known in the end, and one that ended with a no has left nothing in the ledger."""
    operations = Counter(id[-32:] for id, _ in evidence.operations)
    claims = {(claim.packet, claim.owner) for claim in evidence.claims}
    for operation, requests in told.operations.items():
        if any(it.answer.outcome == "ok" for it in requests):
            continue
        asked = requests[-1].asked
        if requests[-1].answer.outcome == "unknown":
            yield f"I7 {operation} is still not known: {requests[-1].answer}"
        elif (asked.kind == "claim" and (asked.packet, asked.owner) in claims) or (
            operations[told.identities.get(operation, "")]
        ):
            yield f"I7 {operation} was refused in the end, and the ledger has it"


def _check_money(told: Told, evidence: Evidence) -> Iterator[str]:
    """What owners see of their wallets is what the ledger has, and together what was topped up."""
    balances = {(it.owner, it.kind): it.credits - it.debits for it in evidence.accounts}
    seen = {it.asked.owner: it.answer.body for it in told.said_yes("see_wallet")}
    for owner, wallet in seen.items():
        held = (balances.get((owner, "wallet"), 0), balances.get((owner, "escrow"), 0))
        if (wallet["available"], wallet["held"]) != held:
            yield f"I4 {owner} sees {wallet}, the ledger has {held}"
    topped_up = sum(it.amount for it in evidence.postings if it.kind == "topup")
    in_wallets = sum(wallet["available"] + wallet["held"] for wallet in seen.values())
    if in_wallets != topped_up:
        yield f"I1 all wallets together have {in_wallets}, topped up was {topped_up}"


def _asked_by_identity(told: Told, kind: str) -> dict[str, Request]:
    return {
        told.identities[operation]: requests[0]
        for operation, requests in told.operations.items()
        if requests[0].asked.kind == kind
    }


def _is_as_asked(packet: Packet, request: Request) -> bool:
    body = request.asked.body
    expires_at_ms = packet.opened_at_ms + body.get("expires_in_s", _DAY_S) * 1000
    asked = (request.asked.owner, body["kind"], body["total"], body["shares"], expires_at_ms)
    return asked == (packet.owner, packet.kind, packet.total, packet.shares, packet.expires_at_ms)


def _fixed(packet: Packet) -> dict[str, Any]:
    expires_at = datetime.fromtimestamp(packet.expires_at_ms // 1000, UTC).replace(
        microsecond=packet.expires_at_ms % 1000 * 1000
    )
    return {
        "id": packet.id,
        "owner": packet.owner,
        "kind": packet.kind,
        "total": packet.total,
        "shares": packet.shares,
        "commitment": packet.commitment,
        "expires_at": f"{expires_at:%Y-%m-%dT%H:%M:%S}.{packet.expires_at_ms % 1000:03d}Z",
    }


def _ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    return int(at.replace(microsecond=0).timestamp()) * 1000 + at.microsecond // 1000


def _words(request: Request) -> str:
    return (
        f"request {request.number} ({request.asked.operation.strip()}: {request.answer.status} {request.answer.body})"
    )
