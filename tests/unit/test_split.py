"""The split of a packet: exact, bounded, fair, and the same in another language."""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import permutations
from math import prod, sqrt
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpacket.split import (
    DRAW_LIMIT,
    SHARES_MAX,
    TOTAL_LIMIT_MINOR,
    SplitError,
    SplitGenerator,
    SplitParameters,
    check_parameters,
    commitment,
    draw_amounts,
    shuffle_amounts,
    split_amounts,
    split_seed,
)

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/split.json").read_text(encoding="utf-8"))
SEED = bytes(range(32))

Rule = Callable[[SplitGenerator, SplitParameters], list[int]]


def lucky(total: int, shares: int, cap: int | None = None, minimum: int = 1) -> SplitParameters:
    return SplitParameters("lucky", total, shares, total if cap is None else cap, minimum)


@st.composite
def parameters_that_hold(draw: st.DrawFn) -> SplitParameters:
    """All of them can come up; tight minimums and caps, and few shares, often do."""
    shares = draw(st.integers(1, 40) | st.integers(1, SHARES_MAX))
    min_minor = draw(st.integers(1, 200) | st.integers(1, (TOTAL_LIMIT_MINOR - 1) // shares))
    least = shares * min_minor
    most = TOTAL_LIMIT_MINOR - 1
    if draw(st.booleans()):
        each = draw(st.integers(min_minor, min_minor + 3) | st.integers(min_minor, most // shares))
        kind, total_minor = draw(st.sampled_from(["equal", "lucky"])), min(each, most // shares) * shares
    else:
        kind = "lucky"
        total_minor = draw(st.integers(least, min(most, least + 2 * shares)) | st.integers(least, most))
    cap_least = -(-total_minor // shares)
    cap_minor = draw(
        st.integers(cap_least, min(total_minor, cap_least + 3))
        | st.integers(cap_least, total_minor)
        | st.just(total_minor)
    )
    return msgspec.convert([kind, total_minor, shares, cap_minor, min_minor], SplitParameters)


# What always holds


@settings(deadline=None, max_examples=300, print_blob=True)
@given(p=parameters_that_hold(), seed=st.binary(min_size=32, max_size=32))
def test_the_sum_is_exact_the_limits_hold_and_the_same_seed_gives_the_same_split(
    p: SplitParameters, seed: bytes
) -> None:
    amounts = split_amounts(seed, p)
    assert len(amounts) == p.shares
    assert sum(amounts) == p.total_minor
    assert min(amounts) >= p.min_minor
    assert max(amounts) <= p.cap_minor
    if p.kind == "equal":
        assert len(set(amounts)) == 1
    assert split_amounts(seed, p) == amounts
    assert sorted(draw_amounts(SplitGenerator(seed), p)) == sorted(amounts)


@pytest.mark.parametrize(
    ("p", "reason"),
    [
        (SplitParameters("fair", 100, 10, 100, 1), "kind must be lucky or equal"),  # type: ignore[arg-type]
        (lucky(0, 1), "total_minor must be from 1"),
        (lucky(-5, 1), "total_minor must be from 1"),
        (lucky(TOTAL_LIMIT_MINOR, 1), "total_minor must be from 1"),
        (lucky(100, 0), "shares must be from 1"),
        (lucky(TOTAL_LIMIT_MINOR - 1, SHARES_MAX + 1), "shares must be from 1"),
        (lucky(100, 10, minimum=0), "min_minor must be at least 1"),
        (lucky(100, 10, cap=19, minimum=20), "cap_minor must be from min_minor"),
        (lucky(100, 10, cap=101), "cap_minor must be from min_minor"),
        (lucky(9, 10), "min_minor is too large"),
        (lucky(99, 10, minimum=10), "min_minor is too large"),
        (lucky(101, 10, cap=10), "cap_minor is too small"),
        (lucky(100, 1, cap=99), "cap_minor is too small"),
        (SplitParameters("equal", 101, 10, 101, 1), "total_minor must be a multiple of shares"),
        (SplitParameters("equal", 100, 10, 100, 11), "min_minor is too large"),
        (SplitParameters("equal", 100, 10, 9, 1), "cap_minor is too small"),
    ],
)
def test_parameters_that_cannot_hold_are_refused_with_the_reason(p: SplitParameters, reason: str) -> None:
    with pytest.raises(SplitError, match=reason):
        check_parameters(p)
    with pytest.raises(SplitError, match=reason):
        split_amounts(SEED, p)
    with pytest.raises(SplitError, match=reason):
        commitment(SEED, p)


@pytest.mark.parametrize(
    "p",
    [
        lucky(1, 1),
        lucky(TOTAL_LIMIT_MINOR - 1, SHARES_MAX),
        lucky(100, 10, cap=10, minimum=10),
        lucky(101, 10, cap=11, minimum=10),
        SplitParameters("equal", 100, 10, 10, 10),
    ],
)
def test_parameters_that_just_hold_are_taken(p: SplitParameters) -> None:
    check_parameters(p)
    assert sum(split_amounts(SEED, p)) == p.total_minor


def test_a_seed_of_another_length_is_refused() -> None:
    for seed in (b"", SEED[:-1], SEED + b"\0"):
        with pytest.raises(ValueError, match="a seed is 32 bytes"):
            split_amounts(seed, lucky(100, 10))
        with pytest.raises(ValueError, match="a seed is 32 bytes"):
            commitment(seed, lucky(100, 10))


def test_a_commitment_changes_with_the_seed_and_with_every_parameter() -> None:
    p = lucky(100, 10, cap=90)
    others = [msgspec.structs.replace(p, **{name: getattr(p, name) + 1}) for name in p.__struct_fields__[1:]]
    others += [p, msgspec.structs.replace(p, kind="equal")]
    made = [commitment(SEED, other) for other in others] + [commitment(SEED[::-1], p)]
    assert len(set(made)) == len(made) == 7


# The generator


def test_draws_below_n_are_words_modulo_n_without_the_words_of_the_last_cut_run() -> None:
    source = SplitGenerator(SEED)
    words = [source.draw_below(DRAW_LIMIT) for _ in range(1000)]
    for n in (1, 2, 3, 10_000, (1 << 53) + 1, (1 << 63) + 1, 3 << 62, DRAW_LIMIT - 1):
        kept = [word % n for word in words if word // n < DRAW_LIMIT // n]
        generator = SplitGenerator(SEED)
        assert [generator.draw_below(n) for _ in kept] == kept
        assert (len(kept) < 900) == (n in ((1 << 63) + 1, 3 << 62)), "half and a quarter of the words are refused"


def test_a_range_that_no_word_can_fill_is_refused() -> None:
    for n in (-1, 0, DRAW_LIMIT + 1):
        with pytest.raises(ValueError, match="n must be from 1"):
            SplitGenerator(SEED).draw_below(n)


# Fairness, exactly: every outcome of a small split with its exact chance


class ScriptedGenerator(SplitGenerator):
    """Draws what the script says, then zeros; keeps what was drawn and from how many."""

    def __init__(self, script: list[int]) -> None:
        self.script = script
        self.sizes: list[int] = []

    def draw_below(self, n: int) -> int:
        assert n >= 1, "an empty range"
        if len(self.sizes) == len(self.script):
            self.script.append(0)
        self.sizes.append(n)
        return self.script[len(self.sizes) - 1]


def every_outcome(run: Callable[[SplitGenerator], list[int]]) -> Iterator[tuple[list[int], Fraction]]:
    script: list[int] = []
    while True:
        generator = ScriptedGenerator(script)
        yield run(generator), Fraction(1, prod(generator.sizes))
        while script and script[-1] == generator.sizes[len(script) - 1] - 1:
            script.pop()
        if not script:
            return
        script[-1] += 1


def small_parameters(total_max: int, shares_max: int) -> Iterator[SplitParameters]:
    for total in range(1, total_max + 1):
        for shares in range(1, min(total, shares_max) + 1):
            for minimum in range(1, total // shares + 1):
                for cap in range(-(-total // shares), total + 1):
                    yield lucky(total, shares, cap, minimum)


def test_every_small_split_keeps_its_limits_in_every_outcome_and_has_exactly_equal_means() -> None:
    for p in small_parameters(total_max=10, shares_max=4):
        means = [Fraction(0)] * p.shares
        for amounts, chance in every_outcome(lambda generator, p=p: draw_amounts(generator, p)):  # type: ignore[misc]
            assert sum(amounts) == p.total_minor, p
            assert all(p.min_minor <= amount <= p.cap_minor for amount in amounts), (p, amounts)
            means = [mean + chance * amount for mean, amount in zip(means, amounts, strict=True)]
        assert means == [Fraction(p.total_minor, p.shares)] * p.shares, p


def test_the_shuffle_gives_every_order_the_same_chance() -> None:
    def shuffle(generator: SplitGenerator) -> list[int]:
        amounts = [1, 2, 3, 4, 5]
        shuffle_amounts(generator, amounts)
        return amounts

    outcomes = list(every_outcome(shuffle))
    assert {chance for _, chance in outcomes} == {Fraction(1, 120)}
    assert sorted(tuple(amounts) for amounts, _ in outcomes) == list(permutations([1, 2, 3, 4, 5]))


# Fairness, by a statistic: many seeds, and the rules that must fail it

ROUNDS = 20_000
# In standard errors. By chance alone one position in 10^15 is further off; some 100 positions are looked at.
Z_MAX = 8.0


def take_what_you_like(generator: SplitGenerator, p: SplitParameters) -> list[int]:
    """Not our rule: anything that leaves the others their minimum."""
    amounts, left = [], p.total_minor
    for others in range(p.shares - 1, 0, -1):
        amounts.append(p.min_minor + generator.draw_below(left - p.min_minor * (others + 1) + 1))
        left -= amounts[-1]
    return [*amounts, left]


def double_mean_floored(generator: SplitGenerator, p: SplitParameters) -> list[int]:
    """Not our rule: the popular one, uniform in 1 .. floor(2R/m) - 1."""
    amounts, left = [], p.total_minor
    for shares_left in range(p.shares, 1, -1):
        amounts.append(1 + generator.draw_below(2 * left // shares_left - 1))
        left -= amounts[-1]
    return [*amounts, left]


def split_and_shuffle(generator: SplitGenerator, p: SplitParameters) -> list[int]:
    amounts = draw_amounts(generator, p)
    shuffle_amounts(generator, amounts)
    return amounts


def largest_deviation(rule: Rule, p: SplitParameters) -> float:
    """The largest |z| over the positions: how far a mean is from total/shares, in its own standard errors."""
    master = bytes.fromhex(os.environ.get("SPLIT_MASTER_SEED", "")) or secrets.token_bytes(32)
    sums, squares = [0] * p.shares, [0] * p.shares
    for n in range(ROUNDS):
        amounts = rule(SplitGenerator(split_seed(master, str(n))), p)
        for i, amount in enumerate(amounts):
            sums[i] += amount
            squares[i] += amount * amount
    expected = p.total_minor / p.shares
    print(f"{rule.__name__}, {p}, {ROUNDS} seeds from SPLIT_MASTER_SEED={master.hex()}, mean expected {expected}")
    worst = 0.0
    for i, (total, square) in enumerate(zip(sums, squares, strict=True)):
        mean = total / ROUNDS
        error = sqrt((square * ROUNDS - total * total) / ROUNDS**2 / (ROUNDS - 1))
        z = (mean - expected) / error
        worst = max(worst, abs(z))
        print(f"  position {i}: mean {mean:.4f} +- {error:.4f}, z = {z:+.2f}")
    print(f"  largest |z| = {worst:.2f}, allowed {Z_MAX}")
    return worst


FEW_UNITS = lucky(37, 10)


@pytest.mark.parametrize("rule", [draw_amounts, split_and_shuffle])
@pytest.mark.parametrize("p", [FEW_UNITS, lucky(100_000, 20, cap=9_000, minimum=100), lucky(47, 10, cap=6, minimum=2)])
def test_every_position_has_the_same_mean_before_the_shuffle_and_after(rule: Rule, p: SplitParameters) -> None:
    assert largest_deviation(rule, p) < Z_MAX


@pytest.mark.parametrize("rule", [take_what_you_like, double_mean_floored])
def test_the_same_statistic_finds_the_naive_rules_unfair(rule: Rule) -> None:
    assert largest_deviation(rule, FEW_UNITS) > Z_MAX


# Vectors


def named(case: dict[str, Any]) -> str:
    return str(case.get("name", case["seed"][:8]))


def amounts_agree(case: dict[str, Any], amounts: list[int]) -> bool:
    if "amounts" in case:
        return bool(case["amounts"] == amounts)
    return bool(case["amounts_sha256"] == hashlib.sha256(",".join(map(str, amounts)).encode()).hexdigest())


@pytest.mark.parametrize("case", VECTORS["draws"], ids=named)
def test_the_vectors_of_the_generator_are_reproduced(case: dict[str, Any]) -> None:
    generator = SplitGenerator(bytes.fromhex(case["seed"]))
    assert [str(generator.draw_below(int(n))) for n in case["below"]] == case["drawn"]


@pytest.mark.parametrize("case", VECTORS["splits"], ids=named)
def test_the_vectors_of_the_split_are_reproduced(case: dict[str, Any]) -> None:
    seed = split_seed(bytes.fromhex(VECTORS["split_key"]), case["packet_id"])
    p = msgspec.convert(list(case["parameters"].values()), SplitParameters)
    generator = SplitGenerator(seed)
    assert list(case["parameters"]) == list(SplitParameters.__struct_fields__)
    assert seed.hex() == case["seed"]
    assert commitment(seed, p) == case["commitment"]
    assert [str(generator.draw_below(DRAW_LIMIT)) for _ in case["words"]] == case["words"]
    assert amounts_agree(case, split_amounts(seed, p))


def test_the_example_in_the_documentation_is_a_vector() -> None:
    document = (ROOT / "docs/split.md").read_text(encoding="utf-8")
    case = next(case for case in VECTORS["splits"] if case["name"] == "lucky, small")
    assert " ".join([case["seed"], *map(str, case["parameters"].values())]) in document
    assert case["commitment"] in document
    assert ", ".join(map(str, case["amounts"])) in document


# Reads cases from stdin, answers each with what docs/split.mjs makes of it. Node 18 has no global crypto.
NODE_PROGRAM = """
globalThis.crypto ??= (await import("node:crypto")).webcrypto;
const { commitment, drawsFrom, splitAmounts } = await import(process.argv[1]);
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const answers = [];
for (const { seed, parameters, below } of JSON.parse(Buffer.concat(chunks).toString())) {
  const draw = drawsFrom(seed);
  const drawn = [];
  for (const n of below) drawn.push(String(await draw(BigInt(n))));
  const made = parameters && {
    commitment: await commitment(seed, parameters),
    amounts: (await splitAmounts(seed, parameters)).map(Number),
  };
  answers.push({ drawn, ...made });
}
console.log(JSON.stringify(answers));
"""


def ask_node(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the JavaScript of docs/split.mjs cannot be run")
    module = (ROOT / "docs/split.mjs").as_uri()
    command = [node, "--input-type=module", "--eval", NODE_PROGRAM, "--", module]
    answer = subprocess.run(command, input=json.dumps(cases).encode(), stdout=subprocess.PIPE, check=True, timeout=60)
    return msgspec.json.decode(answer.stdout, type=list[dict[str, Any]])


def test_javascript_reproduces_every_vector() -> None:
    draws, splits = VECTORS["draws"], VECTORS["splits"]
    cases = draws + [case | {"below": [str(DRAW_LIMIT)] * len(case["words"])} for case in splits]
    answers = ask_node(cases)
    for case, answer in zip(draws, answers[: len(draws)], strict=True):
        assert answer["drawn"] == case["drawn"]
    for case, answer in zip(splits, answers[len(draws) :], strict=True):
        assert answer["drawn"] == case["words"]
        assert answer["commitment"] == case["commitment"]
        assert amounts_agree(case, answer["amounts"])


@settings(deadline=None, max_examples=5, print_blob=True)
@given(cases=st.lists(st.tuples(parameters_that_hold(), st.binary(min_size=32, max_size=32)), max_size=20))
def test_javascript_and_python_agree_on_any_split(cases: list[tuple[SplitParameters, bytes]]) -> None:
    asked = [
        {"seed": seed.hex(), "parameters": {n: getattr(p, n) for n in p.__struct_fields__}, "below": []}
        for p, seed in cases
    ]
    for (p, seed), answer in zip(cases, ask_node(asked), strict=True):
        assert answer["commitment"] == commitment(seed, p)
        assert answer["amounts"] == split_amounts(seed, p)
