"""The command line. It alone knows all the others, and imports of them only what the command at hand needs."""

import asyncio
import shlex
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import click
import msgspec

from redpacket.money import Owner
from redpacket.settings import PREFIX, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from ledger.deadletters.letter import LetterName

P = ParamSpec("P")
T = TypeVar("T")

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="The folder of the local stack. Most commands, where none runs there, take the REDPACKET_ settings.",
)


# As loadtest/bench/cases.py has them, which is not imported for the sake of --help.
CASES = ("spread", "hot", "sold_out", "sends")


def _numbers(text: str) -> list[int]:
    """Whole numbers above 0 with commas between them. Raises ValueError."""
    numbers = [int(number) for number in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="redpacket")
def main() -> None:
    """A red-packet and payment event processor in which a 201 is final."""


@main.command()
@data_option
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8000, help="Where the API is served; 0 takes a free one."
)
@click.option("--api", type=click.IntRange(1, 64), default=2, help="API workers.")
@click.option("--ledger", type=click.IntRange(1, 16), default=2, help="Ledger workers.")
@click.option(
    "--redis-server", metavar="PROGRAM", help="Use this Redis >= 7 from PATH instead of the Valkey that comes along."
)
def up(data: Path, port: int, api: int, ledger: int, redis_server: str | None) -> None:
    """Run the whole system on this machine, in the foreground, until Ctrl-C."""
    from redpacket.stack.error import StackError
    from redpacket.stack.state import read_stack
    from redpacket.stack.up import run_up

    def say_what_to_try() -> None:
        click.echo(
            _WHAT_TO_TRY.format(
                url=read_stack(data).url, data=f" --data {shlex.quote(str(data))}" if data != Path("data") else ""
            )
        )

    try:
        asyncio.run(run_up(data, port, api, ledger, click.echo, say_what_to_try, redis_binary=redis_server))
    except (StackError, SettingsError, OSError) as error:
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


@main.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def ps(data: Path, as_json: bool) -> None:
    """List the processes of the running stack."""
    from redpacket.stack.ps import format_json, format_table
    from redpacket.stack.state import read_stack

    state = _or_exit(read_stack, data)
    click.echo(format_json(state) if as_json else format_table(state))


@main.command()
@data_option
@click.argument("kind", type=click.Choice(["api", "ledger"]))
def roll(data: Path, kind: Literal["api", "ledger"]) -> None:
    """Restart the API or the ledger workers of the running stack one by one; clients notice nothing.

    Each gets SIGTERM, lets its clients go or ends its transaction, and is started again by the stack, from the code
    that is there now and with the settings that the stack was started with. The next one's turn comes when it is ready
    again. To interrupt this is safe: what has been stopped is started all the same.
    """
    from redpacket.stack.roll import roll_workers

    _or_exit(roll_workers, data, kind, click.echo)


@main.command()
@data_option
@click.argument("owner")
@click.option("--scope", type=click.Choice(["operator"]), help="What else the token may do.")
def token(data: Path, owner: str, scope: str | None) -> None:
    """Print a token for OWNER, for the running stack."""
    from redpacket.stack.tokens import issue_token

    try:
        msgspec.convert(owner, Owner)
    except msgspec.ValidationError:
        raise click.BadParameter("an owner is 1-64 of A-Z a-z 0-9 . _ : -") from None
    click.echo(_or_exit(issue_token, _stack_settings(data), owner, scope or ""))


@main.command()
@data_option
@click.option("--shares", type=click.IntRange(1, 10_000), default=100, help="Shares of the packet.")
@click.option("--people", type=click.IntRange(1, 10_000), default=200, help="People who claim, each twice at once.")
def demo(data: Path, shares: int, people: int) -> None:
    """Send a packet on the running stack, let many people claim it at once, and check every fen."""
    import httpx

    from redpacket.demo import DemoError, run_demo
    from redpacket.stack.state import read_stack

    url = _or_exit(read_stack, data).url
    try:
        sys.exit(_run(run_demo(_stack_settings(data), url, shares, people, click.echo)))
    except (DemoError, httpx.HTTPError) as error:
        raise click.ClickException(f"the demo did not come to its end: {error}") from None


