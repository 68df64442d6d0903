"""The commands by which anyone may check what is promised: audit, verify, trace, bench."""

import sys
from pathlib import Path

import click

from redpacket.cli.parameters import NUMBERS, TEXT, TOKEN, URL, finite
from redpacket.cli.run import Check, data_option, deployment_option, deployment_settings, json_option, or_exit, run

# As loadtest/bench/cases.py has them, which is not imported for the sake of --help.
CASES = ("spread", "hot", "sold_out", "sends")


@click.command(cls=Check)
@deployment_option
@json_option
@click.option(
    "--since",
    default="mark",
    metavar="mark|start|TIME",
    help="How far back the log is read: to where the last audit in which all held has ended, to its start, or to a time"
    " (ISO 8601, UTC unless it says so).",
)
def audit(data: Path, as_json: bool, since: str) -> None:
    """Check every invariant on the running system.

    From Postgres, Redis and the log, without stopping anything. Exit status: 0 all hold, 1 something is
    violated, 2 it could not be checked. docs/audit.md says what is compared.
    """
    from ledger.audit.report import format_json, format_table
    from ledger.audit.run import audit as run_audit
    from ledger.audit.run import parse_since

    try:
        wanted = parse_since(since)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{since!r} is neither mark, start nor a time from 1970 to now", param_hint="--since"
        ) from None

    def tell(what: str) -> None:
        click.echo(what, err=True)

    findings = run(run_audit(deployment_settings(data), wanted, tell))
    click.echo(format_json(findings) if as_json else format_table(findings))
    sys.exit(findings.exit_status)


@click.command(cls=Check)
@data_option
@click.option("--url", type=URL, help="Of the service, if it is not the local stack's; then --token, too.")
@click.option("--token", type=TOKEN, help="Anybody's; by default one is made, which only the local stack's key can.")
@click.argument("packet", type=TEXT)
def verify(data: Path, url: str | None, token: str | None, packet: str) -> None:
    """Recompute a packet's shares from its seed.

    Of a final PACKET. All that it needs is what everyone sees: the packet, and the list of its claims. docs/split.md
    says what it proves. Exit status: 0 they match, 1 they do not, 2 they could not be compared.
    """
    from redpacket.stack.state import ready_stack
    from redpacket.stack.tokens import issue_token
    from redpacket.verify import UnverifiableError, verify_packet

    if (url is None) != (token is None):
        raise click.UsageError("--url and --token go together")
    asked = url or or_exit(ready_stack, data).url
    given = token or or_exit(issue_token, deployment_settings(data), "verifier")
    try:
        sys.exit(run(verify_packet(asked, given, packet, click.echo)))
    except UnverifiableError as error:
        raise click.ClickException(str(error)) from None


@click.command()
@deployment_option
@click.argument("id", type=TEXT)
@click.option("--owner", type=TEXT, help="Of a packet: the claim of this person.")
@json_option
def trace(data: Path, id: str, owner: str | None, as_json: bool) -> None:
    """Tell an operation's whole story.

    From Redis, the log and the ledger. ID is a packet's or a top-up's, or that of a request: what an answer's
    X-Request-Id says.
    """
    from ledger.trace.gather import UntraceableError, gather_story
    from ledger.trace.words import format_json, format_story

    try:
        story = run(gather_story(deployment_settings(data), id, owner))
    except UntraceableError as error:
        raise click.ClickException(str(error)) from None
    click.echo(format_json(story) if as_json else format_story(story))


@click.command(cls=Check)
@json_option
@click.option("--case", "cases", type=click.Choice(CASES), multiple=True, default=CASES, help="Only this; repeatable.")
@click.option("--connections", type=NUMBERS, default="16,64,256,1024", help="One run for each.")
@click.option("--seconds", type=finite(0.5, 30), default=5.0, help="How long requests are sent in each run.")
@click.option("--api", type=click.IntRange(1, 64), default=1, help="API workers.")
@click.option("--ledger", type=click.IntRange(1, 16), default=1, help="Ledger workers.")
def bench(as_json: bool, cases: tuple[str, ...], connections: list[int], seconds: float, api: int, ledger: int) -> None:
    """Measure throughput and CPU per settled claim.

    Part by part, on a stack of its own, against bare loops. What each figure means is in docs/bench.md. Exit status: 0
    all went as it should, 1 what was acknowledged and the ledger differ, or requests were not answered or answered
    otherwise than their case wants, 2 it could not be measured.
    """
    from loadtest.bench.cases import CaseError
    from loadtest.bench.load import LoadError
    from loadtest.bench.report import format_json, format_table
    from loadtest.bench.run import Options, run_bench
    from redpacket.stack.error import StackError

    def say(line: str) -> None:
        click.echo(line, err=True)

    try:
        report = run(run_bench(Options(cases, connections, seconds, api, ledger), say))
    except (StackError, CaseError, LoadError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(format_json(report) if as_json else format_table(report))
    if report.faults:
        say("Error: not every request was answered as its case wants it:\n" + "\n".join(report.faults))
        sys.exit(1)
