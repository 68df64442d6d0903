"""The auditor finds nothing in a small run that is right, and whatever is wrong in one that was doctored."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from loadtest.auditor.answers import Window
from loadtest.auditor.audit import audit
from loadtest.auditor.evidence import Account, Claim, Evidence, Packet, Posting, ShardLog
from loadtest.record.operations import unresolved
from loadtest.record.recorder import Recorder, read_requests
from loadtest.record.words import Answer, Asked, Request
from redpacket.ids import identity_of
from tests.faults.plan import plan_packet

KEY = bytes(32)
AT_S = 1_767_225_600.0  # 2026-01-01
TOPUP = f"00500a{identity_of(KEY, 'boss-0', 'money')}"
PACKET = f"00500a{identity_of(KEY, 'alice', 'gift')}"
BOB = {"packet": PACKET, "share": 1, "amount": 50, "currency": "CNY", "claimed_at": "2026-01-01T00:00:02.500Z"}
GIFT = {"kind": "equal", "total": 100, "shares": 2}
SEND = Asked(kind="send", owner="alice", key="gift", body=GIFT)


def body(**changed: Any) -> dict[str, Any]:
    """The packet, as its send was answered."""
    fixed = {"id": PACKET, "owner": "alice", "commitment": "c", "expires_at": "2026-01-02T00:00:02.000Z", **GIFT}
    return {**fixed, "state": "open", "remaining": 100, "refunded": 0, **changed}


def requests() -> list[Request]:
    """Alice gets money, sends a packet of two shares, bob claims one, she closes it, and carol comes too late."""

    def ok(kind: Any, owner: str, told: dict[str, Any], **asked: Any) -> tuple[Asked, Answer]:
        return Asked(kind=kind, owner=owner, **asked), Answer(outcome="ok", status=200, body=told)

    closed = body(state="closed", remaining=0, refunded=50)
    topup = {"id": TOPUP, "owner": "alice", "amount": 1000, "currency": "CNY"}
    answers = [
        ok("topup", "boss-0", topup, key="money", body={"owner": "alice", "amount": 1000}),
        (SEND, Answer(outcome="ok", status=201, body=body())),
        ok("claim", "bob", BOB, packet=PACKET),
        ok("see_packet", "alice", body(remaining=50), packet=PACKET),
        ok("close", "alice", closed, packet=PACKET),
        ok("claim", "bob", BOB, packet=PACKET),
        (Asked(kind="claim", owner="carol", packet=PACKET), Answer(outcome="fail", status=410, code="packet_closed")),
        (SEND, Answer(outcome="ok", status=200, body=closed)),
        ok("see_claim", "bob", BOB, packet=PACKET),
        ok("see_claims", "bob", {"claims": [{"owner": "bob", **BOB}], "next": None}, packet=PACKET),
        ok("see_wallet", "alice", {"owner": "alice", "available": 950, "held": 0}),
        ok("see_wallet", "bob", {"owner": "bob", "available": 50, "held": 0}),
    ]
    return [
        Request(number=n, asked=asked, started_s=AT_S + n, ended_s=AT_S + n + 0.9, answer=answer)
        for n, (asked, answer) in enumerate(answers)
    ]


def evidence() -> Evidence:
    """What a ledger that settled this holds: accounts 1 funding, 2 and 3 alice's wallet and escrow, 4 bob's wallet."""
    link = hashlib.sha256(bytes(32) + hashlib.sha256(b"record").digest()).digest()
    at_ms = int(AT_S) * 1000 + 2000
    return Evidence(
        accounts=(
            Account(1, "@funding", "funding", 1000, 0, 1),
            Account(2, "alice", "wallet", 100, 1050, 3),
            Account(3, "alice", "escrow", 100, 100, 3),
            Account(4, "bob", "wallet", 0, 50, 1),
        ),
        postings=(
            Posting("topup", TOPUP, 1000, 1, 1, -1000, 2, 1, 1000),
            Posting("packet", PACKET, 100, 2, 2, 900, 3, 1, 100),
            Posting("claim", PACKET, 50, 3, 2, 50, 4, 1, 50),
            Posting("refund", PACKET, 50, 3, 3, 0, 2, 3, 950),
        ),
        packets=(
            Packet(PACKET, "alice", "equal", 100, 2, "c", at_ms, at_ms + 86_400_000, "closed", 50, 1, 50, at_ms + 3000),
        ),
        claims=(Claim(PACKET, "bob", 1, 50, at_ms + 500),),
        operations=((TOPUP, "topup"), (PACKET, "packet")),
        shards=(ShardLog(1, link, (link,), (b"record",)),),
    )


def test_the_auditor_finds_nothing_wrong_with_what_is_right() -> None:
    assert audit(requests(), evidence(), KEY, [Window("rolled", AT_S, AT_S + 20)]) == []


def other_claim(**changed: Any) -> Evidence:
    first = evidence().claims[0]
    return replace(evidence(), claims=(first, replace(first, **changed)))


def packet(**changed: Any) -> Evidence:
    return replace(evidence(), packets=(replace(evidence().packets[0], **changed),))


def posting(number: int, **changed: Any) -> Evidence:
    postings = list(evidence().postings)
    postings[number] = replace(postings[number], **changed)
    return replace(evidence(), postings=tuple(postings))


def shard(**changed: Any) -> Evidence:
    return replace(evidence(), shards=(replace(evidence().shards[0], **changed),))


@pytest.mark.parametrize(
    ("held", "found"),
    [
        (packet(claimed=49), "I1 Packet"),
        (packet(refunded=0), "I1 Packet"),
        (packet(state="open"), "I1 Packet"),
        (other_claim(owner="dave"), "I2 share 1"),
        (other_claim(share=2), "I3 bob has 2 shares"),
        (other_claim(owner="dave", share=2), "I5 nobody asked for Claim"),
        (posting(2, amount=49), "was posted 0 times and happened 1 times"),
        (posting(3, kind="claim"), "was posted 0 times and happened 1 times"),
        (posting(3, credit=4), "I1 Account(id=4"),
        (posting(1, debit_balance=901), "version 2 has 901"),
        (replace(evidence(), postings=(*evidence().postings, evidence().postings[3])), "was posted 2 times"),
        (replace(evidence(), accounts=(*evidence().accounts[:3], Account(4, "bob", "wallet", 0, 60, 1))), "I1 debits"),
        (replace(evidence(), operations=evidence().operations[1:]), "I1 top-ups"),
        (replace(evidence(), claims=()), "I4 the ledger has None"),
        (replace(evidence(), packets=()), "I4 the ledger has None"),
        (packet(expires_at_ms=0), "I5 nobody asked for Packet"),
        (packet(commitment="another"), "I4 the ledger has Packet"),
        (packet(state="expired"), "I5 before its time"),
        (replace(evidence(), dead_letters=("0/1/2: no",)), "I5 a dead letter"),
        (shard(records=(b"other",)), "I8 shard 0: the chain breaks at offset 0"),
        (shard(records=(b"record", b"more")), "I8 shard 0 is settled up to 1"),
        (shard(head=bytes(32)), "I8 shard 0: its head"),
    ],
)
def test_the_auditor_finds_what_is_wrong_in_the_ledger(held: Evidence, found: str) -> None:
    assert any(found in violation for violation in audit(requests(), held, KEY))


def answered(number: int, **changed: Any) -> Callable[[], list[Request]]:
    """The run with another answer to this request."""

    def doctored() -> list[Request]:
        told = requests()
        told[number] = replace(told[number], answer=replace(told[number].answer, **changed))
        return told

    return doctored


def without(*numbers: int) -> Callable[[], list[Request]]:
    return lambda: [it for it in requests() if it.number not in numbers]


def again(number: int, outcome: Any, status: int, code: str = "") -> Callable[[], list[Request]]:
    """The run with this request once more at its end, answered so."""
    answer = Answer(outcome=outcome, status=status, code=code)
    last = {"number": 99, "started_s": AT_S + 50, "ended_s": AT_S + 51, "answer": answer}
    return lambda: [*requests(), replace(requests()[number], **last)]


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (answered(2, body={**BOB, "amount": 51}), "I4 the ledger has Claim"),
        (answered(5, body={**BOB, "share": 2}), "I6 claim bob"),
        (answered(8, body={**BOB, "claimed_at": "2026-01-01T00:00:02.501Z"}), "I4 the ledger has Claim"),
        (answered(9, body={"claims": [], "next": None}), "lacks ['bob']"),
        (answered(9, body={"claims": [], "next": "bob"}), "goes on behind 0"),
        (answered(9, body={"claims": [{"owner": "bob", **BOB, "amount": 49}], "next": None}), "has bob with (1, 49)"),
        (answered(9, body={"claims": [{"owner": "bob", **BOB}] * 2, "next": None}), "I6 somebody is twice in the list"),
        (answered(10, body={"owner": "alice", "available": 949, "held": 0}), "I4 alice sees"),
        (without(11), "I1 all wallets together have 950"),
        (without(0), "I5 nobody asked for top-up"),
        (without(1, 7), "I5 nobody asked for Packet"),
        (without(2, 5), "I5 nobody asked for Claim"),
        (answered(7, body=body(id=PACKET.replace("50", "51", 1))), "I6 send alice"),
        (answered(3, body=body(remaining=100)), "said 0 in request 3, it was from 50 to 50"),
        (answered(3, body=body(remaining=0)), "not what an open packet has"),
        (answered(4, body=body(remaining=50)), "a close that did not close"),
        (answered(4, body=body(state="closed", remaining=0, refunded=49)), "another end than the ledger's"),
        (answered(7, body=body(remaining=50)), "was closed, and open in request 7"),
        (answered(8, outcome="fail", status=404, code="not_claimed"), "said not_claimed in request 8"),
        (answered(3, outcome="fail", status=404, code="not_found"), "API request 3"),
        (answered(3, outcome="unknown", status=202), "pending after it was final"),
        (answered(3, outcome="unknown", status=500), "API request 3"),
        (answered(3, outcome="unknown", status=503), "without Retry-After"),
        (answered(6, code="sold_out"), "was told sold_out, and the ledger has Packet"),
        (answered(6, code="packet_expired"), "was told packet_expired before its time"),
        (without(4), "was told packet_closed before its owner closed it"),
        (without(4), "I5 nobody asked to close"),
        (answered(5, outcome="fail", status=410, code="packet_closed"), "was told packet_closed and has Claim"),
        (again(1, "fail", 402, "insufficient_funds"), "was told it is short, and had 1000"),
        (answered(6, outcome="unknown", status=503, retry_after=True), "I7 claim carol  " + PACKET + " is still"),
    ],
)
def test_the_auditor_finds_what_is_wrong_in_the_answers(told: Callable[[], list[Request]], found: str) -> None:
    assert any(found in violation for violation in audit(told(), evidence(), KEY))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_auditor_finds_what_was_refused_in_the_end_and_is_there(number: int) -> None:
    operation = requests()[number].asked.operation
    told = [it for it in requests() if it.asked.operation != operation]
    refused = replace(requests()[number], answer=Answer(outcome="fail", status=409, code="sold_out"))
    assert any("I7 " + operation in it for it in audit([*told, refused], evidence(), KEY))


def test_the_auditor_finds_a_request_that_failed_where_none_may() -> None:
    told = again(2, "unknown", 0, "ReadError")()
    assert audit(told, evidence(), KEY, [Window("rolled", AT_S, AT_S + 20)]) == []
    assert (
        "while rolled, request 99 failed" in audit(told, evidence(), KEY, [Window("rolled", AT_S + 40, AT_S + 60)])[0]
    )


@pytest.mark.parametrize(
    ("told", "may_wait"),
    [(again(0, "unknown", 202), True), (again(2, "unknown", 202), False), (again(1, "unknown", 503), False)],
)
def test_only_what_needs_the_ledger_may_wait_while_its_workers_are_replaced(
    told: Callable[[], list[Request]], may_wait: bool
) -> None:
    for settles in (True, False):
        found = audit(told(), evidence(), KEY, [Window("rolled", AT_S + 40, AT_S + 60, settles)])
        assert any("while rolled, request 99 failed" in it for it in found) == (settles or not may_wait)


def test_a_send_may_wait_for_the_ledger_only_where_its_owner_seems_short() -> None:
    window = Window("rolled", AT_S + 40, AT_S + 60, settles=False)
    dear = replace(SEND, key="dear", body={**GIFT, "total": 2000})
    unknown = Answer(outcome="unknown", status=503, retry_after=True)
    for asked, may_wait in ((dear, True), (replace(SEND, key="cheap"), False)):
        request = Request(number=99, asked=asked, started_s=AT_S + 50, ended_s=AT_S + 53, answer=unknown)
        found = audit([*requests(), request], evidence(), KEY, [window])
        assert any("while rolled" in it for it in found) != may_wait


def test_what_is_unknown_is_asked_again_unless_it_was_done() -> None:
    assert unresolved(again(2, "unknown", 202)()) == []
    refused_then_unknown = again(6, "unknown", 503)()
    assert [it.owner for it in unresolved(refused_then_unknown)] == ["carol"]
    assert [it.owner for it in unresolved(reversed(refused_then_unknown))] == ["carol"]


def test_a_request_whose_client_went_away_is_in_the_file_and_unknown(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    with Recorder(file) as recorder:
        with recorder.recorded(SEND) as attempt:
            attempt.answer = Answer(outcome="ok", status=201, body=body())
        with pytest.raises(ZeroDivisionError), recorder.recorded(SEND):
            raise ZeroDivisionError
    first, second = read_requests(file)
    assert (first.asked, first.answer.outcome, first.answer.body) == (SEND, "ok", body())
    assert (second.asked, second.answer.outcome, second.ended_s) == (SEND, "unknown", None)


def test_a_seed_plans_the_same_packets_each_time() -> None:
    plans = [plan_packet(7, number) for number in range(200)]
    assert plans == [plan_packet(7, number) for number in range(200)]
    assert plans != [plan_packet(8, number) for number in range(200)]
    assert {bool(plan.closes_after_s) for plan in plans} == {True, False}
