"""`redpacket verify`, and the same in JavaScript: a final packet is what its published seed makes of it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from redpacket.verify import UnverifiableError, check_packet, verify_packet
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
        assert status == 2
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
        "said to be sold_out": (packet | {"state": "sold_out"}, claims),
        "1 in 0 shares are said to remain": (packet | {"remaining": 1}, claims),
        "0 in 2 shares are said to remain": (packet | {"remaining_shares": 2}, claims),
        "which is None": (packet, [first | {"share": 6}, *others]),
    }
    for words, (head, listed) in wrong.items():
        assert any(words in problem for problem in check_packet(head, listed)), words


@asynccontextmanager
async def _answering(answers: Mapping[str, object]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers each path so, and all others with what is no JSON; its URL, and the paths it was asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1].decode())
        found = answers.get(asked[-1].partition("?")[0])
        body = b"<html>" if found is None else json.dumps(found).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


async def test_a_packet_is_one_segment_of_the_path_and_what_is_no_json_cannot_be_verified() -> None:
    async with _answering({}) as (url, asked):
        with pytest.raises(UnverifiableError, match="what is no JSON"):
            await verify_packet(url, "anybody", "../wallet?a#b", lambda _: None)
    assert asked == ["/v1/packets/..%2Fwallet%3Fa%23b"]


@pytest.mark.parametrize("answer", [{}, [], "x", 1, {"state": "open"}, {"seed": 1, "state": "closed"}])
async def test_what_is_no_redpacket_cannot_be_verified(answer: object) -> None:
    async with _answering({"/v1/packets/x": answer, "/v1/packets/x/claims": answer}) as (url, _):
        with pytest.raises(UnverifiableError, match=r"is no redpacket|published once it is final"):
            await verify_packet(url, "anybody", "x", lambda _: None)


async def test_plain_javascript_verifies_the_same(system: System, client: Make, nonce: str) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: docs/verify.mjs cannot be run")
    packet = await _ended(client, nonce, 230, total=5_000, shares=250)

    async def verify(id: str, url: str = system.url) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *("node", str(SCRIPT), url, system.token("anyone"), id),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    status, out = await verify(packet)
    assert (status, out.startswith("all match: 230 claims of 250 shares")) == (0, True), out
    status, out = await verify((await send(client, "alice", nonce))["id"])
    assert status == 2
    assert "published once it is final" in out
    # All else is right in each of these.
    head, claims = await _seen(client, await _ended(client, nonce, 3, shares=3))
    path = f"/v1/packets/{head['id']}"
    for changed, owners, said in (
        ({}, ("p0", "p0", "p2"), "somebody has two shares"),
        ({"state": "closed"}, ("p0", "p1", "p2"), "state: 'closed'"),
        ({"remaining": 1}, ("p0", "p1", "p2"), "remaining: 1"),
    ):
        listed = [claim | {"owner": owner} for claim, owner in zip(claims, owners, strict=True)]
        answers = {path: head | changed, f"{path}/claims": {"claims": listed, "next": None}}
        async with _answering(answers) as (url, _):
            status, out = await verify(head["id"], url)
        assert (status, said in out) == (1, True), out
