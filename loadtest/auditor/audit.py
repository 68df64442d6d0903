"""The auditor: a pure function of what was asked, what was answered, and what the ledger and the log hold.

I1 per packet claimed + refunded + remaining = total, and debits = credits.
I2 (packet, share) once. I3 (packet, person) once.
I4 what anybody was told is in the ledger, with the same amount.
I5 nothing is there that nobody asked for.
I6 what was told never changes.
I7 every unknown outcome was one or none.
I8 the hash chain verifies.
"""

from collections.abc import Iterable, Sequence

from loadtest.auditor.answers import Window, check_answers, check_harmless
from loadtest.auditor.books import check_books
from loadtest.auditor.evidence import Evidence
from loadtest.auditor.promises import check_told
from loadtest.auditor.told import index_requests
from loadtest.record.words import Request


def audit(requests: Sequence[Request], evidence: Evidence, id_key: bytes, harmless: Iterable[Window] = ()) -> list[str]:
    """A sentence for everything that is wrong. `harmless`: windows in which no request may have failed."""
    told = index_requests(requests, id_key)
    return [
        *check_books(evidence),
        *check_told(told, evidence),
        *check_answers(told, evidence),
        *check_harmless(told, harmless),
    ]
