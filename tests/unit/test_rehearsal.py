"""What a rehearsal plays, and what it makes of a record: without servers and without locust."""

import random
from collections import Counter

import pytest
from click.testing import CliRunner

from loadtest.record.words import Answer, Asked, Kind, Outcome, Request
from loadtest.rehearsal import summary
from loadtest.rehearsal.board import Board
from loadtest.rehearsal.choices import choose_packet
from loadtest.rehearsal.scenarios import SCENARIOS, moment_s, people_at
from loadtest.rehearsal.watch import Look
from redpacket.cli import rehearsal

BEGAN_S = 1_000_000.0


def test_the_command_offers_every_scenario() -> None:
    assert tuple(SCENARIOS) == rehearsal.SCENARIOS


def test_without_locust_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "find_spec", lambda name: None)
    result = CliRunner().invoke(rehearsal.rehearse, ["steady"])
    assert (result.exit_code, "its extra `loadtest`" in result.output) == (2, True), result.output


@pytest.mark.parametrize("minutes", [1, 5, 480])
def test_at_midnight_ten_times_as_many_are_there_within_three_seconds_however_long_the_night(minutes: int) -> None:
    eve, seconds = SCENARIOS["new-years-eve"], minutes * 60.0
    midnight_s = seconds / 2
    assert people_at(eve, 5_000, midnight_s - 0.01, seconds) == 500
    assert people_at(eve, 5_000, midnight_s + 3.0, seconds) == 5_000
    assert moment_s(eve.peak, seconds) == midnight_s + 3.0
    assert people_at(eve, 5_000, seconds, seconds) == 500


@pytest.mark.parametrize("name", SCENARIOS)
def test_somebody_is_always_there_and_never_more_than_wanted(name: str) -> None:
    there = [people_at(SCENARIOS[name], 700, at_s / 10, 60.0) for at_s in range(601)]
    assert min(there) >= 1
    assert max(there) == 700 == people_at(SCENARIOS[name], 700, moment_s(SCENARIOS[name].peak, 60.0), 60.0)


@pytest.mark.parametrize("ratio", [1.0, 2.6, 40.0])
def test_as_many_shares_are_claimed_for_each_packet_that_is_sent_as_was_asked_for(ratio: float) -> None:
    """Two of three come too late."""
    chance = random.Random(1)
    board, opened_by = Board(ratio, chance), [set[str]() for _ in range(500)]
    sent = claimed = 0
    for turn in range(60_000):
        mine = opened_by[turn % 500]
        if board.is_time_to_send():
            board.post(f"packet-{sent}")
            sent += 1
        elif (packet := board.choose(mine)) is not None:
            assert packet not in mine, "a person opens a packet once"
            mine.add(packet)
            if chance.random() < 1 / 3:
                board.claimed()
                claimed += 1
    assert claimed / sent == pytest.approx(ratio, rel=0.01)


def test_nobody_opens_what_is_not_there() -> None:
    board = Board(2.6, random.Random(1))
    assert board.choose(set()) is None
    assert board.is_time_to_send()
    assert not board.is_time_to_send(), "the first is still on its way"


@pytest.mark.parametrize("people", [1, 2])
def test_few_people_do_not_wait_for_each_other_for_ever(people: int) -> None:
    board, opened_by, sent = Board(2.6, random.Random(1)), [set[str]() for _ in range(people)], 0
    for turn in range(100):
        if board.is_time_to_send():
            sent += 1
            board.post(f"packet-{sent}")
        elif (packet := board.choose(opened_by[turn % people])) is not None:
            opened_by[turn % people].add(packet)
    assert sent > 10


def test_a_send_that_came_to_nothing_is_not_waited_for() -> None:
    board = Board(2.6, random.Random(1))
    assert board.is_time_to_send()
    board.forget_send()
    assert board.is_time_to_send()


def test_the_packets_that_people_choose_are_such_as_the_api_takes() -> None:
    chance = random.Random(1)
    packets = [choose_packet(chance) for _ in range(2_000)]
    for packet in packets:
        assert 1 <= packet["shares"] <= packet["total"] <= 10_000_000
        assert packet["kind"] == "lucky" or packet["total"] % packet["shares"] == 0
        assert packet.get("greeting", "x")
    assert {packet["kind"] for packet in packets} == {"lucky", "equal"}
    assert len({packet["shares"] for packet in packets}) > 3