class _UncheckedError(click.ClickException):
    """Another status than that of a violation."""

    exit_code = 2


@main.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option(
    "--since",
    default="mark",
    metavar="mark|start|TIME",
    help="How far back the log is read: to where the last audit in which all held has ended, to its start, or to a time"
    " (ISO 8601, UTC unless it says so).",
)
def audit(data: Path, as_json: bool, since: str) -> None:
    """Check every invariant on the running system, from Postgres, Redis and the log, without stopping it.

    Exit status: 0 all hold, 1 something is violated, 2 it could not be checked. docs/audit.md says what is compared.
    """
    from ledger.audit.report import format_json, format_table
    from ledger.audit.run import audit as run_audit
    from ledger.audit.run import parse_since

    try:
        wanted = parse_since(since)
    except ValueError:
        raise click.BadParameter(f"{since!r} is neither mark, start nor a time", param_hint="--since") from None

    def tell(what: str) -> None:
        click.echo(what, err=True)

    try:
        findings = _run(run_audit(_stack_settings(data), wanted, tell))
    except click.ClickException as error:
        raise _UncheckedError(error.message) from None
    click.echo(format_json(findings) if as_json else format_table(findings))
    sys.exit(findings.exit_status)


@main.command()
@data_option
@click.argument("id")
@click.option("--owner", help="Of a packet: the claim of this person.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def trace(data: Path, id: str, owner: str | None, as_json: bool) -> None:
    """Tell an operation's whole story, from Redis, the log and the ledger.

    ID is a packet's or a top-up's, or that of a request: what an answer's X-Request-Id says.
    """
    from ledger.trace.gather import UntraceableError, gather_story
    from ledger.trace.words import format_json, format_story

    try:
        story = _run(gather_story(_stack_settings(data), id, owner))
    except UntraceableError as error:
        raise click.ClickException(str(error)) from None
    click.echo(format_json(story) if as_json else format_story(story))


@main.command()
@data_option
@click.argument("packet")
def verify(data: Path, packet: str) -> None:
    """Recompute the shares of a final PACKET from its published seed; exit status 0 only if they match.

    All that it needs is what everyone sees: the packet, and the list of its claims. docs/split.md says what it proves.
    """
    from redpacket.stack.state import read_stack
    from redpacket.verify import UnverifiableError, verify_packet

    url = _or_exit(read_stack, data).url
    try:
        sys.exit(_run(verify_packet(_stack_settings(data), url, packet, click.echo)))
    except UnverifiableError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--case", "cases", type=click.Choice(CASES), multiple=True, default=CASES, help="Only this; repeatable.")
@click.option(
    "--connections",
    type=_numbers,
    default="16,64,256,1024",
    metavar="N,N,...",
    help="One run for each.",
)
@click.option("--seconds", type=click.FloatRange(0.5, 30), default=5.0, help="How long requests are sent in each run.")
@click.option("--api", type=click.IntRange(1, 64), default=1, help="API workers.")
@click.option("--ledger", type=click.IntRange(1, 16), default=1, help="Ledger workers.")
def bench(as_json: bool, cases: tuple[str, ...], connections: list[int], seconds: float, api: int, ledger: int) -> None:
    """Measure throughput and CPU per settled claim, part by part, on a stack of its own, against bare loops.

    What each figure means is in docs/bench.md. Exit status 1 where what was acknowledged and the ledger differ.
    """
    from loadtest.bench.cases import CaseError
    from loadtest.bench.load import LoadError
    from loadtest.bench.report import format_json, format_table
    from loadtest.bench.run import Options, run_bench
    from redpacket.stack.error import StackError

    def say(line: str) -> None:
        click.echo(line, err=True)

    try:
        report = _run(run_bench(Options(cases, connections, seconds, api, ledger), say))
    except (StackError, CaseError, LoadError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(format_json(report) if as_json else format_table(report))
    sys.exit(not report.holds)


@main.command()
def migrate() -> None:
    """Install or upgrade the schema and the topic of the deployment that the REDPACKET_ settings name."""
    from ledger.install import install

    deployment = _run(install(_settings(), click.echo))
    click.echo(f"installed: {deployment.shards} shards, {deployment.currency}, topic {deployment.topic}")


@main.group()
def deadletters() -> None:
    """What the ledger has set aside because it contradicts it or cannot be settled: to be decided by a person.

    LETTER is SHARD-OFFSET-ITEM, or SHARD-OFFSET for a whole record, as `list` prints it.
    """


@deadletters.command("list")
@data_option
@click.option("--all", "decided", is_flag=True, help="Also those that are decided.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_deadletters(data: Path, decided: bool, as_json: bool) -> None:
    """List what waits for a decision, and what is frozen until then."""
    from ledger.deadletters.read import list_letters
    from ledger.deadletters.words import format_json, format_table

    letters = _run(list_letters(_stack_settings(data), decided=decided))
    if as_json:
        click.echo(format_json(letters))
    else:
        click.echo(format_table(letters) if letters else "Nothing is set aside.")


@deadletters.command()
@data_option
@click.argument("letter")
def show(data: Path, letter: str) -> None:
    """Print all that is known of LETTER."""
    from ledger.deadletters.read import find_letter
    from ledger.deadletters.words import format_letter

    click.echo(format_letter(_run(find_letter(_stack_settings(data), _letter_name(letter)))))


@deadletters.command()
@data_option
@click.argument("letter")
def replay(data: Path, letter: str) -> None:
    """Settle LETTER once more; exit status 1 where it contradicts the ledger again."""
    from ledger.deadletters.decide import replay_letter
    from ledger.deadletters.words import describe_replayed

    name = _letter_name(letter)
    replayed = _run(replay_letter(_stack_settings(data), name))
    click.echo(describe_replayed(name, replayed))
    sys.exit(replayed.again is not None)


@deadletters.command()
@data_option
@click.argument("letter")
def reject(data: Path, letter: str) -> None:
    """Drop LETTER: what it froze goes on from what the ledger says."""
    from ledger.deadletters.decide import reject_letter
    from ledger.deadletters.words import describe_rejected

    click.echo(describe_rejected(_run(reject_letter(_stack_settings(data), _letter_name(letter)))))


def _letter_name(letter: str) -> "LetterName":
    from ledger.deadletters.letter import LetterError, parse_name

    try:
        return parse_name(letter)
    except LetterError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option("--fd", type=int, help="A listening socket passed on by the parent, shared by all API workers.")
@click.option("--host", default="127.0.0.1", help="Where to listen without --fd.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, help="Where to listen without --fd.")
def api(fd: int | None, host: str, port: int) -> None:
    """Run one API worker."""
    from service.worker import run_api

    _serve(lambda settings: run_api(settings, fd, host, port))


@main.command()
def ledger() -> None:
    """Run one ledger worker."""
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
    from redpacket.ops.logs import log_to_stderr

    log_to_stderr()
    _run(worker(_settings()))


def _settings() -> Settings:
    import os

    return _or_exit(read_settings, os.environ)


def _stack_settings(data: Path) -> Settings:
    """Of the local stack on `data`; where none runs there, of the deployment that the environment names."""
    import os

    from redpacket.stack.error import StackError
    from redpacket.stack.state import read_stack

    if f"{PREFIX}POSTGRES_URL" in os.environ:
        try:
            read_stack(data)
        except StackError:
            return _settings()
    return _or_exit(read_settings, _or_exit(read_stack, data).environ)


def _or_exit(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` gives; a sentence and exit status 1 where it cannot."""
    from redpacket.stack.error import StackError

    try:
        return call(*args, **kwargs)
    except (SettingsError, StackError) as error:
        raise click.ClickException(str(error)) from None


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end; a sentence and exit status 1 where a part is away or this deployment is another."""
    import uvloop
    from aiokafka.errors import KafkaError

    from ledger.audit.findings import AuditError
    from ledger.deadletters.letter import LetterError
    from ledger.migrate import MigrationError
    from redpacket.books.database import POSTGRES_FAILURES, BooksUnavailableError
    from redpacket.books.deployment import DeploymentError
    from redpacket.log.producer import LogUnavailableError

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
        KafkaError,
        *POSTGRES_FAILURES,
    ) as error:
        raise click.ClickException(f"{error}" or repr(error)) from None


if __name__ == "__main__":
    main()
