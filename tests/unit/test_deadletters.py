"""How dead letters are named and told, without a server."""

import json
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from ledger.deadletters.decide import Replayed
from ledger.deadletters.letter import Letter, LetterError, LetterName, parse_name
from ledger.deadletters.words import describe_rejected, describe_replayed, format_json, format_letter, format_table

AT = datetime(2026, 2, 17, 8, 0, 0, tzinfo=UTC)
AT_MS = 1_771_315_200_123
CLAIM = Letter(LetterName(3, 1042, 0), "packet", "it is bob's", "ShareClaimed()", b"\x01", AT_MS, AT, "", None)
RECORD = Letter(LetterName(3, 1043, -1), "", "it cannot be decoded", "", b"junk", None, AT, "rejected", AT)


@pytest.mark.parametrize("name", ["3-1042-0", "255-9000000000-17", "0-0", "3-1042"])
def test_a_name_is_read_as_it_is_written(name: str) -> None:
    assert str(parse_name(name)) == name


@pytest.mark.parametrize(
    "text", ["", "3", "3-1042-", "3-1042-0-1", "3--1", "x-1-0", "3-1042-0 ", "3-1042--1", "1000-1"]
)
def test_nothing_else_names_a_letter(text: str) -> None:
    with pytest.raises(LetterError, match="names no dead letter"):
        parse_name(text)


def test_the_list_says_what_is_frozen_and_why() -> None:
    head, claim, record = format_table([CLAIM, RECORD]).splitlines()
    assert head.split("  ")[0] == "LETTER"
    assert claim.split() == ["3-1042-0", "2026-02-17", "08:00:00", "packet", "-", "it", "is", "bob's"]
    assert record.split()[:6] == ["3-1043", "2026-02-17", "08:00:00", "shard", "3", "rejected"]


def test_the_list_for_programs_holds_the_same_and_what_was_packed() -> None:
    claim, record = json.loads(format_json([CLAIM, RECORD]))
    assert claim == {
        "letter": "3-1042-0",
        "shard": 3,
        "offset": 1042,
        "item": 0,
        "freezes": "packet",
        "reason": "it is bob's",
        "event": "ShareClaimed()",
        "packed": "01",
        "reserved_at": "2026-02-17T08:00:00.123000Z",
        "set_aside_at": "2026-02-17T08:00:00Z",
        "decision": None,
        "decided_at": None,
    }
    assert (record["freezes"], record["reserved_at"], record["decision"]) == ("shard 3", None, "rejected")


def test_a_letter_is_shown_whole() -> None:
    shown = format_letter(RECORD)
    for part in ("3-1043", "shard 3", "it cannot be decoded", "6a 75 6e 6b", "rejected 2026-02-17 08:00:00"):
        assert part in shown


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (describe_rejected(CLAIM), "packet goes on from what the ledger says"),
        (describe_rejected(replace(CLAIM, subject="")), "Shard 3 is opened anew"),
        (describe_rejected(RECORD), "it moves nothing"),
        (describe_replayed(CLAIM.name, Replayed("applied")), "It is applied"),
        (describe_replayed(CLAIM.name, Replayed("repeated")), "had it already"),
        (describe_replayed(CLAIM.name, Replayed("set aside", LetterName(3, 1050, 0))), "set aside as 3-1050-0"),
        (describe_replayed(RECORD.name, Replayed("tried")), "tries 3-1043 again"),
    ],
)
def test_a_decision_says_what_follows_from_it(said: str, part: str) -> None:
    assert part in said
