"""The product's own audit of a deployment, and what it must say where nothing is wrong."""

from ledger.audit.findings import Findings
from ledger.audit.run import Since, audit
from redpacket.settings import Settings


async def audited(settings: Settings, since: Since = "mark") -> Findings:
    return await audit(settings, since, lambda _: None)


def assert_holds(findings: Findings) -> None:
    assert {name: it.sentences for name, it in findings.violations.items() if it.total} == {}
    assert findings.unchecked == []
    assert findings.all_hold
