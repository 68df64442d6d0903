"""`redpacket audit` on honest ledgers: all holds while claims are made, after losses, evictions and decisions."""

from ledger.audit.findings import Findings
from ledger.audit.run import Since, audit
from tests.deployment import Deployment, claimed, over


async def audited(deployment: Deployment, since: Since = "mark") -> Findings:
    return await audit(deployment.settings, since, lambda _: None)


def assert_holds(findings: Findings) -> None:
    assert {name: it.sentences for name, it in findings.violations.items() if it.total} == {}
    assert findings.unchecked == []
    assert findings.all_hold


async def test_an_honest_ledger_passes_and_the_next_audit_reads_only_what_is_new(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        for owner in ("bob", "carol"):
            claimed(await worker.path.claim_share(packet, owner))
        closed = await deployment.sent(worker, "dave", 500, 3)
        claimed(await worker.path.claim_share(closed, "bob"))
        over(await worker.path.close_packet(closed, "closed"))

        first = await audited(deployment)
        assert_holds(first)
        assert [it.from_offset for it in first.shards] == [0, 0, 0, 0]
        assert sum(it.records for it in first.shards) == sum(it.next_offset for it in first.shards) > 0
        assert first.figures["I1"]["packets"] == 2
        assert first.figures["I4"] == {"operations in Redis": 4, "claims in Redis": 3} | {
            "amount of these claims": first.figures["I1"]["claimed"]
        }
        assert first.figures["I6"]["events moved"] == 2 + 2 + 3 + 1

        claimed(await worker.path.claim_share(packet, "erin"))
        second = await audited(deployment)
        assert_holds(second)
        assert [it.from_offset for it in second.shards] == [it.next_offset for it in first.shards]
        assert second.figures["I6"]["events moved"] == 1
        assert_holds(third := await audited(deployment, "start"))
        assert [it.from_offset for it in third.shards] == [0, 0, 0, 0]
        assert [it.head for it in third.shards] == [it.head for it in second.shards]
