"""`redpacket rehearse`: lets people come and go at a service, and finds out what became of all that they asked for."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from loadtest.record.phones import Phones
from loadtest.record.recorder import Recorder
from loadtest.rehearsal.afterwards import settle_accounts, wait_drained
from loadtest.rehearsal.figures import Figures, Mark
from loadtest.rehearsal.judge import Played, figures_of
from loadtest.rehearsal.killing import check_names, kill_at
from loadtest.rehearsal.meter import CpuMeter
from loadtest.rehearsal.page.render import render_page
from loadtest.rehearsal.plan import Plan
from loadtest.rehearsal.prepare import make_cast, make_plan
from loadtest.rehearsal.progress import telling_progress
from loadtest.rehearsal.scenarios import SCENARIOS, moment_s
from loadtest.rehearsal.swarm import Swarm, running_swarm
from loadtest.rehearsal.watch import watching
from loadtest.stack import Stack
from redpacket.settings import Settings

# After which there has been one more look.
_LAST_LOOK_S = 1.5


class Options(Struct, frozen=True):
    """`people`: at the peak; `processes`: of the generator; `kill`: who is killed at the peak, one a second;
    `web_port`: where locust shows its own page; `folder`: for the record and the report, empty."""

    name: str
    people: int
    seconds: float
    processes: int
    kill: Sequence[str]
    web_port: int | None
    folder: Path


async def rehearse(
    options: Options, url: str, settings: Settings, stack: Stack | None, say: Callable[[str], None]
) -> Figures:
    """`stack`: where the service at `url` is one of this machine.

    Raises RehearsalError, StackError, AuditError, and what its parts raise where one is away.
    """
    scenario = SCENARIOS[options.name]
    if stack is not None:
        check_names([it.name for it in stack.state.children], options.kill)
    cast = make_cast(settings, scenario, options.people, options.seconds, options.processes)
    tokens = cast.tokens()
    with Recorder(options.folder / "requests-asked.jsonl") as recorder:
        async with Phones(url, tokens.__getitem__, recorder) as phones:
            plan = await make_plan(
                phones, cast, options.name, options.people, options.seconds, options.processes, options.folder, say
            )
            meter = CpuMeter(stack)
            async with watching(settings, [it.owner for it in cast.senders], meter) as looks:
                meter.begin()
                async with running_swarm(plan, url, options.web_port) as swarm:
                    meter.add("people", swarm.pid)
                    async with telling_progress(plan, swarm.began_s, looks, say):
                        marks = await _play(plan, swarm, stack, options.kill)
                gone_s = time.time()
                await wait_drained(settings)
                await asyncio.sleep(_LAST_LOOK_S)
                spent_s = meter.spent_s()
            aftermath = await settle_accounts(settings, phones, cast, options.folder, say)
    played = Played(plan, url, swarm.began_s, gone_s, marks, looks, spent_s, swarm.was_strained())
    figures = figures_of(played, aftermath, stack)
    (options.folder / "report.json").write_bytes(msgspec.json.encode(figures))
    (options.folder / "report.html").write_text(render_page(figures), encoding="utf-8")
    return figures


async def _play(plan: Plan, swarm: Swarm, stack: Stack | None, kill: Sequence[str]) -> list[Mark]:
    scenario = SCENARIOS[plan.scenario]
    peak_s = moment_s(scenario.peak, plan.seconds)
    marks = [Mark(peak_s, scenario.peak_name)]
    if stack is None:
        await swarm.finished()
        return marks
    killing = asyncio.create_task(kill_at(stack, kill, swarm.began_s + peak_s, swarm.began_s))
    try:
        await swarm.finished()
    except BaseException:
        killing.cancel()
        raise
    return marks + await killing
