"""The recorder: what was asked and what came of it, line by line in a file that only it writes and auditors read."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from loadtest.record.words import Answer, Asked, Request


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


def read_requests(*files: Path) -> list[Request]:
    """Every request of these files, in the order in which they were asked, numbered in it."""
    requests = [request for file in files for request in _requests_of(file)]
    requests.sort(key=lambda it: it.started_s)
    return [msgspec.structs.replace(it, number=number) for number, it in enumerate(requests, start=1)]


def _requests_of(file: Path) -> Iterable[Request]:
    decode = msgspec.json.Decoder(_Started | _Ended).decode
    requests: dict[int, Request] = {}
    with file.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):  # its writer was killed in the middle of it
                break
            match decode(line):
                case _Started(number, at_s, asked):
                    requests[number] = Request(number=number, asked=asked, started_s=at_s)
                case _Ended(number, at_s, answer):
                    started = requests[number]
                    requests[number] = msgspec.structs.replace(started, ended_s=at_s, answer=answer)
    return requests.values()
