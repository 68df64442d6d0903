"""How a command finds its deployment, runs to its end, and says in a sentence what keeps it from that."""

import asyncio
import os
import socket
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from redpacket.cli.parameters import DEFAULT, FOLDER
from redpacket.ops.signals import catch_stop_signals
from redpacket.settings import PREFIX, Settings, SettingsError, check_places, read_settings

P = ParamSpec("P")
T = TypeVar("T")

data_option = click.option("--data", type=FOLDER, default=DEFAULT, help="The folder of the local stack.")
deployment_option = click.option(
    "--data",
    type=FOLDER,
    default=DEFAULT,
    help="The folder of the local stack. Where none runs there, the REDPACKET_ settings name the deployment.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")


class UncheckedError(click.ClickException):
    """A check was not made: another status than that of what it finds."""

    exit_code = 2


class Check(click.Command):
    """A command whose exit status 1 says that something was found. Where it does not come to its end, also for a bug,
    the status is 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.exceptions.Exit, click.UsageError):
            raise
        except click.ClickException as error:
            raise UncheckedError(error.message) from None
        except Exception as error:
            traceback.print_exc()
            raise UncheckedError(f"{context.command_path} crashed (this is a bug): {error!r}") from error


def environ_settings() -> Settings:
    settings = or_exit(read_settings, os.environ)
    or_exit(check_places, settings)
    return settings


def deployment_settings(data: Path) -> Settings:
    """Of the local stack on `data`; where none runs there, of the deployment that the environment names."""
    from redpacket.stack.error import NotRunningError, StackError
    from redpacket.stack.state import read_stack, ready_stack

    if f"{PREFIX}POSTGRES_URL" in os.environ:
        try:
            read_stack(data)
        except NotRunningError:
            return environ_settings()
        except StackError as error:
            raise click.ClickException(str(error)) from None
    return or_exit(read_settings, or_exit(ready_stack, data).environ)


def or_exit(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` gives; a sentence and exit status 1 where it cannot."""
    from redpacket.stack.error import StackError

    try:
        return call(*args, **kwargs)
    except (SettingsError, StackError) as error:
        raise click.ClickException(str(error)) from None


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end; a sentence and exit status 1 where a part is away or this deployment is another.

    SIGTERM, SIGINT and SIGHUP cancel it, once: what it does then to end in good order is not cut short.
    """
    import uvloop
    from aiokafka.errors import KafkaError

    from ledger.audit.findings import AuditError
    from ledger.deadletters.letter import LetterError
    from ledger.migrate import MigrationError
    from redpacket.books.database import POSTGRES_FAILURES, BooksUnavailableError
    from redpacket.books.deployment import DeploymentError
    from redpacket.log.producer import LogUnavailableError
    from redpacket.ops.open_files import TooFewFilesError
    from redpacket.ops.server import ListenError
    from redpacket.stack.error import StackError

    try:
        return uvloop.run(_until_signal(coroutine))
    except (
        AuditError,
        SettingsError,
        DeploymentError,
        LetterError,
        ListenError,
        MigrationError,
        BooksUnavailableError,
        LogUnavailableError,
        StackError,
        TooFewFilesError,
    ) as error:
        raise click.ClickException(str(error)) from None
    except KafkaError as error:
        raise click.ClickException(f"kafka: {error!r}") from None
    except POSTGRES_FAILURES as error:
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
            raise click.ClickException(str(error)) from None  # of a file, a disk, a terminal
        raise click.ClickException(f"postgres does not do as it should: {error!r}") from None


async def _until_signal(coroutine: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    asked = False

    def ask_to_stop() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    catch_stop_signals(ask_to_stop)
    return await coroutine
