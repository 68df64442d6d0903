"""Whether the ledger holds together by itself: money, shares, balances, and the chain over its records."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator

from loadtest.auditor.evidence import Account, Claim, Evidence, Packet

# By kind of posting: from which kind of account to which.
_WAYS = {
    "topup": ("funding", "wallet"),
    "packet": ("wallet", "escrow"),
    "claim": ("escrow", "wallet"),
    "refund": ("escrow", "wallet"),
}


def check_books(evidence: Evidence) -> Iterator[str]:
    """A sentence for everything that is wrong, beginning with the invariant."""
    claims: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in evidence.claims:
        claims[claim.packet].append(claim)
    for packet in evidence.packets:
        yield from _check_packet(packet, claims.pop(packet.id, []))
    for stray in claims:
        yield f"I1 there are claims of packet {stray}, which is not there"
    accounts = {account.id: account for account in evidence.accounts}
    yield from _check_postings(evidence, accounts)
    yield from _check_balances(evidence, accounts)
    yield from _check_rest(evidence)
    yield from _check_chains(evidence)
    yield from (f"I5 a dead letter: {letter}" for letter in evidence.dead_letters)


def _check_packet(packet: Packet, claims: list[Claim]) -> Iterator[str]:
    claimed = sum(claim.amount for claim in claims)
    if (claimed, len(claims)) != (packet.claimed, packet.claimed_shares):
        yield f"I1 {packet} has {len(claims)} claims of {claimed} in all"
    left = packet.total - packet.claimed - packet.refunded
    ends = {
        "open": left > 0 and packet.refunded == 0,
        "sold_out": left == 0 and packet.refunded == 0 and packet.claimed_shares == packet.shares,
        "closed": left == 0 and packet.refunded > 0,
        "expired": left == 0 and packet.refunded > 0,
    }
    if not ends.get(packet.state):
        yield f"I1 {packet} is in no state in which a packet can rest"
    for what, times in Counter(claim.share for claim in claims).items():
        if times > 1 or not 1 <= what <= packet.shares:
            yield f"I2 share {what} of packet {packet.id} was issued {times} times"
    for owner, times in Counter(claim.owner for claim in claims).items():
        if times > 1:
            yield f"I3 {owner} has {times} shares of packet {packet.id}"


def _check_postings(evidence: Evidence, accounts: dict[int, Account]) -> Iterator[str]:
    """Each thing that happened has exactly one posting of its amount, in its way, and no posting is there without."""
    owners = {packet.id: packet.owner for packet in evidence.packets}
    happened: Counter[tuple[str, str, str, str, int]] = Counter()
    happened.update(("packet", it.id, it.owner, it.owner, it.total) for it in evidence.packets)
    happened.update(("refund", it.id, it.owner, it.owner, it.refunded) for it in evidence.packets if it.refunded)
    happened.update(("claim", it.packet, owners.get(it.packet, ""), it.owner, it.amount) for it in evidence.claims)
    posted: Counter[tuple[str, str, str, str, int]] = Counter()
    topups: Counter[str] = Counter()
    for posting in evidence.postings:
        if (debit := accounts.get(posting.debit)) is None or (credit := accounts.get(posting.credit)) is None:
            yield f"I5 {posting} is with somebody who is not of these"
            continue
        if (debit.kind, credit.kind) != _WAYS.get(posting.kind):
            yield f"I1 {posting} goes from {debit} to {credit}"
        if posting.kind == "topup":
            topups[posting.operation] += 1
        else:
            posted[posting.kind, posting.operation, debit.owner, credit.owner, posting.amount] += 1
    for what in happened.keys() | posted.keys():
        if happened[what] != posted[what]:
            yield f"I1 {what} was posted {posted[what]} times and happened {happened[what]} times"
    made = Counter(id for id, kind in evidence.operations if kind == "topup")
    if made != topups:
        yield f"I1 top-ups and their postings differ: {made - topups} and {topups - made}"


def _check_balances(evidence: Evidence, accounts: dict[int, Account]) -> Iterator[str]:
    """Each account's postings, in the order of their versions, make its balances. A system account deals with others
    too, of whom there is nothing here."""
    moves: defaultdict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    for it in evidence.postings:
        moves[it.debit].append((it.debit_version, it.debit_balance, it.amount, 0))
        moves[it.credit].append((it.credit_version, it.credit_balance, 0, it.amount))
    for account in accounts.values():
        if evidence.owners and account.owner.startswith("@"):
            continue
        debits = credits = 0
        for expected, (version, balance, debit, credit) in enumerate(sorted(moves[account.id]), start=1):
            debits, credits = debits + debit, credits + credit
            if (version, balance) != (expected, credits - debits):
                yield f"I1 {account}: version {version} has {balance}, it should be {expected}: {credits - debits}"
        if (debits, credits, len(moves[account.id])) != (account.debits, account.credits, account.version):
            yield f"I1 {account}: its {len(moves[account.id])} postings make debits {debits}, credits {credits}"


def _check_rest(evidence: Evidence) -> Iterator[str]:
    """At rest no wallet is below zero, and an escrow holds what its owner's packets have not given out."""
    held: Counter[str] = Counter()
    for packet in evidence.packets:
        held[packet.owner] += packet.total - packet.claimed - packet.refunded
    for account in evidence.accounts:
        balance = account.credits - account.debits
        if account.kind == "wallet" and balance < 0:
            yield f"I1 {account} is below zero"
        if account.kind == "escrow" and balance != held[account.owner]:
            yield f"I1 {account} does not hold the {held[account.owner]} that is left of its packets"
    debits = sum(account.debits for account in evidence.accounts)
    credits = sum(account.credits for account in evidence.accounts)
    if debits != credits and not evidence.owners:
        yield f"I1 debits {debits} and credits {credits} differ"


def _check_chains(evidence: Evidence) -> Iterator[str]:
    """The chain is made anew from the log's own bytes."""
    for shard, log in enumerate(evidence.shards):
        if not log.next_offset == len(log.records) == len(log.chain):
            yield (
                f"I8 shard {shard} is settled up to {log.next_offset}, with {len(log.chain)} records of the log's"
                f" {len(log.records)}"
            )
        link = bytes(32)
        for offset, (record, kept) in enumerate(zip(log.records, log.chain, strict=False)):
            link = hashlib.sha256(link + hashlib.sha256(record).digest()).digest()
            if link != kept:
                yield f"I8 shard {shard}: the chain breaks at offset {offset}"
                break
        else:
            if link != log.head:
                yield f"I8 shard {shard}: its head is not the chain's last link"
