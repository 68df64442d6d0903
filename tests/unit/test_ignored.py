"""Ignored events that an opening explains, and those that it does not: pure functions, no servers."""

import pytest

from ledger.audit.findings import Findings
from ledger.audit.ignored import judge_ignored
from ledger.audit.judge import Ignored
from ledger.fenced import CLOCKS_APART_MS, Fences
from ledger.settle.decide import SettledRecord
from ledger.settle.transaction import LogRecord
from redpacket.events import ShareClaimed
from redpacket.log.record import Batch, Fence

CLAIM = ShareClaimed("0250151" + "a" * 31, "bob", 1, 40, 1)
NOW = 1_771_315_200_000
LATER = NOW + CLOCKS_APART_MS + 1


def lost(fences: Fences, epoch: int, at_ms: int, events: int = 2) -> int:
    logged = LogRecord(9, b"", Batch(epoch, 1, at_ms, (CLAIM,) * events), at_ms + 50_000)
    return fences.lost([logged], [SettledRecord(9, epoch, 0, 0, events)])


def fence(fences: Fences, epoch: int, at_ms: int, *, raised: bool = True) -> None:
    assert fences.lost([LogRecord(8, b"", Fence(epoch), at_ms)], [SettledRecord(8, epoch, int(raised), 0, 0)]) == 0


def test_what_was_reserved_before_its_epoch_was_fenced_is_explained_and_what_was_reserved_later_is_not() -> None:
    fences = Fences(1, NOW - 60_000)
    fence(fences, 2, NOW)
    assert lost(fences, 1, NOW - 1) == 0
    assert lost(fences, 1, LATER - 1) == 0  # clocks are not that exact
    assert lost(fences, 1, LATER) == 2


def test_it_is_the_first_fence_above_the_epoch_that_counts_and_only_one_that_was_the_highest() -> None:
    fences = Fences(1, NOW - 60_000)
    fence(fences, 1, NOW - 50_000, raised=False)
    fence(fences, 3, NOW)
    fence(fences, 4, NOW + 60_000)
    assert (lost(fences, 1, LATER), lost(fences, 3, LATER), lost(fences, 3, LATER + 60_000)) == (2, 0, 2)


def test_what_was_fenced_before_this_worker_came_is_known_from_then_on() -> None:
    fences = Fences(3, NOW)
    assert (lost(fences, 2, NOW), lost(fences, 2, LATER)) == (0, 2)


def test_what_is_applied_is_not_lost() -> None:
    fences = Fences(3, NOW)
    assert fences.lost([LogRecord(9, b"", Batch(3, 1, LATER, (CLAIM,)))], [SettledRecord(9, 3, 1, 0, 0)]) == 0


@pytest.mark.parametrize(("at_ms", "violated", "explained"), [(NOW, 0, 3), (LATER - 1, 0, 3), (LATER, 1, 2)])
def test_the_audit_tells_them_apart(at_ms: int, violated: int, explained: int) -> None:
    findings = Findings()
    judge_ignored(findings, 2, 1, [Ignored(7, 1, NOW - 9, 2), Ignored(8, 1, at_ms, 1)], NOW)
    assert (findings.violations["I4"].total, findings.exit_status) == (violated, violated)
    assert findings.figures["I5"] == {"of these reserved before their shard was opened anew": explained}
    if violated:
        (sentence,) = findings.violations["I4"].sentences
        assert sentence.startswith("1 events of shard 2 and epoch 1 (the first in record 2/8) are ignored")


def test_where_the_fence_is_not_in_the_log_any_more_it_is_not_checked() -> None:
    findings = Findings()
    judge_ignored(findings, 2, 1, [Ignored(7, 1, NOW, 2)], None)
    assert (findings.exit_status, len(findings.unchecked)) == (2, 1)
