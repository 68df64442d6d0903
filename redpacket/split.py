"""How a packet is split into shares: a pure function of a seed and the parameters.

Shares are fixed when the packet is made. Its `commitment` is published then and its seed once it is final, so that
anyone can recompute every amount. Whatever is hashed or drawn here is written down, byte by byte, in docs/split.md;
docs/split.mjs does the same in a browser. What "lucky" and "equal" mean never changes: another rule is another kind.

All money is in integer minor units. There is no float anywhere.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator
from itertools import count
from typing import Literal

import msgspec

SHARES_MAX = 10_000
# Redis' Lua sees numbers as doubles; the whole house keeps amounts below this, and draws stay far below 2^64.
TOTAL_LIMIT_MINOR = 10**13

SEED_BYTES = 32
DRAW_LIMIT = 1 << 64

# One label for each use of a hash, none the beginning of another: a published commitment can never be a block of the
# generator, and a split key that an operator also uses elsewhere gives nothing away here.
SEED_LABEL = b"redpacket seed\n"
COMMITMENT_LABEL = b"redpacket commitment\n"
# With seed and counter 55 bytes: the longest message that SHA-256 takes in one block.
DRAW_LABEL = b"redpacket draw\n"

BATCH_BLOCKS = 16  # blocks hashed at a time: enough for 20 shares, little wasted on fewer


class SplitError(ValueError):
    """These parameters cannot hold; the sentence names the field."""


class SplitParameters(msgspec.Struct, frozen=True, array_like=True):
    """What a packet's split is made from; the order of the fields is that of the commitment.

    kind         "lucky" (random amounts) or "equal"
    total_minor  1 .. 10^13 - 1
    shares       1 .. 10,000
    cap_minor    no share is larger; `total_minor` where there is no cap
    min_minor    no share is smaller; at least 1
    """

    kind: Literal["lucky", "equal"]
    total_minor: int
    shares: int
    cap_minor: int
    min_minor: int


def check_parameters(p: SplitParameters) -> None:
    """Raise `SplitError` unless a split exists. Cap and minimum bind equal shares too."""
    if p.kind not in ("lucky", "equal"):
        raise SplitError(f"kind must be lucky or equal, not {p.kind!r}")
    if not 1 <= p.total_minor < TOTAL_LIMIT_MINOR:
        raise SplitError(f"total_minor must be from 1 to {TOTAL_LIMIT_MINOR - 1}, not {p.total_minor}")
    if not 1 <= p.shares <= SHARES_MAX:
        raise SplitError(f"shares must be from 1 to {SHARES_MAX}, not {p.shares}")
    if p.min_minor < 1:
        raise SplitError(f"min_minor must be at least 1, not {p.min_minor}")
    if not p.min_minor <= p.cap_minor <= p.total_minor:
        raise SplitError(
            f"cap_minor must be from min_minor ({p.min_minor}) to total_minor ({p.total_minor}), not {p.cap_minor}"
        )
    if p.shares * p.min_minor > p.total_minor:
        raise SplitError(f"min_minor is too large: {p.shares} shares of {p.min_minor} are more than {p.total_minor}")
    if p.shares * p.cap_minor < p.total_minor:
        raise SplitError(f"cap_minor is too small: {p.shares} shares of {p.cap_minor} are less than {p.total_minor}")
    if p.kind == "equal" and p.total_minor % p.shares:
        raise SplitError(f"total_minor must be a multiple of shares: {p.total_minor} is none of {p.shares}")


def split_seed(split_key: bytes, packet_id: str) -> bytes:
    """The packet's seed, 32 bytes, stored nowhere. Who knows the key knows every amount of every packet."""
    return hmac.digest(split_key, SEED_LABEL + packet_id.encode(), "sha256")


