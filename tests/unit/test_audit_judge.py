"""What the audit says of a record and of what the ledger has for it: pure functions, no servers."""

from typing import Any

import pytest
from msgspec import msgpack

from ledger.audit.expect import Row, expected_movement, unlike_what_is_known
from ledger.audit.findings import Findings
from ledger.audit.judge import ShardJudge
from ledger.audit.log import LoggedBytes
from ledger.settle.chain import link
from redpacket.events import Event, PacketClosed, PacketOpened, PacketTerms, ShareClaimed, TopUpTerms, WalletToppedUp
from redpacket.log.record import Batch, Fence, Record, encode_record
from redpacket.split import SplitParameters

SHARDS, SHARD, AT_MS = 4, 2, 1_771_315_200_000
ID = "0250151" + "a" * 31
TERMS = PacketTerms("alice", "CNY", SplitParameters("lucky", 100, 2, 100, 1), "Hello", 60)
CLAIM = ShareClaimed(ID, "bob", 1, 40, 1, "request-1")
EVENTS: tuple[Event, ...] = (
    PacketOpened(ID, TERMS, "c" * 64),
    WalletToppedUp(ID, TopUpTerms("boss", "alice", "CNY", 100)),
    CLAIM,
    PacketClosed(ID, "closed", 60),
)


def row_of(event: Event) -> dict[str, Any]:
    """The movement that the ledger should have of it."""
    terms = msgpack.encode(event.terms) if isinstance(event, PacketOpened | WalletToppedUp) else None
    place = {"shard": SHARD, "kafka_offset": 0, "item": 0, "terms": terms, "request": event.request}
    names = ("debit_owner", "debit_kind", "credit_owner", "credit_kind", "claim_owner")
    return (
        dict.fromkeys(names)
        | place
        | {"packet_owner": "alice"}
        | expected_movement(event, SHARD, AT_MS, SHARDS, "alice")
    )


def judged(
    record: Record | bytes,
    counts: tuple[int, int, int, int],
    letters: dict[int, Row] | None = None,
    movements: dict[int, list[Row]] | None = None,
    epoch_fenced: int = 3,
) -> tuple[ShardJudge, dict[str, list[str]]]:
    raw = record if isinstance(record, bytes) else encode_record(record)
    judge = ShardJudge(Findings(), SHARD, SHARDS, bytes(32), epoch_fenced)
    kept = dict(zip(("epoch", "applied", "repeated", "ignored"), counts, strict=True)) | {"chain": link(bytes(32), raw)}
    judge.judge(LoggedBytes(0, raw), kept, letters or {}, movements or {})
    return judge, {name: it.sentences for name, it in judge.findings.violations.items() if it.total}


def batch(*events: Event, epoch: int = 3) -> Batch:
    return Batch(epoch, 1, AT_MS, events)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_moved_what_it_says_is_right(event: Event) -> None:
    judge, wrong = judged(batch(event), (3, 1, 0, 0), movements={0: [row_of(event)]})
    assert wrong == {}
    assert judge.unmoved == []


@pytest.mark.parametrize("event", EVENTS)
def test_any_field_that_differs_is_named(event: Event) -> None:
    for column in expected_movement(event, SHARD, AT_MS, SHARDS, "alice"):
        _, wrong = judged(batch(event), (3, 1, 0, 0), movements={0: [row_of(event) | {column: "other"}]})
        assert f"{column} is 'other', the log says" in wrong["I6"][0]


def test_a_version_that_kept_no_request_is_no_violation_and_another_request_is() -> None:
    assert judged(batch(CLAIM), (3, 1, 0, 0), movements={0: [row_of(CLAIM) | {"request": ""}]})[1] == {}
    _, wrong = judged(batch(CLAIM), (3, 1, 0, 0), movements={0: [row_of(CLAIM) | {"request": "other"}]})
    assert "request is 'other'" in wrong["I6"][0]


def test_a_record_of_a_fenced_epoch_moves_nothing() -> None:
    assert judged(batch(CLAIM, epoch=2), (2, 0, 0, 1))[1] == {}
    _, wrong = judged(batch(CLAIM, epoch=2), (2, 0, 0, 1), movements={0: [row_of(CLAIM)]})
    assert "was never asked for" in wrong["I5"][0]


