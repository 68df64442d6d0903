"""Whether each answer was one that could be given at that moment: reads never older than what was acknowledged before
they were asked for, refusals true, nothing that the contract does not have."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct

from loadtest.auditor.evidence import Claim, Evidence, Packet
from loadtest.auditor.funds import SureFunds
from loadtest.auditor.told import Told
from loadtest.record.words import Request

_REFUSALS = {
    "send": ("insufficient_funds",),
    "claim": ("sold_out", "packet_expired", "packet_closed"),
    "see_claim": ("not_claimed",),
}
# 0: no answer at all.
_UNKNOWN = (0, 202, 429, 503)
_FINAL = ("sold_out", "closed", "expired")


class Window(Struct, frozen=True):
    """Seconds since 1970. `settles`: the ledger goes on meanwhile."""

    name: str
    from_s: float
    to_s: float
    settles: bool = True


def check_answers(told: Told, evidence: Evidence) -> Iterator[str]:
    """A sentence for everything that is wrong, beginning with the invariant, or with "API" where it is none."""
    for request in told.requests:
        yield from _check_contract(request)
    packets = {packet.id: packet for packet in evidence.packets}
    claims: defaultdict[str, dict[str, Claim]] = defaultdict(dict)
    for claim in evidence.claims:
        claims[claim.packet][claim.owner] = claim
    yield from _check_reads(told, claims)
    yield from _check_refused_claims(told, packets, claims)
    yield from _check_refused_sends(told)


def check_harmless(told: Told, windows: Iterable[Window]) -> Iterator[str]:
    """No request failed in these windows: each that was sent there has a final answer.

    While ledger workers are replaced, what has to wait for them may wait longer than a request: a top-up is answered
    once it is settled, and whether a wallet is short once everything is.
    """
    funds = SureFunds(told)
    for window in windows:
        for request in told.requests:
            if not window.from_s <= request.started_s <= window.to_s or request.answer.outcome != "unknown":
                continue
            if window.settles or not _waits_for_the_ledger(request, funds):
                words = f"request {request.number} failed: {request.asked.operation} {request.answer}"
                yield f"API while {window.name}, {words}"


def _waits_for_the_ledger(request: Request, funds: SureFunds) -> bool:
    if request.asked.kind == "topup":
        return request.answer.status == 202
    return (
        request.asked.kind == "send"
        and request.answer.status == 503
        and funds.had(request) < request.asked.body["total"]
    )


def _check_contract(request: Request) -> Iterator[str]:
    asked, answer = request.asked, request.answer
    words = f"request {request.number} ({asked.operation}) was answered {answer}"
    if answer.outcome == "fail" and answer.code not in _REFUSALS.get(asked.kind, ()):
        yield f"API {words}"
    if answer.outcome == "unknown":
        if answer.status not in _UNKNOWN:
            yield f"API {words}"
        elif answer.status in (429, 503) and not answer.retry_after:
            yield f"API without Retry-After {words}"
        elif answer.status == 202 and asked.kind.startswith("see_"):
            # Whoever asks has the id from an answer that was final.
            yield f"API pending after it was final: {words}"


def _check_reads(told: Told, claims: dict[str, dict[str, Claim]]) -> Iterator[str]:
    began: dict[tuple[str, str], float] = {}
    known: dict[tuple[str, str], float] = {}
    for request in told.requests:
        key = (request.asked.packet, request.asked.owner)
        if request.asked.kind == "claim":
            began[key] = min(began.get(key, request.started_s), request.started_s)
            if request.answer.outcome == "ok" and request.ended_s is not None:
                known[key] = min(known.get(key, request.ended_s), request.ended_s)
        elif request.answer.code == "not_claimed" and known.get(key, request.started_s) < request.started_s:
            yield f"API an older state: {request.asked.operation} said not_claimed in request {request.number}"
    for id, requests in told.by_packet("send", "close", "see_packet").items():
        held = list(claims[id].values())
        ended: tuple[float, str] | None = None
        for request in sorted(requests, key=lambda it: it.ended_s or 0.0):
            body, ended_s = request.answer.body, request.ended_s or 0.0
            given = body["total"] - body["remaining"] - body["refunded"]
            least = sum(it.amount for it in held if known.get((id, it.owner), ended_s) < request.started_s)
            most = sum(it.amount for it in held if began.get((id, it.owner), ended_s) < ended_s)
            if not least <= given <= most:
                yield f"API packet {id} said {given} in request {request.number}, it was from {least} to {most}"
            if ended is not None and ended[0] < request.started_s and body["state"] != ended[1]:
                yield f"API packet {id} was {ended[1]}, and {body['state']} in request {request.number} after that"
            if ended is None and body["state"] in _FINAL:
                ended = (ended_s, body["state"])


def _check_refused_claims(told: Told, packets: dict[str, Packet], claims: dict[str, dict[str, Claim]]) -> Iterator[str]:
    closing: dict[str, float] = {}
    for request in told.requests:
        if request.asked.kind == "close":
            closing.setdefault(request.asked.packet, request.started_s)
    for request in told.requests:
        code, asked, ended_s = request.answer.code, request.asked, request.ended_s
        if asked.kind != "claim" or request.answer.outcome != "fail" or ended_s is None:
            continue
        packet, mine = packets.get(asked.packet), claims[asked.packet].get(asked.owner)
        words = f"request {request.number} ({asked.operation}) was told {code}"
        # "Closed" may be a closing that was lost with its Redis. The others are for ever.
        if mine is not None and (code != "packet_closed" or mine.at_ms / 1000 < request.started_s):
            yield f"I4 {words} and has {mine}"
        if packet is None:
            yield f"I4 {words} of a packet that is not there"
        elif code == "sold_out" and packet.state != "sold_out":
            yield f"I4 {words}, and the ledger has {packet}"
        elif code == "packet_expired" and ended_s * 1000 < packet.expires_at_ms:
            yield f"I4 {words} before its time: {packet}"
        elif code == "packet_closed" and closing.get(packet.id, ended_s) >= ended_s:
            yield f"I4 {words} before its owner closed it: {packet}"


def _check_refused_sends(told: Told) -> Iterator[str]:
    """402 is wrong where what its owner surely had at that moment would have been enough."""
    funds = SureFunds(told)
    for request in told.requests:
        if request.answer.code == "insufficient_funds" and funds.had(request) >= request.asked.body["total"]:
            words = f"request {request.number} ({request.asked.operation})"
            yield f"I4 {words} was told it is short, and had {funds.had(request)}"
