"""The commands of the local stack: the whole system on this machine."""

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Literal

import click
import msgspec

from redpacket.cli.parameters import DEFAULT, PROGRAM, TEXT
from redpacket.cli.run import data_option, deployment_option, deployment_settings, json_option, or_exit, run
from redpacket.money import Owner
from redpacket.settings import SettingsError


@click.command()
@data_option
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8000, help="Where the API is served; 0 takes a free one."
)
@click.option(
    "--host",
    type=TEXT,
    default="127.0.0.1",
    help="The address that the API listens on, as ::1. Everything else is on 127.0.0.1.",
)
@click.option("--api", type=click.IntRange(1, 64), default=2, help="API workers.")
@click.option("--ledger", type=click.IntRange(1, 16), default=2, help="Ledger workers.")
@click.option(
    "--redis-server", type=PROGRAM, help="Use this Redis >= 7 from PATH instead of the Valkey that comes along."
)
def up(data: Path, port: int, host: str, api: int, ledger: int, redis_server: str | None) -> None:
    """Run the whole system on this machine.

    In the foreground, until Ctrl-C, SIGTERM or SIGHUP, which stop all of it. Prints `ready http://...` once it serves;
    a second start on the same data goes on where it was.
    """
    from redpacket.ops.open_files import TooFewFilesError
    from redpacket.stack.error import StackError
    from redpacket.stack.folder import resolve_folder
    from redpacket.stack.state import read_stack
    from redpacket.stack.up import run_up

    def say_what_to_try() -> None:
        named = "" if data == resolve_folder(DEFAULT) else f" --data {shlex.quote(str(data))}"
        click.echo(_WHAT_TO_TRY.format(url=read_stack(data).url, data=named))

    try:
        asyncio.run(run_up(data, port, api, ledger, click.echo, say_what_to_try, redis_binary=redis_server, host=host))
    except (StackError, SettingsError, TooFewFilesError, OSError) as error:
        raise click.ClickException(str(error)) from None


_WHAT_TO_TRY = """
Try, in another terminal (ID is the packet's id, printed by the second):
  T() {{ .venv/bin/redpacket token{data} "$@"; }}
  P() {{ curl -s -H "Authorization: Bearer $1" -H "Idempotency-Key: $RANDOM$RANDOM" {url}$2 -d "$3"; echo; }}
  P $(T boss --scope operator) /v1/topups '{{"owner":"alice","amount":10000}}'
  P $(T alice) /v1/packets '{{"kind":"lucky","total":1000,"shares":3,"greeting":"Happy New Year"}}'
  P $(T bob) /v1/packets/ID/claims '{{}}'
  curl -s -H "Authorization: Bearer $(T bob)" {url}/v1/wallet
  .venv/bin/redpacket demo{data}
"""


@click.command()
@data_option
@json_option
def ps(data: Path, as_json: bool) -> None:
    """List the processes of the running stack."""
    from redpacket.stack.ps import format_json, format_table
    from redpacket.stack.state import read_stack

    state = or_exit(read_stack, data)
    click.echo(format_json(state) if as_json else format_table(state))


@click.command()
@data_option
@click.argument("kind", type=click.Choice(["api", "ledger"]))
def roll(data: Path, kind: Literal["api", "ledger"]) -> None:
    """Restart workers one by one, unnoticed.

    Each gets SIGTERM, lets its clients go or ends its transaction, and is started again by the stack, from the code
    that is there now and with the settings that the stack was started with. The next one's turn comes when it is ready
    again. To interrupt this is safe: what has been stopped is started all the same.
    """
    from redpacket.stack.roll import roll_workers

    or_exit(roll_workers, data, kind, click.echo)


@click.command()
@deployment_option
@click.argument("owner")
@click.option("--scope", type=click.Choice(["operator"]), help="What else the token may do.")
def token(data: Path, owner: str, scope: str | None) -> None:
    """Print a token for OWNER, for the running stack."""
    from redpacket.stack.tokens import issue_token

    try:
        msgspec.convert(owner, Owner)
    except msgspec.ValidationError:
        raise click.BadParameter("an owner is 1-64 of A-Z a-z 0-9 . _ : -") from None
    click.echo(or_exit(issue_token, deployment_settings(data), owner, scope or ""))


@click.command()
@data_option
@click.option("--shares", type=click.IntRange(1, 10_000), default=100, help="Shares of the packet.")
@click.option("--people", type=click.IntRange(1, 10_000), default=200, help="People who claim, each twice at once.")
def demo(data: Path, shares: int, people: int) -> None:
    """Let a crowd claim a packet, and check it.

    On the running stack: a packet is sent, many people claim it at once, each twice, and every fen is looked for. Exit
    status 0 only if all of it is found.
    """
    import httpx

    from ledger.audit.report import format_line
    from ledger.audit.run import audit
    from redpacket.demo import DemoError, run_demo
    from redpacket.stack.state import read_stack

    def tell(what: str) -> None:
        click.echo(what, err=True)

    url, settings = or_exit(read_stack, data).url, deployment_settings(data)
    try:
        failed = run(run_demo(settings, url, shares, people, click.echo, tell))
    except (DemoError, httpx.HTTPError) as error:
        raise click.ClickException(f"the demo did not come to its end: {error}") from None
    findings = run(audit(settings, "mark", tell))
    click.echo(format_line(findings))
    sys.exit(failed or findings.exit_status)
