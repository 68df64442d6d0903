"""What the API does, seen through HTTP against the whole system: owners are unique to each test."""

import asyncio
import os
import re
import secrets
import signal
from typing import Any

import httpx
import pytest

from redpacket.ops.health import PATHS
from redpacket.split import SplitParameters, commitment, split_amounts
from tests.integration.api import LONG_S, Make, assert_problem, claim, key, send, settled_wallet, top_up
from tests.system import System

# Top-ups and wallets


async def test_a_top_up_is_in_the_wallet_when_it_is_answered(client: Make, nonce: str) -> None:
    answer = await top_up(client, "alice", nonce, 12_345)
    topped = answer.json()
    assert topped | {"id": ""} == {"id": "", "owner": f"alice.{nonce}", "amount": 12_345, "currency": "CNY"}
    wallet = (await client("alice").get("/v1/wallet")).json()
    assert wallet["available"] == 12_345
    assert wallet["held"] == 0
    assert wallet["currency"] == "CNY"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", wallet["as_of"])


async def test_a_repeated_top_up_moves_nothing_and_has_the_same_answer(client: Make, nonce: str) -> None:
    once, body = key(), {"owner": f"alice.{nonce}", "amount": 700, "currency": "CNY"}
    boss = client("boss", "operator")
    first = await boss.post("/v1/topups", json=body, headers=once)
    again = await boss.post("/v1/topups", json=body, headers=once)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert (await client("alice").get("/v1/wallet")).json()["available"] == 700


async def test_a_wallet_is_there_before_anything_moved(client: Make, nonce: str) -> None:
    wallet = (await client("nobody").get("/v1/wallet")).json()
    assert (wallet["owner"], wallet["available"], wallet["held"]) == (f"nobody.{nonce}", 0, 0)


async def test_what_is_in_a_packet_is_held_until_it_is_claimed(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=900, shares=3, kind="equal")
    await settled_wallet(client, "alice", 0, 900)
    assert (await claim(client, "bob", packet["id"])).status_code == 201
    await settled_wallet(client, "alice", 0, 600)
    await settled_wallet(client, "bob", 300, 0)


# Packets


async def test_a_sent_packet_says_all_that_was_asked_for(client: Make, nonce: str) -> None:
    asked = {"kind": "lucky", "total": 5000, "shares": 10, "cap": 900, "min": 5, "greeting": "恭喜發財 🧧"}
    packet = await send(client, "alice", nonce, **asked, expires_in_s=3600)
    assert {name: packet[name] for name in asked} == asked
    assert packet["state"] == "open"
    assert (packet["remaining"], packet["remaining_shares"]) == (5000, 10)
    assert packet["currency"] == "CNY"
    assert packet["owner"] == f"alice.{nonce}"
    assert packet["created_at"] < packet["expires_at"]
    assert "seed" not in packet
    assert (await client("anyone").get(f"/v1/packets/{packet['id']}")).json() == packet


async def test_a_packet_without_limits_has_a_minimum_of_one_and_its_total_as_cap(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=50, shares=4)
    assert (packet["min"], packet["cap"], packet["greeting"]) == (1, 50, "")


async def test_a_repeated_send_is_the_same_packet_as_it_is_now(client: Make, nonce: str) -> None:
    await top_up(client, "alice", nonce, 900)
    alice, once, body = client("alice"), key(), {"kind": "equal", "total": 900, "shares": 3}
    first = await alice.post("/v1/packets", json=body, headers=once)
    await claim(client, "bob", first.json()["id"])
    again = await alice.post("/v1/packets", json={**body, "currency": "CNY", "min": 1}, headers=once)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"remaining": 600, "remaining_shares": 2}
    await settled_wallet(client, "alice", 0, 600)


