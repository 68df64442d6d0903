"""What a record moves, without any server: the settlement is a pure function."""

from functools import partial

import pytest
from msgspec.structs import replace

from ledger.settle.balances import balances_before, post_in_order, sum_movements
from ledger.settle.chain import link
from ledger.settle.decide import Rejected, Settlement, settle_record
from ledger.settle.state import Account, LedgerState
from ledger.settle.subject import subject_of
from redpacket.events import Event, PacketClosed, PacketOpened, PacketTerms, ShareClaimed, TopUpTerms, WalletToppedUp
from redpacket.ids import OperationId, shard_of
from redpacket.log.record import Batch, Fence, Record
from redpacket.split import SplitParameters

SHARDS = 4
SHARD = shard_of("alice", SHARDS)
PACKET = str(OperationId(SHARD, 20_000, "a" * 32))
TERMS = PacketTerms("alice", "CNY", SplitParameters("lucky", 100, 3, 100, 1), "", 60)
OPENED = PacketOpened(PACKET, TERMS, "c" * 64)
BOB = ShareClaimed(PACKET, "bob", 1, 30, 1)
CAROL = ShareClaimed(PACKET, "carol", 2, 50, 2)
CLOSED = PacketClosed(PACKET, "closed", 70)
TOP_UP = WalletToppedUp(str(OperationId(SHARD, 20_000, "b" * 32)), TopUpTerms("boss", "bob", "CNY", 7))


def _settle(*records: Record | Rejected, settlement: Settlement | None = None) -> Settlement:
    settlement = settlement or Settlement(SHARD, partial(shard_of, shards=SHARDS), LedgerState(1))
    for offset, record in enumerate(records, start=len(settlement.records)):
        settle_record(settlement, offset, record)
    return settlement


def _batch(*events: Event, epoch: int = 1) -> Batch:
    return Batch(epoch, 1, 1_000, events)


def _moved(settlement: Settlement) -> list[tuple[str, str, str, str, int]]:
    return [
        (it.debit.owner, it.debit.kind, it.credit.owner, it.credit.kind, it.amount_minor) for it in settlement.postings
    ]


def _counts(settlement: Settlement) -> list[tuple[int, int, int]]:
    return [(it.applied, it.repeated, it.ignored) for it in settlement.records]


def test_money_goes_from_funding_to_wallet_to_escrow_to_the_claimer() -> None:
    settlement = _settle(_batch(TOP_UP), _batch(OPENED, BOB))
    assert _moved(settlement) == [
        ("@funding", "funding", "bob", "wallet", 7),
        ("alice", "wallet", "alice", "escrow", 100),
        ("alice", "escrow", "bob", "wallet", 30),
    ]
    assert settlement.postings[2].credit.shard == shard_of("bob", SHARDS)
    assert (settlement.packets[PACKET].claimed_shares, settlement.packets[PACKET].claimed_minor) == (1, 30)


def test_a_repeat_moves_nothing_wherever_it_stands() -> None:
    settlement = _settle(_batch(OPENED, BOB, BOB), _batch(OPENED, BOB), _batch(TOP_UP, TOP_UP))
    assert len(settlement.postings) == 3
    assert _counts(settlement) == [(2, 1, 0), (0, 2, 0), (1, 1, 0)]
    assert not settlement.dead_letters


def test_items_of_a_lower_epoch_are_ignored_from_the_highest_fence_on() -> None:
    settlement = _settle(_batch(OPENED, epoch=1), Fence(3), Fence(2), _batch(BOB, epoch=2), _batch(CAROL, epoch=3))
    assert _counts(settlement) == [(1, 0, 0), (1, 0, 0), (0, 0, 0), (0, 0, 1), (1, 0, 0)]
    assert settlement.state.epoch_fenced == 3
    assert [claim.owner for claim in settlement.claims] == ["carol"]


@pytest.mark.parametrize(
    "contradiction",
    [
        replace(BOB, amount_minor=31),
        replace(BOB, sequence=9),
        replace(BOB, share=3),  # a second share for bob
        replace(BOB, owner="mallory"),  # bob's share for another
        ShareClaimed(PACKET, "carol", 2, 71, 2),  # more than is left
        ShareClaimed(PACKET, "carol", 2, 70, 2),  # nothing for the share that is left
        ShareClaimed(PACKET, "carol", 4, 1, 2),  # no such share
        ShareClaimed(str(OperationId(SHARD, 20_000, "d" * 32)), "bob", 1, 30, 1),  # no such packet
        replace(OPENED, terms=replace(TERMS, greeting="changed")),
        PacketOpened(str(OperationId(SHARD, 20_001, "a" * 32)), TERMS, "c" * 64),  # the same identity on another day
        replace(OPENED, id=str(OperationId((SHARD + 1) % SHARDS, 20_000, "e" * 32))),  # another shard's
        replace(OPENED, id="nonsense"),
    ],
)
def test_what_contradicts_the_ledger_is_set_aside_and_the_rest_goes_on(contradiction: Event) -> None:
    settlement = _settle(_batch(OPENED, BOB), _batch(contradiction, CAROL))
    assert [(it.kafka_offset, it.item, it.event) for it in settlement.dead_letters] == [(1, 0, contradiction)]
    assert len(settlement.postings) == 3
    assert _counts(settlement)[1] == (1, 0, 0)


