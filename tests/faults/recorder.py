"""The recorder: what was asked and what came of it, line by line in a file that only it writes and auditors read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
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


class _Started(Struct, frozen=True, tag="started"):
    number: int
    at_s: float
    asked: Asked


class _Ended(Struct, frozen=True, tag="ended"):
    number: int
    at_s: float
    answer: Answer


class Attempt:
    """A request under way; its user sets `answer`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answer: Answer | None = None


class Recorder:
    """Writes each request down before it is sent, and again when it has ended: one of which only the first line is
    there has an unknown outcome. Each line is written out at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._requests = 0
        self._encode = msgspec.json.Encoder().encode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @contextmanager
    def recorded(self, asked: Asked) -> Iterator[Attempt]:
        """Around one request. One that leaves without an answer (cancelled, that is) has no second line."""
        self._requests += 1
        attempt = Attempt(self._requests)
        self._write(_Started(attempt.number, time.time(), asked))
        yield attempt
        assert attempt.answer is not None
        self._write(_Ended(attempt.number, time.time(), attempt.answer))

    def _write(self, line: _Started | _Ended) -> None:
        self._file.write(self._encode(line) + b"\n")
        self._file.flush()


def read_requests(path: Path) -> list[Request]:
    """Every request of the file, by number."""
    decode = msgspec.json.Decoder(_Started | _Ended).decode
    requests: dict[int, Request] = {}
    with path.open("rb") as file:
        for text in file:
            match decode(text):
                case _Started(number, at_s, asked):
                    requests[number] = Request(number=number, asked=asked, started_s=at_s)
                case _Ended(number, at_s, answer):
                    started = requests[number]
                    requests[number] = msgspec.structs.replace(started, ended_s=at_s, answer=answer)
    return list(requests.values())
