"""A small rehearsal on the running system, beside whatever else happens there: it tells what was, and finds what is
wrong."""

from pathlib import Path

import asyncpg
import msgspec

from loadtest.auditor.audit import audit
from loadtest.auditor.evidence import read_books
from loadtest.record.words import Request
from loadtest.rehearsal.afterwards import read_record
from loadtest.rehearsal.figures import Figures
from redpacket.settings import read_key
from tests.foreign import foreign_folder, imported
from tests.system import System, run_command


async def test_a_rehearsal_tells_what_was_and_its_audit_finds_what_is_made_up(system: System, tmp_path: Path) -> None:
    out = tmp_path / "report"
    options = ["--users", "12", "--minutes", "0.2", "--processes", "2", "--data", str(system.data), "--out", str(out)]
    stood_in = foreign_folder(tmp_path / "foreign")
    status, told, said = await run_command("rehearse", "steady", *options, cwd=stood_in)
    assert imported(stood_in) == []
    figures = msgspec.json.decode((out / "report.json").read_bytes(), type=Figures)
    assert status == figures.exit_status, said
    # Whether its objectives are met is not for a busy machine to say.
    assert status in (0, 3), said
    assert figures.violations == []
    assert "all holds" in told
    assert figures.counts["packets sent"] > 0
    assert figures.counts["shares claimed"] > 0
    assert sum(it.settled or 0 for it in figures.seconds) > 0
    assert {it.part for it in figures.cpu} == {"api", "ledger", "redis", "kafka", "postgres", "people"}
    assert all(it.seconds > 0 for it in figures.cpu)
    assert (out / "report.html").stat().st_size > 0
    assert not [it for it in out.iterdir() if b"eyJ" in it.read_bytes()], "a token is left"
    await _finds_what_is_made_up(system, read_record(out))


async def _finds_what_is_made_up(system: System, record: list[Request]) -> None:
    owners = record[0].asked.owner.partition("-")[0]
    connection = await asyncpg.connect(system.settings.postgres_url)
    try:
        evidence = await read_books(connection, owners)
    finally:
        await connection.close()
    id_key = read_key(system.settings, "id.key")
    assert audit(record, evidence, id_key) == []
    claimed = next(n for n, it in enumerate(record) if it.asked.kind == "claim" and it.answer.outcome == "ok")
    answer = record[claimed].answer
    more = msgspec.structs.replace(answer, body={**answer.body, "amount": answer.body["amount"] + 1})
    changed = [*record[:claimed], msgspec.structs.replace(record[claimed], answer=more), *record[claimed + 1 :]]
    assert any(it.startswith("I4") for it in audit(changed, evidence, id_key)), "another amount than the ledger's"
    lost = msgspec.structs.replace(evidence, claims=evidence.claims[1:])
    assert any(it.startswith("I4") for it in audit(record, lost, id_key)), "a 201 that the ledger lacks"
    doubled = msgspec.structs.replace(evidence, claims=(*evidence.claims, evidence.claims[0]))
    assert any(it.startswith("I3") for it in audit(record, doubled, id_key)), "a person twice"


async def test_without_a_service_a_rehearsal_says_so_and_is_not_taken_for_one(system: System, tmp_path: Path) -> None:
    options = ["--host", "http://127.0.0.1:1", "--data", str(system.data), "--out", str(tmp_path / "report")]
    status, _, said = await run_command("rehearse", "steady", *options)
    assert (status, "the service does not serve: no answer ConnectError" in said) == (2, True), said


async def test_whom_nobody_knows_is_not_killed_in_silence(system: System, tmp_path: Path) -> None:
    options = ["--kill", "redsi", "--data", str(system.data), "--out", str(tmp_path / "report")]
    status, _, said = await run_command("rehearse", "steady", *options)
    assert (status, "--kill redsi: the stack has" in said) == (2, True), said


async def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    status, _, said = await run_command("rehearse", "steady", "--out", str(tmp_path))
    assert (status, "a new folder is wanted" in said) == (2, True), said