@pytest.mark.parametrize(("epoch", "raised"), [(4, 1), (3, 0), (2, 0)])
def test_the_highest_fence_counts(epoch: int, raised: int) -> None:
    judge, wrong = judged(Fence(epoch), (epoch, raised, 0, 0))
    assert (judge.epoch_fenced, wrong) == (max(3, epoch), {})
    assert "should be" in judged(Fence(epoch), (epoch, 1 - raised, 0, 0))[1]["I6"][0]


@pytest.mark.parametrize("decision", [None, "replayed", "rejected"])
def test_what_is_set_aside_moves_nothing_where_it_was_set_aside(decision: str | None) -> None:
    letters: dict[int, Row] = {0: {"decision": decision, "packed": msgpack.encode(CLAIM)}}
    assert judged(batch(CLAIM), (3, 0, 0, 0), letters)[1] == {}
    _, wrong = judged(batch(CLAIM), (3, 0, 0, 0), letters, {0: [row_of(CLAIM)]})
    assert "is set aside, and has moved money" in wrong["I5"][0]
    other: dict[int, Row] = {0: {"decision": decision, "packed": msgpack.encode(EVENTS[3])}}
    assert "set aside as something else" in judged(batch(CLAIM), (3, 0, 0, 0), other)[1]["I6"][0]


@pytest.mark.parametrize(
    ("record", "counts", "item"),
    [
        (batch(CLAIM), (3, 1, 0, 0), 1),
        (batch(CLAIM), (3, 1, 0, 0), -2),
        (batch(CLAIM, epoch=2), (2, 0, 0, 1), 0),
        (Fence(3), (3, 0, 0, 0), 0),
    ],
)
def test_a_letter_of_an_item_that_the_record_does_not_have_is_said(
    record: Record, counts: tuple[int, int, int, int], item: int
) -> None:
    letters: dict[int, Row] = {-1: {"decision": "replayed"}, item: {"decision": "rejected", "packed": b""}}
    _, wrong = judged(record, counts, letters, {0: [row_of(CLAIM)]} if counts[1] else {})
    assert wrong == {"I5": [f"dead letter 2-0-{item} was never asked for: the log has no such item"]}


def test_a_record_that_cannot_be_decoded_is_settled_only_where_a_person_has_rejected_it() -> None:
    assert "cannot be decoded" in judged(b"junk", (0, 0, 0, 1))[1]["I5"][0]
    assert judged(b"junk", (0, 0, 0, 1), {-1: {"decision": "rejected"}})[1] == {}
    # Whatever it says, and also where it can be read.
    rejected: dict[int, Row] = {-1: {"decision": "rejected"}}
    assert "never asked for" in judged(batch(CLAIM), (0, 0, 0, 1), rejected, {0: [row_of(CLAIM)]})[1]["I5"][0]


def test_what_moved_twice_and_what_no_item_asked_for_is_said() -> None:
    _, wrong = judged(batch(CLAIM), (3, 1, 0, 0), movements={0: [row_of(CLAIM)] * 2, 1: [row_of(CLAIM)]})
    assert [sentence.rsplit(" ", 1)[0] for sentence in wrong["I5"][:1]] == [
        f"claim of 40 by bob (share 1 of packet {ID}) at 2/0/0 has moved 2"
    ]
    assert "was never asked for" in wrong["I5"][1]


def test_a_repeat_must_be_known_in_every_field() -> None:
    judge, wrong = judged(batch(CLAIM), (3, 0, 1, 0))
    assert ([it.event for it in judge.unmoved], wrong) == ([CLAIM], {})
    known = {"packet": ID, "share": 1, "owner": "bob", "sequence": 1, "amount_minor": 40, "at_ms": AT_MS}
    assert unlike_what_is_known(CLAIM, AT_MS, known) == ""
    assert unlike_what_is_known(CLAIM, AT_MS, None) == "the ledger has nothing of it"
    for column in known:
        assert f"{column} is 'other'" in unlike_what_is_known(CLAIM, AT_MS, known | {column: "other"})
