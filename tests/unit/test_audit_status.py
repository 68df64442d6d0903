"""The exit status of `redpacket audit`: 1 is a violation and nothing else."""

import pytest
from click.testing import CliRunner

from redpacket.cli import main
from redpacket.settings import Settings, settings_environ


async def _fail(*_: object) -> None:
    raise OverflowError("nobody has foreseen it")


def test_an_audit_that_fails_itself_has_another_status_than_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.audit.run.audit", _fail)
    settings = Settings(
        postgres_url="postgresql://nowhere", redis_url="redis://nowhere", kafka_bootstrap="nowhere:1", keys_dir=""
    )
    done = CliRunner().invoke(
        main, ["audit", "--data", "/nowhere"], env=settings_environ(settings), prog_name="redpacket"
    )
    assert done.exit_code == 2
    assert "Error: redpacket audit crashed (this is a bug): OverflowError" in done.stderr
    assert "Traceback" in done.stderr
