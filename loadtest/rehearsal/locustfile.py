"""What locust runs: the people of one rehearsal, by the plan in the file whose descriptor the environment
variable REHEARSAL_PLAN names."""

import os
import time
from pathlib import Path
from signal import SIGKILL
from typing import Any

import gevent
from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.record.recorder import Recorder
from loadtest.rehearsal.phone import Phone, Stage
from loadtest.rehearsal.plan import BEGAN, BROKEN, STRAINED, read_began, read_plan
from loadtest.rehearsal.scenarios import SCENARIOS, people_at

PLAN = read_plan(int(os.environ["REHEARSAL_PLAN"]))
SCENARIO = SCENARIOS[PLAN.scenario]
# Of the people that are still missing, so many come within a second.
_COME_PER_S = 0.5
_LOOK_S = 0.5
# Locust imports this in its first process, of which the others are copies.
_FIRST, _PARENT = os.getpid(), os.getppid()


class Person(Phone):
    abstract = False
    begun = False


class Shape(LoadTestShape):
    abstract = False

    def tick(self) -> tuple[int, float] | None:
        at_s = self.get_run_time()  # type: ignore[no-untyped-call]
        runner = self.runner
        if isinstance(runner, MasterRunner) and runner.worker_count < PLAN.processes:
            # Locust would go on with the others; the people of this one, and what they had begun, are gone.
            (Path(PLAN.folder) / BROKEN).write_text(f"a process of the generator is lost after {at_s:.0f} s")
            return None
        if at_s > PLAN.seconds:
            return None
        return people_at(SCENARIO, PLAN.people, at_s, PLAN.seconds), max(1.0, PLAN.people * _COME_PER_S)


def _begin(environment: Environment, **_: Any) -> None:
    folder, runner = Path(PLAN.folder), environment.runner
    if Person.begun:  # again, on locust's page: a second record would be written over the first
        (folder / BROKEN).write_text("it was begun twice")
        return
    Person.begun = True
    if not isinstance(runner, WorkerRunner):
        (folder / BEGAN).write_text(str(time.time()))
    if not isinstance(runner, MasterRunner):
        worker = runner.worker_index if isinstance(runner, WorkerRunner) else 0
        recorder = Recorder(folder / f"requests-{worker}.jsonl")
        persons = PLAN.persons[worker :: PLAN.processes]
        Person.stage = Stage(PLAN, SCENARIO, persons, recorder, f"{PLAN.seed}-{worker}")


def _end(environment: Environment, **_: Any) -> None:
    folder = Path(PLAN.folder)
    if isinstance(environment.runner, WorkerRunner):
        return
    began_s = read_began(folder / BEGAN)
    if began_s is not None and time.time() - began_s < PLAN.seconds:
        (folder / BROKEN).write_text("it was stopped before its time")


def _note_strain(**_: Any) -> None:
    """Locust's own watch: a process above 90 % of a core."""
    (Path(PLAN.folder) / STRAINED).touch()


def _note_error(exception: Exception, **_: Any) -> None:
    """A bug of ours: locust goes on, and that person has given up what he had begun."""
    (Path(PLAN.folder) / BROKEN).write_text(f"a phone failed: {exception!r}")


def _end_with_parent(**_: Any) -> None:
    """The kernel ends the first process with the rehearsal; but one that lost its master would go on for a minute."""
    gevent.spawn(_watch_parent, _PARENT if os.getpid() == _FIRST else _FIRST)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        gevent.sleep(_LOOK_S)
    os.killpg(0, SIGKILL)


events.init.add_listener(_end_with_parent)
events.test_start.add_listener(_begin)
events.user_error.add_listener(_note_error)
events.test_stop.add_listener(_end)
events.cpu_warning.add_listener(_note_strain)
