"""Holds a shard's records, as the log has them, against what the ledger says that they were and moved.

The ledger's rule, told once more and apart from the code that keeps it: a record below the highest Fence moves nothing;
of the others every event moves its money once, where it is met first, or was met before and is known in every field, or
is set aside as a dead letter. So of each event there is exactly one of: a movement that names its place, a letter that
names it, or something known that is equal; and what was replayed is known, or has another letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from ledger.audit.expect import Place, Row, differences, expected_movement, in_words
from ledger.audit.findings import Findings
from ledger.audit.log import LoggedBytes
from ledger.settle.chain import link
from redpacket.events import Event, PacketOpened, ShareClaimed
from redpacket.log.record import UNDECODABLE, Batch, Fence, Record, decode_record

_decode_event = msgspec.msgpack.Decoder(Event).decode


class Unmoved(Struct, frozen=True):
    """An event that moved nothing where it stands: the ledger says that it knew it, or that it was replayed."""

    place: Place
    event: Event
    at_ms: int


class Ignored(Struct, frozen=True):
    """A batch of an epoch that was fenced off before it came, reserved at `at_ms` by Redis."""

    kafka_offset: int
    epoch: int
    at_ms: int
    events: int


class Moved(Struct, frozen=True):
    """A claim or a send that moved money, with the row: its amounts are to be what the seed gives."""

    place: Place
    event: ShareClaimed | PacketOpened
    row: Row


@dataclass
class ShardJudge:
    """Goes through one shard from some offset; `chain` and `epoch_fenced` are as they were there, and move along."""

    findings: Findings
    shard: int
    shards: int
    chain: bytes
    epoch_fenced: int
    cut: bool = False
    unmoved: list[Unmoved] = field(default_factory=list)
    replayed: list[Unmoved] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)

    def judge(
        self,
        logged: LoggedBytes,
        kept: Row | None,
        letters: Mapping[int, Row],
        movements: Mapping[int, Sequence[Row]],
    ) -> None:
        """One record. `kept`: the ledger's row of it; `letters` and `movements` are those of this record, by item."""
        offset, record = logged.kafka_offset, _decoded(logged.raw)
        self._follow_chain(logged, kept)
        whole = letters.get(-1)
        if whole is not None and whole["decision"] == "rejected":
            # A person has decided that it moves nothing, whatever it says.
            counts, asked = (0, 0, 0, 1), set[int]()
            self.findings.count("I5", "records rejected by a person")
        elif record is None:
            self.findings.violate("I5", f"record {self.shard}/{offset} is settled and cannot be decoded")
            return
        elif isinstance(record, Fence):
            raised = record.epoch > self.epoch_fenced
            self.epoch_fenced = max(self.epoch_fenced, record.epoch)
            counts, asked = (record.epoch, int(raised), 0, 0), set()
        elif record.epoch < self.epoch_fenced:
            counts, asked = (record.epoch, 0, 0, len(record.events)), set()
            self.findings.count("I5", "events of a fenced epoch", len(record.events))
            self.ignored.append(Ignored(offset, record.epoch, record.at_ms, len(record.events)))
        else:
            counts, asked = self._judge_batch(offset, record, letters, movements)
        for item in movements.keys() - asked:
            for row in movements[item]:
                self.findings.violate("I5", f"{_row_in_words(row)} was never asked for: the log has no such item")
        # -1 names the whole record. Of a Fence, or of an epoch that is fenced off, nothing is set aside.
        for item in letters.keys() - asked - {-1}:
            self.findings.violate(
                "I5", f"dead letter {self.shard}-{offset}-{item} was never asked for: the log has no such item"
            )
        if kept is not None and counts != (kept["epoch"], kept["applied"], kept["repeated"], kept["ignored"]):
            held = tuple(kept[name] for name in ("epoch", "applied", "repeated", "ignored"))
            self.findings.violate(
                "I6", f"record {self.shard}/{offset}: (epoch, applied, repeated, ignored) is {held}, should be {counts}"
            )

    def _follow_chain(self, logged: LoggedBytes, kept: Row | None) -> None:
        self.chain = link(self.chain, logged.raw)
        place = f"record {self.shard}/{logged.kafka_offset}"
        if kept is None:
            self.findings.violate("I8", f"{place} is in the log and not in the ledger")
        elif kept["chain"] != self.chain and not self.cut:
            # All links behind it differ too, and say nothing more.
            self.cut = True
            has, should = kept["chain"].hex(), self.chain.hex()
            self.findings.violate("I8", f"{place}: the chain is cut: it is {has}, by the log {should}")

    def _judge_batch(
        self, offset: int, batch: Batch, letters: Mapping[int, Row], movements: Mapping[int, Sequence[Row]]
    ) -> tuple[tuple[int, int, int, int], set[int]]:
        applied = repeated = 0
        for item, event in enumerate(batch.events):
            place, rows, letter = Place(self.shard, offset, item), movements.get(item, ()), letters.get(item)
            if letter is not None:
                self._judge_letter(place, event, letter, rows)
                if letter["decision"] == "replayed":
                    self.replayed.append(Unmoved(place, event, batch.at_ms))
            elif not rows:
                repeated += 1
                self.unmoved.append(Unmoved(place, event, batch.at_ms))
            else:
                applied += 1
                for row in rows:
                    self._judge_movement(place, event, batch.at_ms, row)
                if len(rows) > 1:
                    self.findings.violate("I5", f"{in_words(event)} at {place} has moved {len(rows)} times")
        return (batch.epoch, applied, repeated, 0), set(range(len(batch.events)))

    def _judge_movement(self, place: Place, event: Event, at_ms: int, row: Row) -> None:
        self.findings.count("I6", "events moved")
        if isinstance(event, ShareClaimed) and row["claim_owner"] is None:
            self.findings.violate(
                "I4", f"{in_words(event)} at {place} is posted, and {row['credit_owner']} has no claim"
            )
        expected = expected_movement(event, place.shard, at_ms, self.shards, row["packet_owner"])
        if wrong := list(differences(event, expected, row)):
            self.findings.violate("I6", f"{in_words(event)} at {place}: {'; '.join(wrong)}")
        if isinstance(event, ShareClaimed | PacketOpened):
            self.moved.append(Moved(place, event, row))

    def _judge_letter(self, place: Place, event: Event, letter: Row, rows: Sequence[Row]) -> None:
        self.findings.count("I5", f"events {letter['decision'] or 'waiting for a person'}")
        if rows:
            self.findings.violate("I5", f"{in_words(event)} at {place} is set aside, and has moved money")
        packed = letter["packed"]
        # A version before kept no bytes.
        if packed and (not isinstance(packed, bytes) or _decode_event(packed) != event):
            self.findings.violate("I6", f"{in_words(event)} at {place} was set aside as something else")


def _decoded(raw: bytes) -> Record | None:
    try:
        record: Record = decode_record(raw)
    except UNDECODABLE:
        return None
    return record


def _row_in_words(row: Row) -> str:
    place = f"{row['shard']}/{row['kafka_offset']}/{row['item']}"
    way = f"from the {row['debit_kind']} of {row['debit_owner']} to the {row['credit_kind']} of {row['credit_owner']}"
    return f"posting {place} ({row['kind']} of {row['operation']}, {row['amount_minor']} {way})"
