"""What the commit path answers, in the API's words; and the count of what was answered."""

from functools import cache

from prometheus_client import Counter

from redpacket.ops.metrics import OUTCOMES
from redpacket.shard.reserve import Refused
from service.problems import Code, ProblemError

# With a 202. Most are known sooner; an entry that has lost its publisher is published by whoever asks after this.
PENDING_HEADERS = {"retry-after": "1"}

_ASK_AGAIN = "Nothing was changed, as far as is known: ask the same again."
_REFUSALS = {
    "not_found": (Code.NOT_FOUND, "There is no such packet."),
    "sold_out": (Code.SOLD_OUT, "Every share of the packet is taken."),
    "expired": (Code.PACKET_EXPIRED, "The packet has expired."),
    "closed": (Code.PACKET_CLOSED, "The packet is closed."),
    "short": (
        Code.INSUFFICIENT_FUNDS,
        "The wallet holds less than the amount: top it up, and ask the same again.",
    ),
    "limit": (Code.LIMIT_EXCEEDED, "More has come in to the wallet than a wallet may see."),
    "overloaded": (
        Code.OVERLOADED,
        "Nothing was changed: too much waits, or memory is short. Ask the same again.",
    ),
    "stalled": (Code.UNAVAILABLE, "Nothing was changed: the log takes nothing at present. Ask the same again."),
    # All is reserved but not all of it confirmed, and some of it may yet come free; or the packet is about to end.
    "busy": (Code.UNAVAILABLE, _ASK_AGAIN),
    "late": (Code.UNAVAILABLE, _ASK_AGAIN),
    "frozen": (Code.UNAVAILABLE, "Nothing was changed. The packet, or the wallet, is held for a person's check."),
}


def refusal(refused: Refused) -> ProblemError:
    return ProblemError(*_REFUSALS[refused.why])


def key_reused() -> ProblemError:
    return ProblemError(
        Code.IDEMPOTENCY_KEY_REUSED,
        "An earlier request with this key asked for something else: a new one needs a new key.",
    )


def count(kind: str, outcome: str) -> None:
    """`kind`: claim, packet, close, topup. `outcome`: created, repeated, pending, or the code of a refusal."""
    _counter(kind, outcome).inc()


@cache
def _counter(kind: str, outcome: str) -> Counter:
    return OUTCOMES.labels(kind, outcome)
