"""What Postgres, Redis and Kafka have in common here."""

import os
from collections.abc import Callable
from typing import Protocol

from redpacket.settings import PREFIX
from redpacket.stack.logs import Log
from redpacket.stack.program import Program

# LD_LIBRARY_PATH: without it a Python in a place of its own does not find its library.
NEEDED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")

Say = Callable[[str], None]


class Server(Protocol):
    @property
    def name(self) -> str: ...

    async def prepare(self, log: Log, say: Say) -> None:
        """Make what the first start needs. Raises StackError."""

    def program(self) -> Program:
        """What to run, once prepared."""


def plain_environ() -> dict[str, str]:
    """This process's environment without the settings: for what goes out to the world, by somebody's proxy, say."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def child_environ() -> dict[str, str]:
    """Of servers and workers: what a program needs to run, and nothing that changes what it does or whom it asks, as
    PGSSLMODE, JAVA_TOOL_OPTIONS and PYTHONPATH do."""
    return {name: value for name, value in os.environ.items() if name in NEEDED or name.startswith("LC_")}