def request(
    number: int,
    kind: Kind,
    started_s: float,
    ended_s: float | None,
    *,
    outcome: Outcome = "ok",
    status: int = 201,
    code: str = "",
    packet: str = "p",
    owner: str = "alice",
) -> Request:
    return Request(
        number=number,
        asked=Asked(kind=kind, owner=owner, key=f"{kind}-key" if kind == "send" else "", packet=packet),
        started_s=BEGAN_S + started_s,
        ended_s=None if ended_s is None else BEGAN_S + ended_s,
        answer=Answer(outcome=outcome, status=status, code=code),
    )


RECORD = [
    request(1, "send", 0.1, 0.2, packet=""),
    # Turned away, broken off, then hers.
    request(2, "claim", 0.5, 0.6, outcome="unknown", status=503, code="shard_closed"),
    request(3, "claim", 1.0, 1.4, outcome="unknown", status=0, code="ConnectionResetError"),
    request(4, "claim", 2.0, 2.25),
    # A repeat adds nothing.
    request(5, "claim", 2.5, 2.6, status=200),
    request(6, "claim", 1.0, 1.1, outcome="fail", status=409, code="sold_out", owner="bob"),
    request(7, "see_packet", 2.0, 2.1, status=200),
    # Nobody knows.
    request(8, "claim", 2.9, None, outcome="unknown", status=0, code="went_away", owner="carol"),
]


def test_each_thing_is_counted_in_the_second_in_which_it_was() -> None:
    seconds = summary.by_second(RECORD, [], BEGAN_S, [3, 4, 5])
    columns = {
        "people": [3, 4, 5],
        "offered": [2, 1, 1],
        "attempts": [2, 2, 4],
        "accepted": [1, 0, 1],
        "refused": [0, 1, 0],
        "turned_away": [1, 0, 0],
        "broken": [0, 1, 0],
        "settled": [None] * 3,
        "lag_records": [None] * 3,
    }
    assert {name: [getattr(second, name) for second in seconds] for name in columns} == columns
    assert [second.p99_ms and round(second.p99_ms) for second in seconds] == [100, 100, 248]


def test_what_is_final_waited_from_the_first_attempt_on() -> None:
    assert [round(it, 2) for it in summary.until_final(RECORD, "claim")] == [1.75, 0.1]
    by_what = {it.what: it for it in summary.latencies(RECORD)}
    assert by_what["claim, until it was final"].count == 2
    assert round(by_what["claim, until it was final"].max_ms) == 1750
    assert by_what["claim, one answer"].count == 4, "who got no answer has no time for it"


def test_refusals_are_told_by_reason_and_the_unknown_by_what_became_of_them() -> None:
    assert summary.refusals(RECORD) == Counter(
        {
            "503 shard_closed": 1,
            "no answer: ConnectionResetError": 1,
            "409 sold_out": 1,
            "no answer: went_away": 1,
        }
    )
    assert summary.became_of_unknown(RECORD) == {"done": 1, "not known": 1}


def test_what_is_settled_is_shared_out_between_looks_and_not_made_up_where_there_were_none() -> None:
    looks = [
        Look(BEGAN_S, 10, 0),
        Look(BEGAN_S + 2.0, 30, 5),
        Look(BEGAN_S + 3.0, None, None),
        Look(BEGAN_S + 7.0, 90, 2),
        Look(BEGAN_S + 8.0, 91, None),
    ]
    seconds = summary.by_second([], looks, BEGAN_S, [1] * 9)
    assert [it.settled for it in seconds] == [10, 10, None, None, None, None, None, 1, None]
    assert [it.lag_records for it in seconds] == [0, None, 5, None, None, None, None, 2, None]


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert summary.percentile([7.0], 99.9) == 7.0
    assert summary.percentile(list(range(1, 1002)), 99) == 991


def test_the_ledger_has_everything_when_a_look_after_the_last_request_says_so() -> None:
    looks = [Look(BEGAN_S, 1, 0), Look(BEGAN_S + 1, 1, 3), Look(BEGAN_S + 2, 1, None), Look(BEGAN_S + 3, 4, 0)]
    assert summary.drained_s(looks, BEGAN_S + 0.5) == 2.5
    assert summary.drained_s(looks[:3], BEGAN_S + 0.5) is None
