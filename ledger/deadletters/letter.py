"""A dead letter: an event that is set aside, or a record that holds its shard, until a person has decided."""

import re
from datetime import datetime

from msgspec import Struct

# The item of a letter that is a whole record.
WHOLE_RECORD = -1

_SPELLING = re.compile(r"(\d{1,3})-(\d{1,18})(?:-(\d{1,9}))?")


class LetterError(Exception):
    """What was asked for cannot be done; the message is a sentence that says why, and that nothing was decided."""


class LetterName(Struct, frozen=True):
    """SHARD-OFFSET-ITEM, or SHARD-OFFSET for a whole record."""

    shard: int
    kafka_offset: int
    item: int

    def __str__(self) -> str:
        record = f"{self.shard}-{self.kafka_offset}"
        return record if self.item == WHOLE_RECORD else f"{record}-{self.item}"


class Letter(Struct, frozen=True):
    """`subject`: what is frozen, '' for nothing; `event` is for people, `packed` what it was made from; `at_ms`: when
    it was reserved, None of a whole record; `decision`: '' as long as there is none."""

    name: LetterName
    subject: str
    reason: str
    event: str
    packed: bytes
    at_ms: int | None
    set_aside_at: datetime
    decision: str
    decided_at: datetime | None

    @property
    def is_record(self) -> bool:
        return self.name.item == WHOLE_RECORD


def parse_name(text: str) -> LetterName:
    """Raises LetterError."""
    spelled = _SPELLING.fullmatch(text)
    if spelled is None:
        raise LetterError(f"{text!r} names no dead letter: it is SHARD-OFFSET-ITEM, or SHARD-OFFSET for a whole record")
    return LetterName(int(spelled[1]), int(spelled[2]), WHOLE_RECORD if spelled[3] is None else int(spelled[3]))