@pytest.mark.parametrize("other", [{"total": 901}, {"shares": 2}, {"greeting": "x"}, {"expires_in_s": 5}, {"min": 2}])
async def test_a_key_used_for_other_parameters_is_refused(client: Make, nonce: str, other: dict[str, Any]) -> None:
    await top_up(client, "alice", nonce, 2000)
    alice, once, body = client("alice"), key(), {"kind": "lucky", "total": 900, "shares": 3}
    assert (await alice.post("/v1/packets", json=body, headers=once)).status_code == 201
    assert_problem(await alice.post("/v1/packets", json=body | other, headers=once), 422, "idempotency_key_reused")


async def test_one_key_cannot_mean_a_top_up_and_a_packet(client: Make, nonce: str) -> None:
    boss, once = client("boss", "operator"), key()
    body = {"owner": f"boss.{nonce}", "amount": 900}
    assert (await boss.post("/v1/topups", json=body, headers=once)).status_code == 201
    packet = {"kind": "lucky", "total": 900, "shares": 3}
    assert_problem(await boss.post("/v1/packets", json=packet, headers=once), 422, "idempotency_key_reused")


async def test_a_key_belongs_to_its_owner(client: Make, nonce: str) -> None:
    once, body = key(), {"kind": "lucky", "total": 900, "shares": 3}
    ids = []
    for owner in ("alice", "bob"):
        await top_up(client, owner, nonce, 900)
        answer = await client(owner).post("/v1/packets", json=body, headers=once)
        assert answer.status_code == 201
        ids.append(answer.json()["id"])
    assert ids[0] != ids[1]


async def test_a_sender_without_the_money_is_refused(client: Make, nonce: str) -> None:
    await top_up(client, "alice", nonce, 999)
    body = {"kind": "lucky", "total": 1000, "shares": 3}
    answer = await client("alice").post("/v1/packets", json=body, headers=key())
    assert_problem(answer, 402, "insufficient_funds")


async def test_money_that_was_claimed_can_be_sent_on_at_once(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=600, shares=1)
    assert (await claim(client, "bob", packet["id"])).json()["amount"] == 600
    body = {"kind": "equal", "total": 600, "shares": 2}
    assert (await client("bob").post("/v1/packets", json=body, headers=key())).status_code == 201


# Claims


async def test_every_share_is_given_out_once_and_the_last_claim_finds_it_sold_out(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=5)
    people = [f"p{n}" for n in range(12)]
    answers = await asyncio.gather(*(claim(client, who, packet["id"]) for who in people))
    won = [answer.json() for answer in answers if answer.status_code == 201]
    assert sorted(share["share"] for share in won) == [1, 2, 3, 4, 5]
    assert sum(share["amount"] for share in won) == 1000
    late = await claim(client, "late", packet["id"])
    assert_problem(late, 409, "sold_out")
    for answer in answers:
        if answer.status_code != 201:
            # Those who asked while the last shares were on their way could not be told yet.
            assert answer.json()["code"] in ("sold_out", "unavailable")


async def test_a_repeated_claim_has_the_same_answer_in_any_state(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=2)
    first = await claim(client, "bob", packet["id"])
    again = await claim(client, "bob", packet["id"])
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json().keys() == {"packet", "share", "amount", "currency", "claimed_at"}
    assert again.json() == first.json()
    assert (await claim(client, "carol", packet["id"])).status_code == 201
    sold_out = await claim(client, "bob", packet["id"])
    assert (sold_out.status_code, sold_out.json()) == (200, first.json())


async def test_two_claims_of_one_person_at_once_are_one(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=4)
    bob = client("bob")
    path = f"/v1/packets/{packet['id']}/claims"
    answers = await asyncio.gather(*(bob.post(path, json={}) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.text for answer in answers}) == 1
    assert (await bob.get(f"/v1/packets/{packet['id']}")).json()["remaining_shares"] == 3


async def test_the_sender_may_claim_too(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=10, shares=1)
    assert (await claim(client, "alice", packet["id"])).json()["amount"] == 10
    await settled_wallet(client, "alice", 10, 0)


