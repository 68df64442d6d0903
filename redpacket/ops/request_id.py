"""The id of the request at hand: it goes with what is asked for into the log and the ledger, and into every log line.

It is for people who look for something. Nothing is decided by it, and a repeat with another one is the same request.
"""

import itertools
import re
import secrets
from contextvars import ContextVar

HEADER = b"x-request-id"

# Of this process: random, then counted, so that the rows of one worker lie side by side in the index of such ids.
_PREFIX = secrets.token_hex(5)
_count = itertools.count(1)
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """Of the request that this task serves; '' outside of any."""
    return _current.get()


def new_request_id() -> str:
    return f"{_PREFIX}-{next(_count):08x}"


def begin_request(given: bytes | None) -> str:
    """From here on this task serves the request that its client calls `given`; a new id where that is not 1-64 of
    `A-Z a-z 0-9 . _ : -`. The id."""
    well_formed = given is not None and _WELL_FORMED.fullmatch(given)
    id = given.decode() if given is not None and well_formed else new_request_id()
    _current.set(id)
    return id
