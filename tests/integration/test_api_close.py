"""The end of a packet through the API: closed by its owner, expired, sold out; its seed, its best claim, the refund."""

import asyncio

from redpacket.split import SplitParameters, commitment, split_amounts
from tests.integration.api import LONG_S, Make, assert_problem, claim, key, send, settled_wallet, top_up


async def _close(client: Make, owner: str, packet: str) -> dict[str, object]:
    answer = await client(owner).post(f"/v1/packets/{packet}/close", json={})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_closed_packet_says_what_went_back_and_its_owner_has_it(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=4)
    amount = (await claim(client, "bob", packet["id"])).json()["amount"]
    closed = await _close(client, "alice", packet["id"])
    assert (closed["state"], closed["remaining"], closed["remaining_shares"]) == ("closed", 0, 0)
    assert closed["refunded"] == 1000 - amount
    assert (await client("anyone").get(f"/v1/packets/{packet['id']}")).json() == closed
    assert await _close(client, "alice", packet["id"]) == closed
    await settled_wallet(client, "alice", 1000 - amount, 0)
    entries = (await client("alice").get("/v1/wallet/entries")).json()["entries"]
    assert [(entry["kind"], entry["amount"]) for entry in entries] == [
        ("topup", 1000),
        ("packet", -1000),
        ("refund", 1000 - amount),
    ]


async def test_a_closed_packet_gives_no_share_but_repeats_those_it_gave(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=4)
    first = await claim(client, "bob", packet["id"])
    await _close(client, "alice", packet["id"])
    again = await claim(client, "bob", packet["id"])
    assert (again.status_code, again.json()) == (200, first.json())
    assert_problem(await claim(client, "carol", packet["id"]), 410, "packet_closed")


async def test_the_seed_and_the_best_claim_of_a_closed_packet_are_told(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=8)
    claims = [(await claim(client, who, packet["id"])).json() for who in "abc"]
    closed = await _close(client, "alice", packet["id"])
    parameters, seed = SplitParameters("lucky", 1000, 8, 1000, 1), bytes.fromhex(str(closed["seed"]))
    assert commitment(seed, parameters) == packet["commitment"]
    amounts = split_amounts(seed, parameters)
    assert [one["amount"] for one in claims] == [amounts[one["share"] - 1] for one in claims]
    listed = (await client("x").get(f"/v1/packets/{packet['id']}/claims")).json()["claims"]
    best = [one["amount"] for one in listed if one["best"]]
    assert best == [max(one["amount"] for one in claims)]


async def test_only_its_owner_closes_a_packet(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce)
    assert_problem(await client("bob").post(f"/v1/packets/{packet['id']}/close", json={}), 403, "not_allowed")
    assert_problem(await client("bob").post(f"/v1/packets/{'0' * 38}/close", json={}), 404, "not_found")
    answer = await client("alice").post(f"/v1/packets/{packet['id']}/close", json={"why": "x"})
    assert_problem(answer, 400, "invalid_request", "why")


async def test_closing_a_packet_that_is_sold_out_changes_nothing(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=10, shares=1)
    await claim(client, "bob", packet["id"])
    closed = await _close(client, "alice", packet["id"])
    assert (closed["state"], closed["refunded"]) == ("sold_out", 0)


async def test_a_packet_expires_by_itself(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=1000, shares=4, expires_in_s=1)
    async with asyncio.timeout(LONG_S):
        while (seen := (await client("x").get(f"/v1/packets/{packet['id']}")).json())["state"] != "expired":
            assert seen["state"] in ("open", "closing")
            assert "seed" not in seen
            await asyncio.sleep(0.05)
    assert (seen["remaining"], seen["refunded"]) == (0, 1000)
    assert len(seen["seed"]) == 64
    assert_problem(await claim(client, "carol", packet["id"]), 410, "packet_expired")
    assert (await _close(client, "alice", packet["id"]))["state"] == "expired"
    await settled_wallet(client, "alice", 1000, 0)
    listed = (await client("x").get(f"/v1/packets/{packet['id']}/claims")).json()
    assert listed == {"claims": [], "next": None}


async def test_a_key_of_a_closed_packet_finds_it(client: Make, nonce: str) -> None:
    await top_up(client, "alice", nonce, 2000)
    once, body = key(), {"kind": "lucky", "total": 1000, "shares": 3}
    first = (await client("alice").post("/v1/packets", json=body, headers=once)).json()
    closed = await _close(client, "alice", first["id"])
    again = await client("alice").post("/v1/packets", json=body, headers=once)
    assert (again.status_code, again.json()) == (200, closed)
    seen = (await client("alice").get(f"/v1/operations/{once['Idempotency-Key']}")).json()
    assert seen == {"kind": "packet", "id": first["id"], "state": "closed"}


async def test_many_who_come_too_late_are_told_so_and_winners_still_get_their_share(client: Make, nonce: str) -> None:
    packet = await send(client, "alice", nonce, total=100, shares=2)
    first = {who: (await claim(client, who, packet["id"])).json() for who in "ab"}
    for n in range(20):
        assert_problem(await claim(client, f"late{n}", packet["id"]), 409, "sold_out")
    for who, body in first.items():
        again = await claim(client, who, packet["id"])
        assert (again.status_code, again.json()) == (200, body)
