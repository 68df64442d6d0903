"""What a caller can read of his own: the statement of his wallet, and what became of his requests."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis.asyncio

from tests.integration.api import LONG_S, Make, assert_problem, claim, key, see_operation, send, top_up
from tests.system import System


async def statement(caller: httpx.AsyncClient, entries: int, **query: str) -> dict[str, Any]:
    """The caller's statement, once the ledger has that many entries of it."""
    async with asyncio.timeout(LONG_S):
        while True:
            answer = await caller.get("/v1/wallet/entries", params=query)
            assert answer.status_code == 200, answer.text
            listed: dict[str, Any] = answer.json()
            if len(listed["entries"]) >= entries:
                return listed
            await asyncio.sleep(0.02)


# The statement


async def test_who_has_nothing_yet_has_an_empty_statement(client: Make) -> None:
    listed = (await client("nobody").get("/v1/wallet/entries")).json()
    assert listed.keys() == {"currency", "entries", "next", "as_of"}
    assert (listed["currency"], listed["entries"], listed["next"]) == ("CNY", [], None)


async def test_every_movement_of_a_wallet_is_an_entry_that_leads_from_one_balance_to_the_next(
    client: Make, nonce: str
) -> None:
    topped = (await top_up(client, "alice", nonce, 500)).json()["id"]
    packet = (await send(client, "alice", nonce, total=300, shares=3, kind="equal"))["id"]
    assert (await claim(client, "alice", packet)).status_code == 201
    listed = await statement(client("alice"), 4)
    entries = listed["entries"]
    assert [(it["kind"], it["amount"], it["balance_after"]) for it in entries] == [
        ("topup", 500, 500),
        ("topup", 300, 800),
        ("packet", -300, 500),
        ("claim", 100, 600),
    ]
    assert (entries[0]["operation"], entries[2]["operation"], entries[3]["operation"]) == (topped, packet, packet)
    fields = {"id", "kind", "amount", "balance_after", "operation", "at", "settled_at"}
    assert all(it.keys() == fields for it in entries)
    assert [it["settled_at"] for it in entries] == sorted(it["settled_at"] for it in entries)
    assert [it["at"] for it in entries] == sorted(it["at"] for it in entries)
    assert max(it["at"] for it in entries) <= listed["as_of"]
    wallet = (await client("alice").get("/v1/wallet")).json()
    assert wallet["available"] == entries[-1]["balance_after"]
    assert (await statement(client("alice"), 4))["entries"] == entries


async def test_no_two_entries_have_one_id(client: Make, nonce: str) -> None:
    packet = (await send(client, "alice", nonce, total=1000, shares=5))["id"]
    people = [f"p{n}" for n in range(5)]
    await asyncio.gather(*(claim(client, who, packet) for who in people))
    ids = [it["id"] for it in (await statement(client("alice"), 2))["entries"]]
    for who in people:
        ids += [it["id"] for it in (await statement(client(who), 1))["entries"]]
    assert len(set(ids)) == len(ids) == 7


async def test_a_statement_read_page_by_page_misses_nothing_that_comes_meanwhile(client: Make, nonce: str) -> None:
    for amount in (1, 2, 3, 4, 5):
        await top_up(client, "alice", nonce, amount)
    entries, after, coming = [], None, [6, 7]
    while True:
        query = {"limit": "2"} | ({"after": after} if after else {})
        page = (await client("alice").get("/v1/wallet/entries", params=query)).json()
        assert 1 <= len(page["entries"]) <= 2
        entries += page["entries"]
        after = page["next"]
        if after is None:
            break
        if coming:
            await top_up(client, "alice", nonce, coming.pop(0))
    assert [it["amount"] for it in entries] == [1, 2, 3, 4, 5, 6, 7]
    assert [it["balance_after"] for it in entries] == [1, 3, 6, 10, 15, 21, 28]


async def test_a_page_of_just_what_is_there_is_the_last(client: Make, nonce: str) -> None:
    for amount in (1, 2):
        await top_up(client, "alice", nonce, amount)
    assert (await statement(client("alice"), 2, limit="2"))["next"] is None
    assert (await statement(client("alice"), 0, after="999999999999999999"))["entries"] == []


# What became of a request


async def test_a_send_is_found_by_its_key_in_the_state_of_its_packet(client: Make, nonce: str) -> None:
    await top_up(client, "alice", nonce, 100)
    once = key()
    body = {"kind": "equal", "total": 100, "shares": 1}
    packet = (await client("alice").post("/v1/packets", json=body, headers=once)).json()["id"]
    seen = await see_operation(client("alice"), once["Idempotency-Key"])
    assert (seen.status_code, seen.json()) == (200, {"kind": "packet", "id": packet, "state": "open"})
    await claim(client, "bob", packet)
    seen = await see_operation(client("alice"), once["Idempotency-Key"])
    assert (seen.status_code, seen.json()) == (200, {"kind": "packet", "id": packet, "state": "sold_out"})


