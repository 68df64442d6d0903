"""The commands by which old days are detached."""

from datetime import datetime
from pathlib import Path

import click

from redpacket.cli.run import deployment_option, deployment_settings, json_option, run


@click.group()
def days() -> None:
    """Detach old days from what is asked of recent ones."""


@days.command("list")
@deployment_option
@json_option
def list_days(data: Path, as_json: bool) -> None:
    """List the days that the ledger has: how large each is, since when it is sealed, since when detached."""
    from ledger.days.read import list_days as read
    from ledger.days.words import format_json, format_table

    listed = run(read(deployment_settings(data)))
    click.echo(format_json(listed) if as_json else format_table(listed))


@days.command()
@deployment_option
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    metavar="YYYY-MM-DD",
    help="All days before this one (UTC), the oldest first.",
)
def detach(data: Path, before: datetime) -> None:
    """Detach old days that are sealed.

    While everything runs, but no worker of a version before 0.2.0: it would not find them. Nothing is gone: claims,
    packets, statements and the audit read a detached day where it is. Each day is detached as a whole or not at all;
    interrupted, or where a day is left, it can be run again. Exit status: 0 all of them are detached, 1 some are not,
    which it names.
    """
    from ledger.days.detach import DaysError, detach_days

    try:
        left = run(detach_days(deployment_settings(data), before.date(), click.echo))
    except DaysError as error:
        raise click.ClickException(str(error)) from None
    if left:
        raise click.ClickException("\n".join(["not all days are detached", *left]))
