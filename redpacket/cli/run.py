"""How a command finds its deployment, runs to its end, and says in a sentence what keeps it from that."""

import asyncio
import os
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from redpacket.cli.data import DEFAULT, DataFolder
from redpacket.settings import PREFIX, Settings, SettingsError, read_settings

P = ParamSpec("P")
T = TypeVar("T")

data_option = click.option("--data", type=DataFolder(), default=DEFAULT, help="The folder of the local stack.")
deployment_option = click.option(
    "--data",
    type=DataFolder(),
    default=DEFAULT,
    help="The folder of the local stack. Where none runs there, the REDPACKET_ settings name the deployment.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")


def environ_settings() -> Settings:
    return or_exit(read_settings, os.environ)


def deployment_settings(data: Path) -> Settings:
    """Of the local stack on `data`; where none runs there, of the deployment that the environment names."""
    from redpacket.stack.error import StackError
    from redpacket.stack.state import read_stack

    if f"{PREFIX}POSTGRES_URL" in os.environ:
        try:
            read_stack(data)
        except StackError:
            return environ_settings()
    return or_exit(read_settings, or_exit(read_stack, data).environ)


def or_exit(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` gives; a sentence and exit status 1 where it cannot."""
    from redpacket.stack.error import StackError

    try:
        return call(*args, **kwargs)
    except (SettingsError, StackError) as error:
        raise click.ClickException(str(error)) from None


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end; a sentence and exit status 1 where a part is away or this deployment is another."""
    import uvloop
    from aiokafka.errors import KafkaError

    from ledger.audit.findings import AuditError
    from ledger.deadletters.letter import LetterError
    from ledger.migrate import MigrationError
    from redpacket.books.database import POSTGRES_FAILURES, BooksUnavailableError
    from redpacket.books.deployment import DeploymentError
    from redpacket.log.producer import LogUnavailableError
    from redpacket.stack.error import StackError

    try:
        return uvloop.run(coroutine)
    except (
        AuditError,
        SettingsError,
        DeploymentError,
        LetterError,
        MigrationError,
        BooksUnavailableError,
        LogUnavailableError,
        StackError,
    ) as error:
        raise click.ClickException(str(error)) from None
    except KafkaError as error:
        raise click.ClickException(f"kafka: {error!r}") from None
    except POSTGRES_FAILURES as error:
        raise click.ClickException(f"postgres does not do as it should: {error!r}") from None


class _UncheckedError(click.ClickException):
    """Another status than that of what a check has found."""

    exit_code = 2


def run_check(check: Callable[[], Coroutine[Any, Any, T]], what: str) -> T:
    """Runs `what` to its end; a sentence and exit status 2 where that cannot be, also for a bug: 1 says that something
    was found."""
    try:
        return run(check())
    except click.ClickException as error:
        raise _UncheckedError(error.message) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise _UncheckedError(f"{what} was interrupted: nothing is said") from None
    except Exception as error:
        traceback.print_exc()
        raise _UncheckedError(f"{what} was not made, since it failed itself: {error!r}") from error