def test_a_contradiction_shuts_the_epoch_that_is_fenced_whatever_epoch_its_record_claims() -> None:
    settlement = _settle(_batch(OPENED, BOB), Fence(3), _batch(CAROL, epoch=3))
    assert settlement.epoch_shut == 0
    _settle(_batch(replace(BOB, amount_minor=31), epoch=10**9), Fence(4), settlement=settlement)
    assert (settlement.epoch_shut, settlement.state.epoch_fenced) == (3, 4)


@pytest.mark.parametrize(("event", "subject"), [(BOB, PACKET), (OPENED, "wallet:alice"), (TOP_UP, "")])
def test_what_is_set_aside_freezes_its_packet_or_the_wallet_that_pays(event: Event, subject: str) -> None:
    assert subject_of(event) == subject


def test_a_record_that_was_rejected_moves_nothing_and_is_counted_as_ignored() -> None:
    settlement = _settle(_batch(OPENED), Rejected(), _batch(BOB))
    assert _counts(settlement) == [(1, 0, 0), (0, 0, 1), (1, 0, 0)]
    assert len(settlement.postings) == 2
    assert (settlement.dead_letters, settlement.epoch_shut) == ([], 0)


def test_what_is_left_goes_back_to_the_sender_and_the_packet_is_over() -> None:
    settlement = _settle(_batch(OPENED, BOB), _batch(CLOSED))
    assert _moved(settlement)[2] == ("alice", "escrow", "alice", "wallet", 70)
    assert settlement.postings[2].kind == "refund"
    packet = settlement.packets[PACKET]
    assert (packet.over, packet.refunded_minor, packet.over_at_ms) == ("closed", 70, 1_000)


def test_a_refund_that_comes_twice_moves_nothing_more() -> None:
    settlement = _settle(_batch(OPENED, BOB, CLOSED, CLOSED), _batch(CLOSED))
    assert len(settlement.postings) == 3
    assert _counts(settlement) == [(3, 1, 0), (0, 1, 0)]


@pytest.mark.parametrize(
    "events",
    [
        (BOB, replace(CLOSED, refunded_minor=71)),  # more than is left
        (BOB, replace(CLOSED, refunded_minor=69)),  # less than is left
        (BOB, CLOSED, replace(CLOSED, state="expired")),  # over in another way
        (BOB, CLOSED, CAROL),  # a share of what has gone back
        (
            BOB,
            replace(CAROL, amount_minor=40),
            ShareClaimed(PACKET, "dave", 3, 30, 3),
            replace(CLOSED, refunded_minor=0),
        ),
        (replace(CLOSED, packet=str(OperationId(SHARD, 20_000, "d" * 32))),),  # no such packet
    ],
)
def test_a_refund_must_be_what_is_left_and_the_end(events: tuple[Event, ...]) -> None:
    settlement = _settle(_batch(OPENED, *events))
    assert [(it.item, it.event) for it in settlement.dead_letters] == [(len(events), events[-1])]
    assert len(settlement.postings) == len(events)


def test_it_never_refuses_for_lack_of_money() -> None:
    assert _moved(_settle(_batch(OPENED))) == [("alice", "wallet", "alice", "escrow", 100)]


def test_each_posting_keeps_the_balance_and_version_that_it_made() -> None:
    settlement = _settle(_batch(TOP_UP, OPENED, BOB, CAROL))
    movements = sum_movements(settlement.postings)
    assert sum(it.debits_minor for it in movements.values()) == sum(it.credits_minor for it in movements.values())
    # As if every account had stood at 1,000 with 10 postings before.
    moved = {
        account: (number, 10 + it.postings, 1_000 + it.credits_minor - it.debits_minor)
        for number, (account, it) in enumerate(movements.items())
    }
    after = post_in_order(settlement.postings, balances_before(moved, movements))
    escrow = [
        (balance.version, balance.balance_minor)
        for posting, pair in zip(settlement.postings, after, strict=True)
        for account, balance in zip((posting.debit, posting.credit), pair, strict=True)
        if account == Account(SHARD, "alice", "escrow")
    ]
    assert escrow == [(11, 1_100), (12, 1_070), (13, 1_020)]


def test_the_chain_depends_on_every_record_and_their_order() -> None:
    start = bytes(32)
    assert link(link(start, b"a"), b"b") != link(link(start, b"b"), b"a")
    assert link(start, b"a") != link(start, b"")
    assert link(start, b"a").hex() == "8c374a53782642f7514d087d26a3e733f1b806009a03e04a43b288ef2fa9f9c0"
