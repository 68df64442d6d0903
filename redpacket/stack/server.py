"""What Postgres, Redis and Kafka have in common here."""

import os
from collections.abc import Callable
from typing import Protocol

from redpacket.settings import PREFIX
from redpacket.stack.logs import Log
from redpacket.stack.program import Program

Say = Callable[[str], None]


class Server(Protocol):
    @property
    def name(self) -> str: ...

    async def prepare(self, log: Log, say: Say) -> None:
        """Make what the first start needs. Raises StackError."""

    def program(self) -> Program:
        """What to run, once prepared."""


def plain_environ() -> dict[str, str]:
    """This process's environment without the settings, which are for workers only."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
