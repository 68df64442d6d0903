"""What is not as it should be is refused as the contract says, by every endpoint, and nothing is changed by it.

Each test asks one endpoint all that is bad in one way; then nothing has moved, and the good request works.
"""

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.integration.endpoints import ENDPOINTS, Endpoint, named
from tests.integration.scene import Scene
from tests.system import System
from tests.tokens import wrong_authorizations


def every_endpoint(**has: Any) -> pytest.MarkDecorator:
    """One by one, those that have what is named."""
    chosen = [it for it in ENDPOINTS if all(bool(getattr(it, name)) is wanted for name, wanted in has.items())]
    return pytest.mark.parametrize("endpoint", chosen, ids=str)


every_endpoint_with_a_body = pytest.mark.parametrize(
    "endpoint", [it for it in ENDPOINTS if it.body is not None], ids=str
)
every_endpoint_of_a_packet = pytest.mark.parametrize("endpoint", [it for it in ENDPOINTS if "{id}" in it.path], ids=str)


@pytest.fixture(autouse=True)
async def nothing_has_moved(scene: Scene, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """When a test is over; then the good request works, and nothing was logged that only a bug can be."""
    endpoint = request.getfixturevalue("endpoint") if "endpoint" in request.fixturenames else named("GET /v1/wallet")
    logged, before = len(_logged(scene.system)), await scene.seen()
    yield
    assert await scene.seen() == before
    await scene.works(endpoint)
    assert "unexpected: " not in _logged(scene.system)[logged:]


def _logged(system: System) -> str:
    return "".join(log.read_text() for log in sorted((system.data / "logs").glob("api-*.log")))


async def test_the_list_has_every_endpoint_of_the_document(system: System) -> None:
    async with httpx.AsyncClient(base_url=system.url, trust_env=False) as nobody:
        paths = (await nobody.get("/openapi.json")).json()["paths"]
    documented = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    assert documented == {str(endpoint) for endpoint in ENDPOINTS}


# Paths and methods


@every_endpoint()
async def test_a_path_has_one_spelling(scene: Scene, endpoint: Endpoint) -> None:
    path = scene.path(endpoint)
    head, _, tail = path.rpartition("/")
    spellings = [
        f"/{path}",
        f"{path}/",
        f"{head}//{tail}",
        path.upper(),
        f"{path};x=1",
        f"/.{path}",
        f"/x/..{path}",
    ]
    spellings += [f"/%{ord(path[1]):02x}{path[2:]}", path[:-1], f"{path}x", f"{path}/x/y/z", f"{path}%2F", f"{path}%00"]
    for spelled in spellings:
        answer = await scene.ask(endpoint, path=spelled)
        # What follows the key of an operation is a part of it.
        ours = spelled.startswith("/v1/operations/")
        allowed = {(404, "not_found"), (400, "invalid_request")} if ours else {(404, "not_found")}
        assert (answer.status_code, answer.json()["code"]) in allowed, spelled
        assert answer.headers["content-type"] == "application/problem+json"


@every_endpoint()
async def test_another_method_is_refused_and_told_which_there_are(scene: Scene, endpoint: Endpoint) -> None:
    there = {it.method for it in ENDPOINTS if it.path == endpoint.path}
    there |= {"HEAD"} if "GET" in there else set()
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "FOO"} - there:
        answer = await scene.ask(endpoint, method=method)
        if method == "HEAD":
            assert (answer.status_code, answer.content) == (405, b"")
        else:
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), method
        allowed = set(answer.headers["allow"].split(", "))
        # The parser knows no path of a method that it does not know.
        assert allowed == ({"GET", "HEAD", "POST"} if method == "FOO" else there)


# Who asks


