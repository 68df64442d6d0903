"""The load: prepared requests, sent by wrk where it is on PATH, else by a generator of our own, each in a process of
its own."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Sequence
from importlib.resources import as_file, files
from pathlib import Path

import msgspec
from msgspec import Struct

from redpacket.stack.program import guarded, python

# What answers may take beyond the time in which requests are sent; a list without a time limit has as long as LIST_S.
_GRACE_S, _LIST_S = 30, 120
_STOP_S = 10.0


class LoadError(Exception):
    """The generator failed; the message says how."""


class Fired(Struct, frozen=True):
    """What a generator tells: times on the machine's monotonic clock; answers by status; the rest got no answer.

    wrk corrects its latencies for coordinated omission: one answer that took long counts for those that it held up.
    """

    began_s: float
    ended_s: float
    sent: int
    statuses: dict[str, int]
    p50_ms: float
    p99_ms: float


def generator_name() -> str:
    return "wrk" if shutil.which("wrk") else "own"


def write_requests(file: Path, requests: Iterable[bytes]) -> None:
    file.write_bytes(b"".join(b"%d:%b" % (len(request), request) for request in requests))


def read_requests(file: Path) -> list[bytes]:
    text, requests, at = file.read_bytes(), [], 0
    while at < len(text):
        colon = text.index(b":", at)
        at = colon + 1 + int(text[at:colon])
        requests.append(text[colon + 1 : at])
    return requests


async def fire(
    port: int, connections: int, file: Path, seconds: float = 0, *, again: bool = False, generator: str = ""
) -> Fired:
    """Sends the requests in `file` to 127.0.0.1, each once, or `again` from the start, for `seconds` or while there
    are any (0). `generator`: 'wrk', 'own', or whatever is there. Raises LoadError."""
    limit_s = int(seconds) + _GRACE_S if seconds else _LIST_S
    rest = [str(file), f"{seconds:g}", "1" if again else "0"]
    with as_file(files("loadtest.bench") / "fire.lua") as script:
        if (generator or generator_name()) == "wrk":
            argv = ["wrk", "-t1", f"-c{connections}", f"-d{limit_s}", "--timeout", f"{limit_s}", "-s", str(script)]
            argv += [f"http://127.0.0.1:{port}", "--", *rest]
        else:
            argv = python("loadtest.bench.fire", str(port), str(connections), *rest)
        return await _run(argv, limit_s + _STOP_S)


async def _run(argv: Sequence[str], limit_s: float) -> Fired:
    process = await asyncio.create_subprocess_exec(*guarded(argv), stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(limit_s):
            out, errors = await process.communicate()
    except TimeoutError:
        raise LoadError(f"{argv[0]} did not end within {limit_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return msgspec.json.decode(out.splitlines()[-1], type=Fired)
    except (IndexError, msgspec.DecodeError):
        said = (errors or out).decode()[-500:]
        raise LoadError(f"{argv[0]} ended with status {process.returncode}: {said}") from None
