"""The API and ledger workers of a stack: their settings, their commands, and how to see that they serve."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from socket import socket

import httpx
import msgspec

from redpacket.ops import drain
from redpacket.settings import PREFIX, Settings, read_settings, settings_environ
from redpacket.stack.ports import free_ports
from redpacket.stack.program import NotAnsweringError, Program, python
from redpacket.stack.server import child_environ

LEDGER_STOP_S = 3.0
# To be ready, from its start.
WORKER_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 2.0
# What runs `migrate`, `ledger` and `api --fd N`.
COMMAND = tuple(python("redpacket.cli"))
# httpx reads all certificates of the machine when it is given none of these: 23 ms of CPU a call, for plain HTTP.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# What the stack itself decides; whatever else the user has set is passed on.
OWN = (
    "postgres_url",
    "redis_url",
    "kafka_bootstrap",
    "kafka_user",
    "kafka_password",
    "keys_dir",
    "instance",
    "ops_host",
    "ops_port",
)


def stack_settings(environ: Mapping[str, str], **own: str) -> Settings:
    """The user's settings in `environ`, with the stack's `own` in place of his. Raises SettingsError."""
    names = {PREFIX + name.upper() for name in OWN}
    tuning = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in names}
    return read_settings(tuning | {PREFIX + name.upper(): value for name, value in own.items()})


@dataclass(frozen=True)
class Workers:
    api: int
    ledger: int
    command: Sequence[str] = COMMAND

    @property
    def api_names(self) -> list[str]:
        return [f"api-{number}" for number in range(self.api)]

    @property
    def ledger_names(self) -> list[str]:
        return [f"ledger-{number}" for number in range(self.ledger)]

    @property
    def names(self) -> list[str]:
        return self.ledger_names + self.api_names

    def programs(self, settings: Settings, listener: socket) -> list[Program]:
        """One for each worker, with a port of its own for health and metrics. Raises StackError."""
        ports = dict(zip(self.names, free_ports(len(self.names)), strict=True))
        serve = [*self.command, "api", "--fd", str(listener.fileno())]
        settle = [*self.command, "ledger"]
        return [
            *(_program(name, settle, settings, ports[name]) for name in self.ledger_names),
            *(_program(name, serve, settings, ports[name], [listener.fileno()]) for name in self.api_names),
        ]


def stop_s(name: str, settings: Settings) -> float:
    """How long after SIGTERM the worker of this name may still be there."""
    return drain.stop_s(settings) if name.startswith("api-") else LEDGER_STOP_S


def worker_environ(settings: Settings) -> dict[str, str]:
    return child_environ() | settings_environ(settings)


def _program(name: str, argv: Sequence[str], settings: Settings, port: int, pass_fds: Sequence[int] = ()) -> Program:
    return Program(
        name=name,
        argv=argv,
        environ=worker_environ(msgspec.structs.replace(settings, ops_port=port, instance=name)),
        answers=partial(_answers, port),
        port=port,
        pass_fds=pass_fds,
        stop_s=stop_s(name, settings),
    )


async def _answers(port: int, pid: int) -> None:
    try:
        async with httpx.AsyncClient(timeout=CALL_TIMEOUT_S, trust_env=False, verify=NO_CERTIFICATES) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/healthz/ready")
    except httpx.HTTPError as error:
        raise NotAnsweringError(f"no answer to /healthz/ready: {error}") from error
    if answer.status_code != httpx.codes.OK:
        raise NotAnsweringError(f"/healthz/ready answered {answer.status_code}: {answer.text[:200]}")