@every_endpoint(token=True)
async def test_a_wrong_token_is_refused(scene: Scene, system: System, endpoint: Endpoint) -> None:
    private = load_pem_private_key((Path(system.settings.keys_dir) / "jwt_private.pem").read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    good = scene.headers(endpoint)
    del good["Authorization"]
    wrong = wrong_authorizations(private, sub=scene.owner(endpoint.caller), scope="operator")
    for what, values in wrong.items():
        headers = [*good.items(), *((b"Authorization", value) for value in values)]
        answer = await scene.refused(endpoint, 401, "unauthenticated", headers=headers)
        assert answer.headers["www-authenticate"] == "Bearer", what


@every_endpoint(operator=True)
async def test_who_lacks_the_scope_is_refused(scene: Scene, endpoint: Endpoint) -> None:
    headers = scene.headers(endpoint) | {"Authorization": f"Bearer {scene.system.token(scene.owner('alice'))}"}
    await scene.refused(endpoint, 403, "not_allowed", headers=headers)


@every_endpoint()
async def test_checks_come_in_the_order_of_the_contract(scene: Scene, endpoint: Endpoint) -> None:
    """Everything is wrong at first; each refusal is mended, and the next one is the next in the order."""
    good = scene.headers(endpoint)
    wrong: dict[str, Any] = {
        "headers": {},
        "query": "x=1",
        "content": b"{".ljust(4097),
        "path": "/v1" + scene.path(endpoint),
    }
    await scene.refused(endpoint, 404, "not_found", **wrong)
    del wrong["path"]
    await scene.refused(endpoint, 405, "method_not_allowed", method="PUT", **wrong)
    if not endpoint.token:
        return
    await scene.refused(endpoint, 401, "unauthenticated", **wrong)
    if endpoint.operator:
        wrong["headers"] = {"Authorization": f"Bearer {scene.system.token('eve')}"}
        await scene.refused(endpoint, 403, "not_allowed", **wrong)
    wrong["headers"] = {"Authorization": good["Authorization"]}
    if endpoint.body is not None:
        await scene.refused(endpoint, 413, "too_large", **wrong)
    wrong["content"] = b"{"
    if endpoint.key:
        await scene.refused(endpoint, 400, "idempotency_key_missing", **wrong)
    wrong["headers"] = good
    await scene.refused(endpoint, 400, "invalid_request", "x: not a parameter", **wrong)
    del wrong["query"]
    if endpoint.body is not None:
        await scene.refused(endpoint, 400, "invalid_request", "JSON", **wrong)


@every_endpoint(key=True)
async def test_a_key_is_one_header_of_visible_ascii(scene: Scene, endpoint: Endpoint) -> None:
    headers = scene.headers(endpoint)
    del headers["Idempotency-Key"]
    await scene.refused(endpoint, 400, "idempotency_key_missing", "Idempotency-Key", headers=headers)
    for bad in (b"", b"a b", b"k" * 256, "é".encode(), b"\xff", b"a\tb"):
        wrong = [*headers.items(), (b"Idempotency-Key", bad)]
        await scene.refused(endpoint, 400, "invalid_request", "Idempotency-Key", headers=wrong)
    for both in (("one", "two"), ("one", "one")):
        wrong = [*headers.items(), *(("Idempotency-Key", one) for one in both)]
        await scene.refused(endpoint, 400, "invalid_request", "Idempotency-Key", headers=wrong)


# What is asked for


@every_endpoint_of_a_packet
async def test_only_a_packets_id_in_its_one_spelling_finds_it(scene: Scene, endpoint: Endpoint) -> None:
    id = scene.packet
    unknown = [id[:6] + secrets.token_hex(16), id[:2] + "0001" + id[6:], "0" * 38, "ff" + id[2:], "x", "-1"]
    unknown += [f"{(int(id[:2], 16) + 1) % 16:02x}" + id[2:]]
    misspelled = [id.upper(), "0" + id, id + "0", id[:-1], id[1:], "+" + id, "%20" + id, id + "%0a", id + "%00"]
    encoded = [f"%{ord(id[0]):02x}{id[1:]}", "".join(f"%{ord(it):02X}" for it in id)]
    for other in (*unknown, *misspelled, *encoded, scene.topup):
        if other != id:
            await scene.refused(endpoint, 404, "not_found", path=endpoint.path.format(id=other))


@every_endpoint(token=True)
async def test_a_query_has_the_names_that_are_listed_each_once(scene: Scene, endpoint: Endpoint) -> None:
    bad = {"x=1": "x", "x": "x", "limits=5": "limits", "Limit=5": "Limit", "%6cimit%00=5": "limit", "id=1": "id"}
    if endpoint.page:
        spelled = ["1.0", "1e1", "+1", "-1", "%201", "1%20", "0x1", "1_0", "", "true", "null", "0", "201", "9" * 400]
        bad |= {f"limit={value}": "limit" for value in spelled}
        bad |= {f"after={value}": "after" for value in ("x", "-1", "", "1%0a", "1.0", "1" * 19, "%D9%A1", "\u0661")}
        bad |= {"limit=5&limit=5": "limit", "after=1&after=2": "after", "limit=5&x=1": "x"}
    else:
        bad |= {"limit=5": "limit", "after=0": "after"}
    for query, name in bad.items():
        if query.isascii():
            await scene.refused(endpoint, 400, "invalid_request", name, query=query)


@every_endpoint(page=True)
async def test_a_page_may_be_of_1_to_200(scene: Scene, endpoint: Endpoint) -> None:
    for query in ("limit=1", "limit=200", "after=0", "limit=1&after=0", "after=0&limit=200", "%6cimit=5"):
        assert (await scene.ask(endpoint, query=query)).status_code == 200


HOSTILE = {
    "nothing that is JSON": [
        b"{",
        b"}",
        b"{}}",
        b"{}x",
        b"x",
        b"'a'",
        b"{a:1}",
        b"{'a':1}",
        b"{},",
        b"{}{}",
        b"\0",
        b"{}\0",
    ],
    "other values": [b"null", b"[]", b"[{}]", b"1", b'"{}"', b"true", b"1e999"],
    "nested deep": [b"[" * 4_000, b'{"a":' * 800, b"[" * 2_000 + b"]" * 2_000, b'{"a":' * 600 + b"1" + b"}" * 600],
    "bad text": [b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"\xff":1}', b'{"a":"\xc0\x80"}'],
    "no numbers": [b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b"NaN", b'{"a":0x1}', b'{"a":01}', b'{"a":.5}'],
    "huge numbers": [b'{"a":' + b"9" * 4_000 + b"}", b"9" * 4_096, b'{"a":1e' + b"9" * 400 + b"}"],
}


@every_endpoint_with_a_body
async def test_a_hostile_body_is_refused(scene: Scene, endpoint: Endpoint) -> None:
    assert endpoint.body is not None
    good = json.dumps(endpoint.body).encode()
    for body in [body for bodies in HOSTILE.values() for body in bodies]:
        await scene.refused(endpoint, 400, "invalid_request", content=body)
    for name in ("other", "", "__class__", "a\0b", "总"):
        await scene.refused(endpoint, 400, "invalid_request", json=endpoint.body | {name: 1})
    for name, value in endpoint.body.items():
        twice = good[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}".encode()
        await scene.refused(endpoint, 400, "invalid_request", name, content=twice)
        escaped = good[:-1] + f', "\\u{ord(name[0]):04x}{name[1:]}": {json.dumps(value)}}}'.encode()
        await scene.refused(endpoint, 400, "invalid_request", name, content=escaped)
        for other in (None, [], {}, [value], {"a": value}):
            await scene.refused(endpoint, 400, "invalid_request", name, json=endpoint.body | {name: other})
    await scene.refused(endpoint, 413, "too_large", content=good.ljust(4097))
    await scene.refused(endpoint, 413, "too_large", content=b"x" * 2**20)


@every_endpoint_with_a_body
async def test_a_body_of_just_the_limit_is_read_and_an_empty_one_is_an_empty_object(
    scene: Scene, endpoint: Endpoint
) -> None:
    await scene.refused(endpoint, 400, "invalid_request", content=b"{".ljust(4096))
    if endpoint.body:
        await scene.refused(endpoint, 400, "invalid_request", next(iter(endpoint.body)), content=b"")


@every_endpoint(money=True)
async def test_money_is_a_whole_number_within_its_range(scene: Scene, endpoint: Endpoint) -> None:
    values = "0 -1 -0 1000000000001 9223372036854775807 9223372036854775808 18446744073709551616 1e3 1000.0 0.5 1E0"
    for name in endpoint.money:
        others = {it: value for it, value in (endpoint.body or {}).items() if it != name}
        start = json.dumps(others)[:-1]
        for value in (*values.split(), '"1000"', '""', "true", "false", "null", "[1000]", "{}", "1" * 30):
            body = f'{start}, "{name}": {value}}}'.encode()
            await scene.refused(endpoint, 400, "invalid_request", name, content=body)


@every_endpoint(texts=True)
async def test_texts_hold_nothing_that_moves_a_screen_or_breaks_a_store(scene: Scene, endpoint: Endpoint) -> None:
    for name in endpoint.texts:
        others = {it: value for it, value in (endpoint.body or {}).items() if it != name}
        start = json.dumps(others)[:-1]
        for code in (*range(0x20), *range(0x7F, 0xA0)):
            # In the middle and at the end, where a pattern may forgive a line end.
            for text in (f"a\\u{code:04x}b", f"CNY\\u{code:04x}"):
                body = f'{start}, "{name}": "{text}"}}'.encode()
                await scene.refused(endpoint, 400, "invalid_request", name, content=body)
        for raw in (b"\\ud800", b"\\udc00\\ud800", b"\xed\xa0\x80", b"\xff", b"a\0b", b"a\nb", b"\\x", b"x" * 201):
            body = f'{start}, "{name}": "'.encode() + raw + b'"}'
            await scene.refused(endpoint, 400, "invalid_request", content=body)


# What each field may be, beyond its kind


@pytest.mark.parametrize("endpoint", [named("POST /v1/packets")], ids=str)
async def test_a_greeting_that_shows_nothing_or_turns_text_round_is_refused(scene: Scene, endpoint: Endpoint) -> None:
    assert endpoint.body is not None
    for greeting in (" ", "\u3000", "\u200b\u200d", "\u0301", "\u3164", "\ufeff", "a\u202eb", "\u2067a", "a\u2069"):
        await scene.refused(endpoint, 400, "invalid_request", "greeting", json=endpoint.body | {"greeting": greeting})


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"shares": 0}, "shares"),
        ({"shares": 10_001, "total": 1_000_000}, "shares"),
        ({"shares": 3.0}, "shares"),
        ({"total": 2}, "min"),
        ({"kind": "fair"}, "kind"),
        ({"kind": "equal", "shares": 3}, "total"),
        ({"cap": 333}, "cap"),
        ({"cap": 1001}, "cap"),
        ({"min": 334}, "min"),
        ({"expires_in_s": 0}, "expires_in_s"),
        ({"expires_in_s": 604_801}, "expires_in_s"),
        ({"currency": "USD"}, "currency"),
        ({"currency": "cny"}, "currency"),
    ],
)
@pytest.mark.parametrize("endpoint", [named("POST /v1/packets")], ids=str)
async def test_a_packet_that_cannot_be_is_refused_by_name(
    scene: Scene, endpoint: Endpoint, changed: dict[str, Any], names: str
) -> None:
    body = {"kind": "lucky", "total": 1000, "shares": 3} | changed
    await scene.refused(endpoint, 400, "invalid_request", names, json=body)


@pytest.mark.parametrize("endpoint", [named("POST /v1/topups")], ids=str)
async def test_money_goes_to_owners_only(scene: Scene, endpoint: Endpoint) -> None:
    for owner in ("", "a b", "@funding", "x" * 65, "ü", "a/b"):
        await scene.refused(endpoint, 400, "invalid_request", "owner", json={"owner": owner, "amount": 5})
    await scene.refused(
        endpoint, 400, "invalid_request", "currency", json={"owner": "a", "amount": 5, "currency": "USD"}
    )
