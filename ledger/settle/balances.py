"""From postings to rows: each account's movement in one sum, and the balance after each posting."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from ledger.settle.decide import Posting
from ledger.settle.state import Account


class Movement(Struct):
    """What all postings of a transaction do to one account, in sum."""

    debits_minor: int = 0
    credits_minor: int = 0
    postings: int = 0


class Balance(Struct):
    """An account's id, and its version and balance as of the posting at hand."""

    id: int
    version: int
    balance_minor: int


def sum_movements(postings: Iterable[Posting]) -> dict[Account, Movement]:
    """The movement of each account that the postings touch."""
    movements: defaultdict[Account, Movement] = defaultdict(Movement)
    for posting in postings:
        debit, credit = movements[posting.debit], movements[posting.credit]
        debit.debits_minor += posting.amount_minor
        debit.postings += 1
        credit.credits_minor += posting.amount_minor
        credit.postings += 1
    return dict(movements)


def balances_before(
    moved: Mapping[Account, tuple[int, int, int]], movements: Mapping[Account, Movement]
) -> dict[Account, Balance]:
    """Each account as it was before: `moved` has its id, version and balance after all of its movement."""
    return {
        account: Balance(
            id,
            version - movements[account].postings,
            balance_minor - movements[account].credits_minor + movements[account].debits_minor,
        )
        for account, (id, version, balance_minor) in moved.items()
    }


def post_in_order(postings: Iterable[Posting], balances: Mapping[Account, Balance]) -> list[tuple[Balance, Balance]]:
    """For each posting the debited and the credited account as they are after it; `balances` moves along."""
    after = []
    for posting in postings:
        debit, credit = balances[posting.debit], balances[posting.credit]
        debit.version += 1
        debit.balance_minor -= posting.amount_minor
        credit.version += 1
        credit.balance_minor += posting.amount_minor
        after.append((_copy(debit), _copy(credit)))
    return after


def _copy(balance: Balance) -> Balance:
    return Balance(balance.id, balance.version, balance.balance_minor)
