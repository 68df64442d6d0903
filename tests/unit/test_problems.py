"""Refusals: one form for all, nothing told of what went wrong inside."""

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from redpacket.books.database import BooksUnavailableError
from redpacket.commit.amounts import AmountsBusyError
from redpacket.log.producer import LogUnavailableError
from redpacket.shard.client import MemoryFullError, ShardClosedError, ShardUnreachableError
from redpacket.shard.reserve import Refused
from redpacket.split import SplitError, SplitParameters, check_parameters
from service.call import decode_body
from service.outcomes import refusal
from service.packets import packet_terms
from service.problems import Code, Problem, ProblemError, answer_problem, problem_of
from service.words import PacketRequest


@pytest.mark.parametrize("code", Code)
async def test_every_code_makes_a_whole_problem(code: Code) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await answer_problem(send, ProblemError(code, "Why."))
    start, body = sent
    headers = dict(start["headers"])
    problem = msgspec.json.decode(body["body"], type=Problem)
    assert start["status"] == problem.status == code.status
    assert (problem.code, problem.detail, problem.retryable) == (code.code, "Why.", code.retryable)
    assert headers[b"content-type"] == b"application/problem+json"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert (b"retry-after" in headers) == (code.status in (429, 503))


def test_codes_are_told_apart() -> None:
    assert len({code.code for code in Code}) == len(Code)
    assert 500 not in {code.status for code in Code}


def test_those_who_are_refused_together_come_back_apart() -> None:
    waits = {ProblemError(Code.OVERLOADED, "").headers["retry-after"] for _ in range(200)}
    assert len(waits) > 1
    assert all(1 <= int(wait) <= 10 for wait in waits)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ShardClosedError("x"), "shard_closed"),
        (ShardUnreachableError("x"), "unavailable"),
        (BooksUnavailableError("x"), "unavailable"),
        (LogUnavailableError("x"), "unavailable"),
        (MemoryFullError("x"), "overloaded"),
        (AmountsBusyError("x"), "overloaded"),
        (TimeoutError(), "unavailable"),
    ],
)
def test_a_part_that_is_away_is_a_503(error: Exception, code: str) -> None:
    problem = problem_of(error)
    assert (problem.code.status, problem.code.code) == (503, code)


@pytest.mark.parametrize(
    ("why", "status", "code"),
    [
        ("not_found", 404, "not_found"),
        ("sold_out", 409, "sold_out"),
        ("expired", 410, "packet_expired"),
        ("closed", 410, "packet_closed"),
        ("short", 402, "insufficient_funds"),
        ("limit", 409, "limit_exceeded"),
        ("overloaded", 503, "overloaded"),
        ("stalled", 503, "unavailable"),
        ("busy", 503, "unavailable"),
        ("late", 503, "unavailable"),
        ("frozen", 503, "unavailable"),
    ],
)
def test_every_refusal_of_the_commit_path_has_its_code(why: Any, status: int, code: str) -> None:
    problem = refusal(Refused(why))
    assert (problem.code.status, problem.code.code) == (status, code)
    assert problem.code.retryable == (status == 503)


def test_what_nobody_expected_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        problem = problem_of(_raised(RuntimeError("secret")))
    assert problem.code is Code.UNAVAILABLE
    assert b"secret" not in problem.body()
    assert "secret" in caplog.text
    assert "Traceback" in caplog.text


def _raised(error: Exception) -> Exception:
    try:
        raise error  # noqa: TRY301 it is to have a trace
    except Exception as raised:  # noqa: BLE001
        return raised


def _refusal(body: bytes) -> Code | None:
    """What becomes of a body on its way to the terms of a packet."""
    try:
        packet_terms("alice", decode_body(body, PacketRequest), "CNY")
    except ProblemError as error:
        return error.code
    return None


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\u0019ekindtoalshrcpmg ', max_size=200).map(str.encode))
def test_no_body_does_worse_than_a_refusal(body: bytes) -> None:
    assert _refusal(body) in (None, Code.INVALID_REQUEST)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*PacketRequest.__struct_fields__, "other"]), JSON))
def test_no_fields_do_worse_than_a_refusal(fields: dict[str, Any]) -> None:
    assert _refusal(msgspec.json.encode(fields)) in (None, Code.INVALID_REQUEST)


@given(
    st.sampled_from(["lucky", "equal"]),
    *[st.integers(1, 50)] * 2,
    st.just(UNSET) | st.integers(1, 50),
    st.integers(1, 9),
)
def test_a_packet_is_taken_just_where_a_split_exists(
    kind: Any, total: int, shares: int, cap: int | UnsetType, min: int
) -> None:
    asked = PacketRequest(kind=kind, total=total, shares=shares, cap=cap, min=min)
    split = SplitParameters(kind, total, shares, total if cap is UNSET else cap, min)
    try:
        check_parameters(split)
    except SplitError:
        with pytest.raises(ProblemError) as caught:
            packet_terms("alice", asked, "CNY")
        assert "_minor" not in caught.value.detail
    else:
        assert packet_terms("alice", asked, "CNY").split == split


@pytest.mark.parametrize("body", [b'{"owner":"a","owner":"b"}', b'{"kind":"lucky","total":5,"shares":1,"shares":1}'])
def test_a_field_that_is_there_twice_is_refused(body: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        decode_body(body, dict if b"owner" in body else PacketRequest)
    assert "twice" in caught.value.detail
