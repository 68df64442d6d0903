"""Dead letters, for people and for programs."""

import msgspec

from ledger.deadletters.decide import Replayed
from ledger.deadletters.letter import Letter, LetterName
from redpacket.ids import utc

HEADINGS = ("LETTER", "SET ASIDE", "FREEZES", "DECISION", "REASON")
_TIME = "%Y-%m-%d %H:%M:%S"


def format_table(letters: list[Letter]) -> str:
    rows = [HEADINGS, *(_cells(letter) for letter in letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _cells(letter: Letter) -> tuple[str, ...]:
    return (
        str(letter.name),
        letter.set_aside_at.strftime(_TIME),
        freezes(letter) or "-",
        letter.decision or "-",
        letter.reason,
    )


def freezes(letter: Letter) -> str:
    """What waits for the decision."""
    return f"shard {letter.name.shard}" if letter.is_record else letter.subject


def format_json(letters: list[Letter]) -> str:
    listed = [
        {
            "letter": str(letter.name),
            "shard": letter.name.shard,
            "offset": letter.name.kafka_offset,
            "item": letter.name.item,
            "freezes": freezes(letter),
            "reason": letter.reason,
            "event": letter.event,
            "packed": letter.packed.hex(),
            "reserved_at": None if letter.at_ms is None else utc(letter.at_ms),
            "set_aside_at": letter.set_aside_at,
            "decision": letter.decision or None,
            "decided_at": letter.decided_at,
        }
        for letter in letters
    ]
    return msgspec.json.format(msgspec.json.encode(listed)).decode()


def format_letter(letter: Letter) -> str:
    """All of it, a line for each field."""
    told = {
        "letter": str(letter.name),
        "freezes": freezes(letter) or "nothing",
        "reason": letter.reason,
        "event": letter.event or "it cannot be read",
        "bytes": letter.packed.hex(" ") or "not kept",
        "reserved": "unknown" if letter.at_ms is None else utc(letter.at_ms).isoformat(" ", "milliseconds"),
        "set aside": letter.set_aside_at.strftime(_TIME),
        "decision": f"{letter.decision} {letter.decided_at:{_TIME}}" if letter.decided_at else "none yet",
    }
    width = max(map(len, told))
    return "\n".join(f"{field:<{width}}  {value}" for field, value in told.items())


def describe_rejected(letter: Letter) -> str:
    """A sentence."""
    if letter.is_record:
        goes_on = f"it moves nothing, and {freezes(letter)} is settled behind it"
    else:
        goes_on = f"{letter.subject or 'everything'} goes on from what the ledger says"
    return f"{letter.name} is rejected: {goes_on}. Shard {letter.name.shard} is opened anew."


def describe_replayed(name: LetterName, replayed: Replayed) -> str:
    """A sentence."""
    match replayed:
        case Replayed("tried"):
            return f"Shard {name.shard} tries {name} again; where that fails it is listed again."
        case Replayed("set aside", again):
            return f"It contradicts the ledger again, and is set aside as {again}."
        case Replayed("repeated"):
            return f"The ledger had it already. Shard {name.shard} is opened anew."
        case _:
            return f"It is applied. Shard {name.shard} is opened anew."