async def test_a_top_up_is_captured_once_it_is_answered(client: Make, nonce: str) -> None:
    boss, once = client("boss", "operator"), key()
    topped = await boss.post("/v1/topups", json={"owner": f"alice.{nonce}", "amount": 7}, headers=once)
    seen = await see_operation(boss, once["Idempotency-Key"])
    assert (seen.status_code, seen.json()) == (200, {"kind": "topup", "id": topped.json()["id"], "state": "captured"})
    # He who got the money has asked for nothing.
    assert_problem(await see_operation(client("alice"), once["Idempotency-Key"]), 404, "not_found")


async def test_what_was_never_asked_for_or_was_refused_or_is_anothers_is_not_found(client: Make, nonce: str) -> None:
    await top_up(client, "alice", nonce, 100)
    once = key()
    body = {"kind": "lucky", "total": 101, "shares": 1}
    assert_problem(await client("alice").post("/v1/packets", json=body, headers=once), 402, "insufficient_funds")
    assert_problem(await see_operation(client("alice"), once["Idempotency-Key"]), 404, "not_found")
    made = await client("alice").post("/v1/packets", json=body | {"total": 100}, headers=once)
    assert made.status_code == 201
    assert_problem(await see_operation(client("bob"), once["Idempotency-Key"]), 404, "not_found")
    assert_problem(await see_operation(client("alice"), key()["Idempotency-Key"]), 404, "not_found")
    # A claim has no key of its own.
    assert_problem(await see_operation(client("alice"), made.json()["id"]), 404, "not_found")


def odd_keys() -> Iterator[str]:
    """Visible ASCII that means something in a path."""
    yield from ("/", "//", "a/b", "/a", "a/", "a//b", ".", "..", "../x", "%", "%2F", "a%41", "?", "a?b=c", "#", "a;b")
    yield from ("+", "~", '"', "<>", "\\", "{key}", "|", "".join(map(chr, range(0x21, 0x7F))), "k" * 255)


async def test_any_key_that_is_taken_is_found(client: Make, nonce: str) -> None:
    await top_up(client, "alice", nonce, 100)
    made = {}
    for odd in odd_keys():
        body = {"kind": "lucky", "total": 1, "shares": 1}
        answer = await client("alice").post("/v1/packets", json=body, headers={"Idempotency-Key": odd})
        assert answer.status_code == 201, odd
        made[odd] = answer.json()["id"]
    for odd, id in made.items():
        seen = await see_operation(client("alice"), odd)
        assert (seen.status_code, seen.json().get("id")) == (200, id), odd
    assert_problem(await see_operation(client("alice"), "a/b/"), 404, "not_found")
    # A slash that was not encoded is as good.
    assert (await client("alice").get("/v1/operations/a/b")).json()["id"] == made["a/b"]


@pytest.mark.parametrize("bad", ["%20", "a%20b", "%0a", "%00", "%7f", "%C3%A9", "%FF", "k" * 256, "%2F" * 256])
async def test_what_can_be_no_key_is_refused(client: Make, bad: str) -> None:
    answer = await client("alice").get(f"/v1/operations/{bad}")
    assert_problem(answer, 400, "invalid_request", "idempotency_key")


async def test_without_a_key_there_is_no_such_path(client: Make) -> None:
    for path in ("/v1/operations", "/v1/operations/"):
        assert_problem(await client("alice").get(path), 404, "not_found")
    assert_problem(await client("alice").post("/v1/operations/a%2Fb"), 405, "method_not_allowed")


async def test_after_redis_lost_everything_what_was_asked_for_is_found_as_it_was(
    client: Make, nonce: str, system: System
) -> None:
    boss, once = client("boss", "operator"), key()
    topped = await boss.post("/v1/topups", json={"owner": f"boss.{nonce}", "amount": 100}, headers=once)
    other, body = key(), {"kind": "equal", "total": 100, "shares": 1}
    packet = (await boss.post("/v1/packets", json=body, headers=other)).json()["id"]
    async with redis.asyncio.Redis.from_url(system.settings.redis_url) as server:
        await server.flushall()
    seen = {}
    for asked in (once, other, key()):
        async with asyncio.timeout(LONG_S):
            while (answer := await see_operation(boss, asked["Idempotency-Key"])).status_code == 503:
                assert answer.json()["code"] in ("shard_closed", "unavailable")
                await asyncio.sleep(0.05)
        seen[asked["Idempotency-Key"]] = answer
    found, sent, unknown = seen.values()
    assert (found.status_code, found.json()["id"], found.json()["state"]) == (200, topped.json()["id"], "captured")
    assert (sent.status_code, sent.json()) == (200, {"kind": "packet", "id": packet, "state": "open"})
    assert_problem(unknown, 404, "not_found")
