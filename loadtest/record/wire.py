"""How what is asked goes over HTTP, and how what comes back is read."""

from typing import Any

import msgspec

from loadtest.record.words import Answer, Asked, Kind

# Of one answer, the API's bound.
LIST_LIMIT = 200

_AGAIN = (202, 429, *range(500, 600))
_PATHS: dict[Kind, tuple[str, str]] = {
    "topup": ("POST", "/v1/topups"),
    "send": ("POST", "/v1/packets"),
    "claim": ("POST", "/v1/packets/{}/claims"),
    "close": ("POST", "/v1/packets/{}/close"),
    "see_packet": ("GET", "/v1/packets/{}"),
    "see_claim": ("GET", "/v1/packets/{}/claims/me"),
    "see_claims": ("GET", f"/v1/packets/{{}}/claims?limit={LIST_LIMIT}"),
    "see_wallet": ("GET", "/v1/wallet"),
}
# What the audit looks at, of a packet and of the others; the rest would only make the file longer.
_OF_PACKETS = "id owner state kind total shares remaining remaining_shares refunded commitment expires_at"
_OF_OTHERS = "packet share amount currency claimed_at claims next available held"
_NO_JSON = {"code": "no_json"}
_FIELDS = frozenset(f"{_OF_PACKETS} {_OF_OTHERS}".split())


def request_line(asked: Asked) -> tuple[str, str]:
    """Method and path."""
    method, path = _PATHS[asked.kind]
    return method, path.format(asked.packet)


def request_headers(asked: Asked, token: str) -> dict[str, str]:
    bearer = {"Authorization": f"Bearer {token}"}
    return bearer | {"Idempotency-Key": asked.key} if asked.key else bearer


def request_body(asked: Asked) -> bytes | None:
    """None of a GET."""
    return msgspec.json.encode(asked.body) if _PATHS[asked.kind][0] == "POST" else None


def read_answer(status: int, content: bytes, retry_after: str | None) -> Answer:
    """Of an answer that came whole. Of the body only what the audit looks at."""
    body = _body_of(content)
    if 200 <= status < 300 and body == _NO_JSON:
        return Answer(outcome="unknown", status=status, code=body["code"])
    if status != 202 and 200 <= status < 300:
        return Answer(outcome="ok", status=status, body={name: it for name, it in body.items() if name in _FIELDS})
    return Answer(
        outcome="unknown" if status in _AGAIN else "fail",
        status=status,
        code="pending" if status == 202 else str(body.get("code", "none")),
        detail=str(body.get("detail", "")),
        retry_after=retry_after is not None,
    )


def _body_of(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _NO_JSON
