"""Locust, in processes of its own: it patches its whole process for gevent."""

import asyncio
import os
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGKILL

from loadtest.rehearsal.error import RehearsalError
from loadtest.rehearsal.plan import BEGAN, BROKEN, STRAINED, Plan, read_began, written_plan
from redpacket.stack.ports import free_ports
from redpacket.stack.program import guarded, python
from redpacket.stack.server import plain_environ

_LOCUSTFILE = Path(__file__).with_name("locustfile.py")
# For its processes to start and to find each other.
_START_S = 60.0
# Who has begun something brings it to an end, for so long; what is still open then is asked for afterwards.
_FINISH_S = 60
# Its page stays for so long after the last person has gone.
_PAGE_STAYS_S = 5


class Swarm:
    """The people of a rehearsal, as they come and go. `began_s`: when the first came, in seconds since 1970."""

    def __init__(self, process: Process, began_s: float, log: Path) -> None:
        self.pid = process.pid
        self.began_s = began_s
        self._process = process
        self._log = log

    async def finished(self) -> None:
        """Until all have gone. Raises RehearsalError."""
        if await self._process.wait():
            raise RehearsalError(f"locust ended with status {self._process.returncode}: {_end_of(self._log)}")
        broken = self._log.parent / BROKEN
        if broken.exists():
            raise RehearsalError(f"{broken.read_text()}: see {self._log}")

    def was_strained(self) -> bool:
        """Whether people waited for their own phones, too."""
        return (self._log.parent / STRAINED).exists()


@asynccontextmanager
async def running_swarm(plan: Plan, url: str, web_port: int | None) -> AsyncIterator[Swarm]:
    """Started, and ended at the latest with this context. `web_port`: of locust's own page. Raises RehearsalError,
    StackError."""
    folder = Path(plan.folder)
    log = folder / "locust.log"
    with log.open("wb") as output, written_plan(plan) as descriptor:
        # In a session of its own: Ctrl-C reaches it through this process only.
        process = await asyncio.create_subprocess_exec(
            *guarded(_command(plan, url, web_port)),
            stdout=output,
            stderr=STDOUT,
            env=_environ() | {"REHEARSAL_PLAN": str(descriptor), "PYTHONUNBUFFERED": "1"},
            pass_fds=[descriptor],
            # Not the folder one stands in: locust takes options from a locust.conf and a pyproject.toml there.
            cwd=_LOCUSTFILE.parent,
            start_new_session=True,
        )
    try:
        yield Swarm(process, await _wait_begun(process, folder / BEGAN, log), log)
    finally:
        # It has ended by itself, or the rehearsal is given up, of which nothing will be said. Workers outlive the
        # master for a minute, and would go on asking.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)
        await process.wait()


def _environ() -> dict[str, str]:
    """Locust takes options from LOCUST_... too."""
    return {name: value for name, value in plain_environ().items() if not name.startswith("LOCUST_")}


def _command(plan: Plan, url: str, web_port: int | None) -> list[str]:
    command = python("locust", "--locustfile", str(_LOCUSTFILE), "--host", url)
    command += ["--stop-timeout", str(_FINISH_S), "--loglevel", "WARNING", "--only-summary"]
    # Whether anything was wrong is not for its own count of failures to say.
    command += ["--exit-code-on-error", "0"]
    if web_port is None:
        command += ["--headless"]
    else:
        command += ["--web-host", "127.0.0.1", "--web-port", str(web_port)]
        command += ["--autostart", "--autoquit", str(_PAGE_STAYS_S)]
    if plan.processes > 1:
        (port,) = free_ports(1)
        command += ["--processes", str(plan.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", str(port), "--master-host", "127.0.0.1", "--master-port", str(port)]
    return command


async def _wait_begun(process: Process, file: Path, log: Path) -> float:
    try:
        async with asyncio.timeout(_START_S):
            while process.returncode is None:
                if (began_s := read_began(file)) is not None:
                    return began_s
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise RehearsalError(f"locust did not begin within {_START_S:.0f} s: {_end_of(log)}") from None
    raise RehearsalError(f"locust ended with status {process.returncode}: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:].strip() or f"{log} is empty"
