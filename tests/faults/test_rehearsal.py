"""A new year's eve in one minute, in which an API worker and Redis are killed at midnight."""

from pathlib import Path

import msgspec
import pytest

from loadtest.rehearsal.figures import Figures
from tests.system import run_command

USERS = 400


@pytest.mark.faults
async def test_at_midnight_an_api_worker_and_redis_die_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    out = tmp_path / "report"
    options = ["--users", str(USERS), "--minutes", "1", "--kill", "api-0", "--kill", "redis", "--out", str(out)]
    status, told, said = await run_command("rehearse", "new-years-eve", *options)
    print(f"\n{said}\n{told}")
    figures = msgspec.json.decode((out / "report.json").read_bytes(), type=Figures)
    assert [it.what for it in figures.marks] == ["midnight", "api-0 killed", "redis killed"]
    assert max(it.people for it in figures.seconds) == USERS
    assert figures.violations == []
    assert figures.audit_holds
    final = figures.objectives[1]
    assert final.met, f"{final.name}: {final.measured} of {final.wanted}"
    # How fast it was is for a rehearsal on a quiet machine to judge.
    assert status == figures.exit_status
    assert status in (0, 3), said
    assert figures.refusals.get("503 shard_closed", 0) + figures.refusals.get("503 unavailable", 0) > 0, (
        "nobody noticed"
    )