@pytest.mark.parametrize("body", [b"", b"{}", b" { } ", b"\n{}\n"])
async def test_a_claim_takes_no_body_or_an_empty_one(client: Make, nonce: str, body: bytes) -> None:
    packet = await send(client, "alice", nonce)
    bob = client("bob")
    first = await bob.post(f"/v1/packets/{packet['id']}/claims", content=body)
    again = await bob.post(f"/v1/packets/{packet['id']}/claims", content=body)
    assert (first.status_code, again.status_code) == (201, 200)


async def test_equal_shares_are_equal(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, kind="equal", total=999, shares=3)
    answers = [await claim(client, who, packet["id"]) for who in ("a", "b", "c")]
    assert [answer.json()["amount"] for answer in answers] == [333, 333, 333]


async def test_an_expired_packet_gives_nothing_to_who_has_nothing(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=500, expires_in_s=4)
    first = await claim(client, "bob", packet["id"])
    assert first.status_code == 201
    async with asyncio.timeout(LONG_S):
        # 503 for the moment in which what is left goes back.
        while (late := await claim(client, secrets.token_hex(8), packet["id"])).status_code in (201, 503):
            await asyncio.sleep(0.05)
    assert_problem(late, 410, "packet_expired")
    again = await claim(client, "bob", packet["id"])
    assert (again.status_code, again.json()) == (200, first.json())


# What a packet shows


async def test_an_acknowledged_claim_is_seen_at_once(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=20)
    left = 1000
    for n in range(8):
        left -= (await claim(client, f"p{n}", packet["id"])).json()["amount"]
        seen = (await client("anyone").get(f"/v1/packets/{packet['id']}")).json()
        assert (seen["state"], seen["remaining"], seen["remaining_shares"]) == ("open", left, 19 - n)
        assert "seed" not in seen


async def test_the_seed_of_a_sold_out_packet_proves_every_amount(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=4, cap=400, min=10)
    claims = [(await claim(client, who, packet["id"])).json() for who in "abcd"]
    final = (await client("anyone").get(f"/v1/packets/{packet['id']}")).json()
    assert (final["state"], final["remaining"], final["remaining_shares"]) == ("sold_out", 0, 0)
    parameters = SplitParameters("lucky", 1000, 4, 400, 10)
    seed = bytes.fromhex(final["seed"])
    assert commitment(seed, parameters) == packet["commitment"] == final["commitment"]
    amounts = split_amounts(seed, parameters)
    assert [share["amount"] for share in claims] == [amounts[share["share"] - 1] for share in claims]


async def test_the_list_has_every_claim_once_page_by_page(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=7)
    made = {}
    for n in range(7):
        made[f"p{n}.{nonce}"] = (await claim(client, f"p{n}", packet["id"])).json()
    pages, after = [], None
    while True:
        query = {"limit": "3"} | ({"after": after} if after else {})
        page = (await client("anyone").get(f"/v1/packets/{packet['id']}/claims", params=query)).json()
        pages.append(page["claims"])
        after = page["next"]
        if after is None:
            break
    assert [len(page) for page in pages if page] == [3, 3, 1]
    listed = {one["owner"]: one for page in pages for one in page}
    assert {who: one["share"] for who, one in listed.items()} == {who: one["share"] for who, one in made.items()}
    for who, one in listed.items():
        assert (one["amount"], one["claimed_at"]) == (made[who]["amount"], made[who]["claimed_at"])


async def test_the_best_claim_is_told_once_the_packet_is_final(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=3)
    path = f"/v1/packets/{packet['id']}/claims"
    for who in ("a", "b"):
        await claim(client, who, packet["id"])
    assert not any(one["best"] for one in (await client("anyone").get(path)).json()["claims"])
    await claim(client, "c", packet["id"])
    claims = (await client("anyone").get(path)).json()["claims"]
    largest = max(one["amount"] for one in claims)
    first = next(one for one in claims if one["amount"] == largest)
    assert [one["owner"] for one in claims if one["best"]] == [first["owner"]]


