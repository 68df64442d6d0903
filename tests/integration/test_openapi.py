"""The document is the full contract: it says what the service does, and the service does what it says."""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.api import Make, top_up
from tests.system import System

SEED = os.environ.get("OPENAPI_SEED", "1")
LONG_S = 240.0


@pytest.fixture
async def document(system: System) -> Any:
    async with httpx.AsyncClient(base_url=system.url, trust_env=False) as nobody:
        answer = await nobody.get("/openapi.json")
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()


async def test_whoever_asks_by_the_document_is_answered_by_it(
    system: System, client: Make, nonce: str, tmp_path: Path
) -> None:
    """schemathesis asks every endpoint what the document allows, and what it does not, and holds every answer against
    it. OPENAPI_SEED=2 asks something else; the seed is in the output."""
    await top_up(client, "alice", nonce, 10**12)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
        *("run", f"{system.url}/openapi.json", "--seed", SEED, "--continue-on-failure"),
        *("--header", f"Authorization: Bearer {system.token(f'alice.{nonce}', 'operator')}"),
        *("--report", "json", "--report-json-path", "report.json"),
        stdout=PIPE,
        stderr=STDOUT,
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    try:
        async with asyncio.timeout(LONG_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    print(said.decode())
    assert process.returncode == 0
    report = json.loads((tmp_path / "report.json").read_text())
    operations, cases = report["operations"], report["test_cases"]
    assert operations["tested"] == operations["total"] > 0
    assert cases["generated"] > 20 * operations["total"]
    logs = "".join(log.read_text() for log in (system.data / "logs").glob("api-*.log"))
    assert "unexpected: " not in logs


async def test_every_reference_resolves_and_everything_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    refs = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document))
    assert set(refs) == schemas.keys()
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["description"]
            assert all(response["description"] for response in operation["responses"].values())
            assert all(parameter["description"] for parameter in operation.get("parameters", ()))
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


async def test_refusals_are_problems_and_whoever_may_come_back_is_told_when(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values() if path.startswith("/v1") else ():
            assert {"400", "401", "405", "408", "431", "503"} <= operation["responses"].keys()
            for status, response in operation["responses"].items():
                (kind,) = response["content"]
                assert (kind == "application/problem+json") is (int(status) >= 400)
                assert ("Retry-After" in response.get("headers", ())) is (status in ("202", "429", "503"))
    claim = document["paths"]["/v1/packets/{id}/claims"]["post"]
    assert {"200", "201", "202", "404", "409", "410", "413"} <= claim["responses"].keys()


async def test_what_a_client_needs_to_know_of_a_field_is_there(document: dict[str, Any]) -> None:
    schemas, paths = document["components"]["schemas"], document["paths"]
    asked = schemas["PacketRequest"]
    assert asked["additionalProperties"] is False
    assert (asked["properties"]["total"]["minimum"], asked["properties"]["total"]["maximum"]) == (1, 10**12)
    assert "inor units" in asked["properties"]["total"]["description"]
    assert set(schemas["Packet"]["properties"]["state"]["enum"]) == {"open", "sold_out", "closing", "closed", "expired"}
    (key,) = (it for it in paths["/v1/packets"]["post"]["parameters"] if it["name"] == "Idempotency-Key")
    for value, fits in (("k" * 255, True), ("!~", True), ("", False), ("k" * 256, False), ("a b", False), ("é", False)):
        assert bool(re.search(key["schema"]["pattern"], value)) is fits


async def test_every_request_may_have_an_id_and_every_answer_has_one(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            given = [it for it in operation.get("parameters", ()) if it["name"] == "X-Request-Id"]
            assert [it["required"] for it in given] == ([False] if path.startswith("/v1") else [])
            assert all(it["headers"]["X-Request-Id"]["required"] for it in operation["responses"].values())


async def test_health_tells_what_it_is_refused_with(document: dict[str, Any]) -> None:
    for path in ("/healthz/live", "/healthz/ready", "/metrics"):
        responses = document["paths"][path]["get"]["responses"]
        assert {"200", "400", "405", "408", "431"} <= responses.keys()
        assert "Allow" in responses["405"]["headers"]


async def test_what_may_still_change_is_not_called_final(document: dict[str, Any]) -> None:
    seen = document["paths"]["/v1/operations/{idempotency_key}"]["get"]["responses"]["200"]
    assert seen["description"] == "What became of it, as of now."
