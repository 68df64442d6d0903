"""An audit's findings, for people and for programs."""

import textwrap
from typing import Any

import msgspec

from ledger.audit.findings import INVARIANTS, SENTENCES_MAX, Findings

_WIDTH = 100

HEADINGS = ("SHARD", "FROM", "TO", "RECORDS", "HEAD OF ITS CHAIN")


def format_table(findings: Findings) -> str:
    lines = []
    for name, claim in INVARIANTS.items():
        found = findings.violations[name]
        lines.append(f"{name}  {'VIOLATED' if found.total else 'holds'}: {claim}")
        if figures := findings.figures[name]:
            lines += _wrapped(", ".join(f"{figure} {number:,}" for figure, number in figures.items()))
        lines += [f"    {name}: {sentence}" for sentence in found.sentences]
        if found.total > len(found.sentences):
            lines.append(f"    and {found.total - len(found.sentences)} more")
    lines += ["", *_shard_table(findings), ""]
    lines += [f"note: {note}" for note in findings.notes]
    lines += [f"NOT CHECKED: {what}" for what in findings.unchecked]
    return "\n".join([*lines, _verdict(findings)])


def _wrapped(text: str) -> list[str]:
    # At the commas: a figure stays in one piece.
    lines = textwrap.wrap(text.replace(" ", "\0").replace(",\0", ", "), _WIDTH, break_on_hyphens=False)
    return ["    " + line.replace("\0", " ") for line in lines]


def format_line(findings: Findings) -> str:
    """Each invariant in a word, and the verdict."""
    told = ", ".join(f"{name} {'VIOLATED' if findings.violations[name].total else 'holds'}" for name in INVARIANTS)
    return f"the audit of all of it: {told}: {_verdict(findings)}"


def _shard_table(findings: Findings) -> list[str]:
    rows = [HEADINGS]
    rows += [
        (str(it.shard), str(it.from_offset), str(it.next_offset), str(it.records), it.head.hex())
        for it in findings.shards
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return ["  ".join(map(str.rjust, row, widths)) for row in rows]


def _verdict(findings: Findings) -> str:
    if total := sum(found.total for found in findings.violations.values()):
        return f"{total} violations"
    return "what could be checked holds" if findings.unchecked else "all holds"


def format_json(findings: Findings) -> str:
    told: dict[str, Any] = {
        "holds": findings.all_hold,
        "invariants": [
            {
                "name": name,
                "claim": claim,
                "holds": not findings.violations[name].total,
                "figures": findings.figures[name],
                "violations": findings.violations[name].sentences[:SENTENCES_MAX],
                "violations_total": findings.violations[name].total,
            }
            for name, claim in INVARIANTS.items()
        ],
        "shards": [
            {
                "shard": it.shard,
                "from_offset": it.from_offset,
                "next_offset": it.next_offset,
                "records_read": it.records,
                "chain": it.head.hex(),
            }
            for it in findings.shards
        ],
        "notes": findings.notes,
        "unchecked": findings.unchecked,
    }
    return msgspec.json.format(msgspec.json.encode(told)).decode()
