"""The command by which a deployment gets another Redis."""

import click

from redpacket.cli.parameters import REDIS_URL
from redpacket.cli.run import environ_settings, run


@click.group()
def redis() -> None:
    """Give a deployment another Redis."""


@redis.command()
@click.option(
    "--to",
    type=REDIS_URL,
    help="The new Redis. By default that of REDPACKET_REDIS_URL, where the old one is dead.",
)
@click.option(
    "--old-is-dead",
    is_flag=True,
    help="The old Redis cannot be closed. It must be gone with its memory for ever: a machine that is only paused or"
    " cut off would go on where it was, and what it acknowledges is lost.",
)
def replace(to: str | None, old_is_dead: bool) -> None:
    """Make another Redis the deployment's.

    With the REDPACKET_ settings as they are, which lead to the old one: it is closed, and must answer for that. Then
    change REDPACKET_REDIS_URL and roll the workers; until a ledger worker has the new setting, claims and sends are
    answered 503. Whenever it is interrupted nothing is lost, and it can be run again. The way back is the same command.
    """
    from ledger.owner.replace import ReplaceError, replace_redis

    settings = environ_settings()
    if to is None and not old_is_dead:
        raise click.UsageError("--to URL says which Redis is the new one")
    try:
        run(replace_redis(settings, to or settings.redis_url, old_is_dead=old_is_dead, say=click.echo))
    except ReplaceError as error:
        raise click.ClickException(str(error)) from None
    if to is not None:
        click.echo(
            f"Now set REDPACKET_REDIS_URL={_shown(to)} and roll the workers, the ledger's first. Until one of these"
            " runs with it every shard is closed: claims and sends are answered 503, and nothing is lost."
        )


def _shown(url: str) -> str:
    """Without a password."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else url