def commitment(seed: bytes, p: SplitParameters) -> str:
    """64 lower-case hex digits, published at creation: they bind the operator to seed and parameters, and tell neither.

    SHA-256 over lines of text, so that `sha256sum` can check it. Raises `SplitError` as `check_parameters` does, and
    ValueError for a seed that is not 32 bytes.
    """
    check_parameters(p)
    _check_seed(seed)
    lines = (seed.hex(), p.kind, p.total_minor, p.shares, p.cap_minor, p.min_minor)
    return hashlib.sha256(COMMITMENT_LABEL + "".join(f"{line}\n" for line in lines).encode()).hexdigest()


class SplitGenerator:
    """Uniform integers from a seed: SHA-256 in counter mode, cut into 64-bit words, with rejection."""

    def __init__(self, seed: bytes) -> None:
        _check_seed(seed)
        self._words = _hash_words(DRAW_LABEL + seed)

    def draw_below(self, n: int) -> int:
        """A uniform integer in [0, n), for n from 1 to 2^64. Takes one word, and one more for each word refused."""
        if not 1 <= n <= DRAW_LIMIT:
            raise ValueError(f"n must be from 1 to 2^64, not {n}")
        for word in self._words:
            drawn = word % n
            # Words are used in whole runs of n; those of the last, cut short by 2^64, would favour small numbers.
            if word - drawn <= DRAW_LIMIT - n:
                return drawn
        raise AssertionError("the words do not end")


def draw_amounts(generator: SplitGenerator, p: SplitParameters) -> list[int]:
    """The shares in the order drawn, before the shuffle: every one has the mean total/shares, but not the same spread.

    The rule is the "double mean" in integers. With R left for m shares: s is 2R/m rounded down or up so that its mean
    is 2R/m; an amount uniform in {lo .. s - lo} has the mean s/2, hence R/m, for any lo. lo is what keeps the minimum
    and, from the other side, the cap. That the shares left can then still hold R is shown in docs/split.md.
    `p` is one that `check_parameters` lets pass.
    """
    if p.kind == "equal":
        return [p.total_minor // p.shares] * p.shares
    draw_below, min_minor, cap_minor = generator.draw_below, p.min_minor, p.cap_minor
    left_minor = p.total_minor
    amounts = []
    for shares_left in range(p.shares, 1, -1):
        s = (2 * left_minor + draw_below(shares_left)) // shares_left
        lo = s - cap_minor
        if lo < min_minor:  # max(), a tenth faster over the whole
            lo = min_minor
        amount = lo + draw_below(s - 2 * lo + 1)
        amounts.append(amount)
        left_minor -= amount
    amounts.append(left_minor)
    return amounts


def shuffle_amounts(generator: SplitGenerator, amounts: list[int]) -> None:
    """Fisher-Yates in place, from the last position down to the second; every order has the same chance."""
    for i in range(len(amounts) - 1, 0, -1):
        j = generator.draw_below(i + 1)
        amounts[i], amounts[j] = amounts[j], amounts[i]


def split_amounts(seed: bytes, p: SplitParameters) -> list[int]:
    """The amounts by position: share number n, from 1 to `shares`, has amounts[n - 1].

    Their sum is the total, each is from the minimum to the cap, and every position has the same distribution. 10,000
    shares take about 15 ms: not for an event loop. Raises `SplitError` as `check_parameters` does, and
    ValueError for a seed that is not 32 bytes.
    """
    check_parameters(p)
    generator = SplitGenerator(seed)
    amounts = draw_amounts(generator, p)
    if p.kind == "lucky":
        shuffle_amounts(generator, amounts)
    return amounts


def _check_seed(seed: bytes) -> None:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed is {SEED_BYTES} bytes, not {len(seed)}")


def _hash_words(prefix: bytes) -> Iterator[int]:
    """SHA-256(prefix, counter) for counter 0, 1, 2, ...; each digest is four big-endian words of 64 bits."""
    sha256 = hashlib.sha256
    unpack = struct.Struct(f">{4 * BATCH_BLOCKS}Q").unpack
    for first in count(0, BATCH_BLOCKS):
        counters = range(first, first + BATCH_BLOCKS)
        yield from unpack(b"".join([sha256(prefix + c.to_bytes(8, "big")).digest() for c in counters]))
