"""`redpacket bench`: brings up a stack of its own, measures case after case, and stops it."""

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import aclosing
from importlib.metadata import version

from msgspec import Struct

from loadtest.bench.cases import CASES, Sender
from loadtest.bench.figures import Report
from loadtest.bench.floors.records import make_topic
from loadtest.bench.load import generator_name
from loadtest.bench.measure import Bench
from loadtest.bench.people import make_people
from loadtest.ledger import open_ledger
from loadtest.scratch import scratch_folder
from loadtest.stack import running_stack
from redpacket.limits import worker_files
from redpacket.ops.open_files import ensure_open_files


class Options(Struct, frozen=True):
    """`seconds`: for how long requests are sent, in each run; `api` and `ledger`: how many workers."""

    cases: Sequence[str]
    connections: Sequence[int]
    seconds: float
    api: int
    ledger: int


async def run_bench(options: Options, say: Callable[[str], None]) -> Report:
    """Raises TooFewFilesError, StackError, CaseError, LoadError, and what its parts raise where one of them is away."""
    # All clients may come to one worker.
    most = max(options.connections)
    ensure_open_files(worker_files(most), f"a worker with {most} connections (--connections)")
    with scratch_folder("bench") as data:
        async with (
            running_stack(data / "stack", options.api, options.ledger, say) as stack,
            open_ledger(stack.settings) as ledger,
            aclosing(Sender(stack.url)) as sender,
        ):
            bench = Bench(stack, ledger, sender, make_people(stack.settings), data / "requests", say)
            await make_topic(stack)
            await bench.warm()
            idle = await bench.idle()
            runs = [
                await bench.run(CASES[name], connections, options.seconds)
                for name in options.cases
                for connections in options.connections
            ]
    return Report(version("redpacket"), _machine(), generator_name(), options.api, options.ledger, idle, runs)


def _machine() -> dict[str, str]:
    return {
        "processors": str(os.cpu_count()),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
