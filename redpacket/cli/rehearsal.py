"""`redpacket rehearse`: a night's load on a service, and what became of all that people asked for."""

import sys
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redpacket.cli.parameters import DEFAULT, FOLDER, URL, finite
from redpacket.cli.run import Check, deployment_settings, run

if TYPE_CHECKING:
    from loadtest.rehearsal.figures import Figures
    from loadtest.rehearsal.run import Options

# As loadtest/rehearsal/scenarios.py has them, which is not imported for the sake of --help.
SCENARIOS = ("steady", "new-years-eve", "red-packet-rain", "hot-packet")


@click.command(cls=Check)
@click.argument("name", type=click.Choice(SCENARIOS))
@click.option(
    "--users", "people", type=click.IntRange(1, 100_000), help="People at the peak.  [default: the scenario's]"
)
@click.option("--minutes", type=finite(0.2, 720), help="How long people come and go.  [default: the scenario's]")
@click.option(
    "--host",
    type=URL,
    help="The service, instead of a stack of its own; the REDPACKET_ settings, or"
    " --data's stack, say where its servers are: they are asked for the audit.",
)
@click.option(
    "--data",
    type=FOLDER,
    help="Where a stack runs in this folder, that one is rehearsed on; else the stack of"
    " its own keeps its data there.  [default: a temporary folder]",
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, help="Of the generator; locust shares the people out."
)
@click.option("--api", type=click.IntRange(1, 64), default=2, help="API workers of its own stack.")
@click.option("--ledger", type=click.IntRange(1, 16), default=2, help="Ledger workers of its own stack.")
@click.option(
    "--kill",
    multiple=True,
    metavar="PROCESS",
    help="SIGKILL this one at the peak (api-0, ledger-0, redis, kafka,"
    " postgres); repeatable, one a second. Not with --host.",
)
@click.option("--web", is_flag=True, help="Locust's own page, while it runs, on 127.0.0.1.")
@click.option("--web-port", type=click.IntRange(1, 65_535), default=8089, help="Where that page is.")
@click.option("--out", type=FOLDER, help="A new folder for the record and the report.  [default: reports/NAME-TIME]")
def rehearse(
    name: str,
    people: int | None,
    minutes: float | None,
    host: str | None,
    data: Path | None,
    processes: int,
    api: int,
    ledger: int,
    kill: tuple[str, ...],
    web: bool,
    web_port: int,
    out: Path | None,
) -> None:
    """Rehearse a night with locust, and audit it.

    People send packets and open them, as many and when as the scenario says; each request and its outcome is written
    down, each unknown one is asked again until it is known, and all of it is held against the ledger. Writes one HTML
    page. Exit status: 0 nothing was lost or doubled and the objectives are met, 1 something was lost, doubled or
    untrue, 2 it could not be brought to its end, 3 only an objective is missed. docs/rehearsals.md tells more.
    """
    if find_spec("locust") is None:
        raise click.UsageError("rehearsals need locust: install redpacket with its extra `loadtest`")

    from loadtest.rehearsal.run import Options
    from loadtest.rehearsal.scenarios import SCENARIOS as BY_NAME
    from redpacket.stack.ports import why_not_free

    scenario = BY_NAME[name]
    if kill and host is not None:
        raise click.UsageError("--kill is for a stack of this machine, --host for one that may be elsewhere")
    if web and (why := why_not_free(web_port)):
        raise click.BadParameter(f"port {web_port} of 127.0.0.1 is not available: {why}", param_hint="--web-port")
    folder = out or Path("reports") / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise click.BadParameter(f"a new folder is wanted: {error}", param_hint="--out") from None
    options = Options(
        name,
        people or scenario.people,
        60 * (minutes or scenario.minutes),
        processes,
        kill,
        web_port if web else None,
        folder.absolute(),
    )
    try:
        figures = run(_rehearse(options, host, data, api, ledger))
    finally:
        with suppress(OSError):  # it stays where there is anything in it
            folder.rmdir()
    click.echo(_verdict(figures, folder))
    sys.exit(figures.exit_status)


async def _rehearse(options: "Options", host: str | None, data: Path | None, api: int, ledger: int) -> "Figures":
    from loadtest.rehearsal.error import RehearsalError

    try:
        return await _rehearse_on(options, host, data, api, ledger)
    except RehearsalError as error:
        raise click.ClickException(str(error)) from None


async def _rehearse_on(options: "Options", host: str | None, data: Path | None, api: int, ledger: int) -> "Figures":
    from loadtest.rehearsal.killing import check_names
    from loadtest.rehearsal.run import rehearse
    from loadtest.scratch import scratch_folder
    from loadtest.stack import running_stack, stack_on
    from redpacket.limits import worker_files
    from redpacket.ops.open_files import ensure_open_files
    from redpacket.stack.error import NotRunningError
    from redpacket.stack.local import STOP_ORDER
    from redpacket.stack.workers import Workers

    each = -(-options.people // options.processes)
    ensure_open_files(worker_files(each), f"a process with {each} people (--users by --processes)")
    if host is not None:
        return await rehearse(options, host.rstrip("/"), deployment_settings(data or DEFAULT), None, _say)
    if data is not None:
        try:
            running = stack_on(data)
        except NotRunningError:
            pass
        else:
            return await rehearse(options, running.url, running.settings, running, _say)
    check_names([*Workers(api, ledger).names, *STOP_ORDER], options.kill)
    with scratch_folder("rehearsal") as folder:
        async with running_stack(data or folder, api, ledger, _say) as stack:
            return await rehearse(options, stack.url, stack.settings, stack, _say)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _verdict(figures: "Figures", folder: Path) -> str:
    lines = [f"{name}: {count:,}" for name, count in figures.counts.items()]
    lines += [
        f"{it.what}: p50 {it.p50_ms:.0f} ms, p99 {it.p99_ms:.0f} ms, max {it.max_ms:.0f} ms" for it in figures.latencies
    ]
    if figures.cpu:
        lines.append("CPU us for each settled: " + ", ".join(f"{it.part} {it.us_per_claim:.0f}" for it in figures.cpu))
    lines += [f"{'met' if it.met else 'MISSED'}: {it.name}: {it.measured} ({it.wanted})" for it in figures.objectives]
    lines += [f"VIOLATION {it}" for it in figures.violations]
    lines.append(figures.audit)
    lines.append(f"report: {folder / 'report.html'}")
    return "\n".join(lines)
