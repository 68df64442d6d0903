"""The commands that a deployment runs: its schema, and its workers."""

from collections.abc import Callable, Coroutine
from typing import Any

import click

from redpacket.cli.parameters import TEXT
from redpacket.cli.run import environ_settings, run
from redpacket.settings import Settings


@click.command()
@click.option(
    "--old-redis-is-dead",
    is_flag=True,
    hidden=True,
    help="Only for `redpacket up`, whose Redis cannot outlive it: make the Redis of the settings the deployment's, as"
    " `redis replace --old-is-dead` does. What another one has acknowledged since is lost.",
)
def migrate(old_redis_is_dead: bool) -> None:
    """Install or upgrade a deployment.

    The schema and the topic of the one that the REDPACKET_ settings name; safe to run again.
    """
    from ledger.install import install
    from ledger.owner.replace import ReplaceError, replace_redis

    settings = environ_settings()
    deployment = run(install(settings, click.echo, old_redis_is_dead=old_redis_is_dead))
    if old_redis_is_dead:
        try:
            run(replace_redis(settings, settings.redis_url, old_is_dead=True, say=click.echo))
        except ReplaceError as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"installed: {deployment.shards} shards, {deployment.currency}, topic {deployment.topic}")


@click.command()
@click.option(
    "--fd",
    type=click.IntRange(0, 2**31 - 1),
    help="A listening socket passed on by the parent, shared by all API workers.",
)
@click.option(
    "--host", type=TEXT, default="127.0.0.1", help="Where to listen without --fd; ::1 is IPv6, :: is all there is."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    help="Where to listen without --fd.",
)
def api(fd: int | None, host: str, port: int) -> None:
    """Run one API worker.

    Of the deployment that the REDPACKET_ settings name, until SIGTERM.
    """
    from service.worker import run_api

    _serve(lambda settings: run_api(settings, fd, host, port))


@click.command()
def ledger() -> None:
    """Run one ledger worker.

    Of the deployment that the REDPACKET_ settings name, until SIGTERM.
    """
    from ledger.consume import LogGapError
    from ledger.watch import ConsumerStuckError
    from ledger.worker import run_ledger
    from redpacket.ops.signals import stop_on_signals

    async def settle(settings: Settings) -> None:
        await run_ledger(settings, stop_on_signals())

    try:
        _serve(settle)
    except (LogGapError, ConsumerStuckError) as error:
        raise click.ClickException(str(error)) from None


def _serve(worker: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    from redpacket.limits import worker_files
    from redpacket.ops.logs import log_to_stderr
    from redpacket.ops.open_files import TooFewFilesError, ensure_open_files

    log_to_stderr()
    try:
        ensure_open_files(worker_files(), "a worker")
    except TooFewFilesError as error:
        raise click.ClickException(str(error)) from None
    run(worker(environ_settings()))
