"""A request's id goes with what it asks for, and `redpacket trace` tells an operation's story from all three stores."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.trace.gather import UntraceableError, gather_story
from ledger.trace.words import format_story
from redpacket.cli import main
from redpacket.events import ShareClaimed
from tests.deployment import LONG_S, Deployment, claimed
from tests.integration.api import Make, claim, send, top_up
from tests.system import System, run_command


async def _trace(system: System, *arguments: str) -> Any:
    status, out, error = await run_command("trace", *arguments, "--json", "--data", str(system.data))
    assert status == 0, error
    return json.loads(out)


async def _settled(system: System, packet: str, claims: int = 0, refunds: int = 0) -> None:
    """Waits until the ledger has the packet, and so much of it."""
    async with asyncio.timeout(LONG_S):
        while True:
            rows = await system.rows("SELECT kind FROM posting WHERE operation = $1", packet)
            if Counter(row["kind"] for row in rows) == Counter(packet=1, claim=claims, refund=refunds):
                return
            await asyncio.sleep(0.05)


async def test_a_request_s_id_is_told_and_goes_into_the_ledger(system: System, client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce)
    answer = await client("bob").post(
        f"/v1/packets/{packet['id']}/claims", json={}, headers={"X-Request-Id": f"phone-{nonce}"}
    )
    assert (answer.status_code, answer.headers["x-request-id"]) == (201, f"phone-{nonce}")
    await _settled(system, packet["id"], 1)
    (row,) = await system.rows("SELECT kind, operation FROM posting WHERE request = $1", f"phone-{nonce}")
    assert tuple(row) == ("claim", packet["id"])


async def test_a_request_without_an_id_or_with_a_malformed_one_gets_one(client: Make) -> None:
    alice, ids = client("alice"), set()
    for given in (None, b"", b"a b", b"x" * 65, "naïve".encode("latin-1")):
        headers = [] if given is None else [(b"X-Request-Id", given)]
        answer = await alice.get("/v1/wallet", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["x-request-id"].encode("latin-1") != given
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == 5


async def test_a_refusal_tells_the_request_s_id_too(client: Make) -> None:
    for path in ("/v1/packets/nobody/claims", "/v1/nowhere"):
        answer = await client("alice").post(path, content=b"[", headers={"X-Request-Id": "mine"})
        assert (answer.status_code // 100, answer.headers["x-request-id"]) == (4, "mine")


async def test_a_repeat_keeps_the_first_request_s_id(system: System, client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce)
    for name in ("first", "second"):
        headers = {"X-Request-Id": f"{name}-{nonce}"}
        await client("bob").post(f"/v1/packets/{packet['id']}/claims", json={}, headers=headers)
    await _settled(system, packet["id"], 1)
    (row,) = await system.rows("SELECT request FROM posting WHERE operation = $1 AND kind = 'claim'", packet["id"])
    assert row["request"] == f"first-{nonce}"


async def test_a_packet_s_story_has_its_send_its_claims_and_its_refund(
    system: System, client: Make, nonce: str
) -> None:
    packet = await send(client, "alice", nonce, total=900)
    taken = (await claim(client, "bob", packet["id"])).json()
    assert (await client("alice").post(f"/v1/packets/{packet['id']}/close", json={})).status_code == 200
    await _settled(system, packet["id"], 1, refunds=1)
    story = await _trace(system, packet["id"])
    assert [step["ledger"]["kind"] for step in story["steps"]] == ["packet", "claim", "refund"]
    sent, claimed, refunded = story["steps"]
    assert sent["ledger"]["amount_minor"] == 900
    assert sent["ledger"]["debit"]["owner"] == f"alice.{nonce}"
    assert claimed["ledger"]["amount_minor"] == taken["amount"]
    assert claimed["redis"] == f"share {taken['share']}, confirmed"
    assert refunded["ledger"]["amount_minor"] == 900 - taken["amount"]
    for step in story["steps"]:
        assert step["log"]["event"][1] == packet["id"]
        assert step["ledger"]["request"] == step["log"]["event"][-1] != ""


async def test_one_claim_of_many_is_told_by_its_owner_and_by_its_request(
    system: System, client: Make, nonce: str
) -> None:
    packet = await send(client, "alice", nonce, total=900, shares=9)
    answers = [await claim(client, f"p{n}", packet["id"]) for n in range(9)]
    await _settled(system, packet["id"], 9)
    story = await _trace(system, packet["id"])
    assert ([step["ledger"]["kind"] for step in story["steps"]], story["untold"]) == (["packet"], 9)
    (by_owner,) = (await _trace(system, packet["id"], "--owner", f"p4.{nonce}"))["steps"]
    (by_request,) = (await _trace(system, answers[4].headers["x-request-id"]))["steps"]
    assert by_owner == by_request
    assert by_owner["ledger"]["amount_minor"] == answers[4].json()["amount"]


async def test_a_top_up_is_told(system: System, client: Make, nonce: str) -> None:
    answer = await top_up(client, "alice", nonce, 70)
    (step,) = (await _trace(system, answer.json()["id"]))["steps"]
    assert (step["ledger"]["debit"]["kind"], step["ledger"]["credit"]["balance_minor"]) == ("funding", 70)


async def test_what_nobody_knows_is_said_to_be_unknown(system: System) -> None:
    for unknown in ("0" * 38, "no-such-request"):
        status, out, error = await run_command("trace", unknown, "--data", str(system.data))
        assert (status, out) == (1, "")
        assert "Error:" in error


async def test_no_more_than_a_hundred_movements_of_a_request_are_told(system: System, client: Make, nonce: str) -> None:
    packet, request = (await send(client, "alice", nonce, total=9_000, shares=101))["id"], f"crowd-{nonce}"
    for n in range(101):
        headers = {"X-Request-Id": request}
        await client(f"p{n}").post(f"/v1/packets/{packet}/claims", json={}, headers=headers)
        if n in (99, 100):
            await _settled(system, packet, n + 1)
            story = await gather_story(system.settings, request, None)
            assert (len(story.steps), story.more) == (100, n == 100)
    assert format_story(story).endswith("\nand more: these are the first 100 movements that this request has asked for")


@pytest.mark.parametrize("arguments", [("",), ("\udcff",), ("id", "--owner", ""), ("id", "--owner", "\udcff")])
def test_what_no_id_can_be_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["trace", *arguments])
    assert (done.exit_code, done.output.count("Error: Invalid value for")) == (2, 1)


async def test_the_story_is_told_in_words(system: System, client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce)
    await _settled(system, packet["id"])
    status, out, _ = await run_command("trace", packet["id"], "--data", str(system.data))
    assert status == 0
    for words in (
        f"packet {packet['id']}",
        "request ",
        "Redis     confirmed",
        "PacketOpened",
        f"alice.{nonce}'s wallet",
    ):
        assert words in out


async def test_what_is_not_final_is_told_where_it_is(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
            await deployment.settled(worker)
        # Now nobody settles, and one claim stays as a worker leaves it that dies behind its reserve.
        claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.reserve_only(worker, packet, "carol")

        (bob,) = (await gather_story(deployment.settings, str(packet), "bob")).steps
        assert (bob.redis, bob.ledger) == ("share 1, confirmed", None)
        assert bob.log is not None
        assert isinstance(bob.log.event, ShareClaimed)
        (carol,) = (await gather_story(deployment.settings, str(packet), "carol")).steps
        assert "in entry 3 of the outbox, not confirmed" in carol.redis
        assert (carol.log, carol.ledger) == (None, None)
        with pytest.raises(UntraceableError):
            await gather_story(deployment.settings, str(packet), "dave")