async def test_on_a_tie_the_earlier_claim_is_the_best(client: Make, nonce: str) -> None:
    # Each of 4 shares is 2 or 3, so that at least two are the largest.
    packet = await send(client, "alice", nonce, total=10, shares=4, cap=3, min=2)
    for who in "abcd":
        await claim(client, who, packet["id"])
    claims = (await client("anyone").get(f"/v1/packets/{packet['id']}/claims")).json()["claims"]
    earliest = next(one["owner"] for one in claims if one["amount"] == 3)
    assert [one["owner"] for one in claims if one["best"]] == [earliest]


async def test_an_equal_packet_has_no_best_claim(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, kind="equal", total=1000, shares=2)
    for who in "ab":
        await claim(client, who, packet["id"])
    claims = (await client("anyone").get(f"/v1/packets/{packet['id']}/claims")).json()["claims"]
    assert [one["best"] for one in claims] == [False, False]


async def test_a_listed_claim_is_settled_once_the_ledger_has_it(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce)
    await claim(client, "bob", packet["id"])
    async with asyncio.timeout(LONG_S):
        while True:
            (listed,) = (await client("anyone").get(f"/v1/packets/{packet['id']}/claims")).json()["claims"]
            if listed["settled"]:
                break
            await asyncio.sleep(0.02)


async def test_the_caller_sees_his_own_claim(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce)
    made = (await claim(client, "bob", packet["id"])).json()
    mine = await client("bob").get(f"/v1/packets/{packet['id']}/claims/me")
    assert (mine.status_code, mine.json()) == (200, made)
    assert_problem(await client("eve").get(f"/v1/packets/{packet['id']}/claims/me"), 404, "not_claimed")


# The worker


async def test_the_public_port_tells_of_itself_as_each_process_does(system: System) -> None:
    (port,) = [child.port for child in system.state.children if child.name == "api-0"]
    async with httpx.AsyncClient(trust_env=False) as nobody:
        for path in PATHS:
            public, own = [await nobody.get(f"{url}{path}") for url in (system.url, f"http://127.0.0.1:{port}")]
            assert (public.status_code, public.headers["content-type"]) == (200, own.headers["content-type"])
            assert public.headers["content-type"].count("charset") == 1


async def test_outcomes_are_counted(client: Make, nonce: str, system: System) -> None:
    packet = await send(client, "alice", nonce)
    await claim(client, "bob", packet["id"])
    ports = [child.port for child in system.state.children if child.name.startswith("api-")]
    async with httpx.AsyncClient(trust_env=False) as nobody, asyncio.timeout(LONG_S):
        for kind in ("topup", "packet", "claim"):
            counted = f'redpacket_requests_total{{kind="{kind}",outcome="created"}}'
            # What they tell may be a second old.
            while not any([counted in (await nobody.get(f"http://127.0.0.1:{port}/metrics")).text for port in ports]):
                await asyncio.sleep(0.1)


async def test_a_worker_that_is_told_to_stop_fails_nobody(system: System, client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=10_000, shares=100)
    path, over = f"/v1/packets/{packet['id']}/claims", asyncio.Event()

    async def claim_again_and_again(owner: str) -> set[tuple[int, str]]:
        caller, answers = client(owner), set()
        while not over.is_set():
            # A connection that is cut instead of closed raises here.
            answer = await caller.post(path, json={})
            answers.add((answer.status_code, answer.text))
        return answers

    claiming = [asyncio.create_task(claim_again_and_again(f"p{n}")) for n in range(20)]
    for name in ("api-0", "api-1"):
        before = system.pid_of(name)
        os.kill(before, signal.SIGTERM)
        async with asyncio.timeout(60):
            while [child.state for child in system.state.children if child.name == name and child.pid != before] != [
                "ready"
            ]:
                await asyncio.sleep(0.05)
    over.set()
    for answers in await asyncio.gather(*claiming):
        assert {status for status, _ in answers} <= {200, 201}
        assert len({text for _, text in answers}) == 1
