"""The words of the record: what was asked, what came of it."""

from typing import Any, Literal

from msgspec import Struct

Kind = Literal["topup", "send", "claim", "close", "see_packet", "see_claim", "see_claims", "see_wallet"]
# ok: a final yes. fail: a final no. unknown: 202, 429, a 5xx, no answer in time, a connection that broke.
Outcome = Literal["ok", "fail", "unknown"]


class Asked(Struct, frozen=True, kw_only=True):
    """One operation: its repeats are equal to it. `key` is the idempotency key where it has one, `packet` the id of the
    packet that it is about, `body` what is sent."""

    kind: Kind
    owner: str
    key: str = ""
    packet: str = ""
    body: dict[str, Any] = {}

    @property
    def operation(self) -> str:
        """The same for all repeats, and for no other operation."""
        return " ".join((self.kind, self.owner, self.key, self.packet))


class Answer(Struct, frozen=True, kw_only=True):
    """`status` is 0 where none came; then `code` is what happened instead. `code` and `detail` of a refusal are the
    API's."""

    outcome: Outcome
    status: int = 0
    code: str = ""
    detail: str = ""
    body: dict[str, Any] = {}
    retry_after: bool = False


class Request(Struct, frozen=True, kw_only=True):
    """One attempt at an operation. Times are seconds since 1970; `ended_s` is None where the client went away."""

    number: int
    asked: Asked
    started_s: float
    ended_s: float | None = None
    answer: Answer = Answer(outcome="unknown", code="went_away")
