"""`redpacket verify`, and the same in JavaScript: a final packet is what its published seed makes of it."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from redpacket.verify import check_packet
from tests.integration.api import Make, claim, send
from tests.system import System, run_command

SCRIPT = Path(__file__).parents[2] / "docs" / "verify.mjs"


async def _ended(client: Make, nonce: str, people: int, **asked: Any) -> str:
    packet: str = (await send(client, "alice", nonce, **asked))["id"]
    for n in range(people):
        assert (await claim(client, f"p{n}", packet)).status_code == 201
    assert (await client("alice").post(f"/v1/packets/{packet}/close", json={})).status_code == 200
    return packet


async def _seen(client: Make, packet: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    head = (await client("bob").get(f"/v1/packets/{packet}")).json()
    return head, (await client("bob").get(f"/v1/packets/{packet}/claims")).json()["claims"]


@pytest.mark.parametrize(
    ("asked", "people"), [({}, 3), ({"shares": 9}, 4), ({"shares": 4}, 0), ({"kind": "equal", "shares": 5}, 2)]
)
async def test_what_the_service_says_of_a_final_packet_is_verified(
    system: System, client: Make, nonce: str, asked: dict[str, Any], people: int
) -> None:
    packet = await _ended(client, nonce, people, **asked)
    status, out, error = await run_command("verify", packet, "--data", str(system.data))
    assert (status, error, out.splitlines()[-1]) == (0, "", "all match")


async def test_every_page_of_many_claims_is_verified(system: System, client: Make, nonce: str) -> None:
    packet = await _ended(client, nonce, 230, total=5_000, shares=250)
    status, out, _ = await run_command("verify", packet, "--data", str(system.data))
    assert status == 0
    assert "230 of 250 shares" in out


async def test_an_open_packet_and_an_unknown_one_cannot_be_verified(system: System, client: Make, nonce: str) -> None:
    packet = (await send(client, "alice", nonce))["id"]
    for id, why in ((packet, "published once it is final"), ("f" * 38, "404")):
        status, _, error = await run_command("verify", id, "--data", str(system.data))
        assert status == 1
        assert why in error


async def test_whatever_differs_from_the_seed_is_named(client: Make, nonce: str) -> None:
    packet, claims = await _seen(client, await _ended(client, nonce, 3, shares=5))
    assert list(check_packet(packet, claims)) == []
    first, *others = claims
    wrong: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
        "was given": (packet, [first | {"amount": first["amount"] + 1}, *others]),
        "went back": (packet | {"refunded": packet["refunded"] - 1}, claims),
        "make the commitment": (packet | {"cap": packet["cap"] - 1}, claims),
        "to two people": (packet, [first, first | {"owner": "mallory"}, *others]),
        "has two shares": (packet, [first, *others, first | {"share": 5}]),
        "best luck": (packet, [it | {"best": not it["best"]} for it in claims]),
        "no such split": (packet | {"min": 900}, claims),
        "which is None": (packet, [first | {"share": 6}, *others]),
    }
    for words, (head, listed) in wrong.items():
        assert any(words in problem for problem in check_packet(head, listed)), words


async def test_plain_javascript_verifies_the_same(system: System, client: Make, nonce: str) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: docs/verify.mjs cannot be run")
    packet = await _ended(client, nonce, 230, total=5_000, shares=250)

    async def verify(id: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *("node", str(SCRIPT), system.url, system.token("anyone"), id),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    status, out = await verify(packet)
    assert (status, out.startswith("all match: 230 claims of 250 shares")) == (0, True), out
    status, out = await verify((await send(client, "alice", nonce))["id"])
    assert status == 1
    assert "published once it is final" in out
