"""The CPU accounting of the bench sees what processes burn, their own children included."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from loadtest.bench.figures import differs, per_unit_us
from loadtest.cpu import cpu_of_parts, cpu_s, ended_children_s, spent_since
from loadtest.stack import PARTS

BURN_S = 0.3
# Burns that much of its own time each time a line comes, or in a child that it waits for; then answers.
BURNER = """
import os, sys, time
def burn():
    until = time.process_time() + float(sys.argv[1])
    while time.process_time() < until:
        pass
for line in sys.stdin:
    if line == "child\\n":
        if os.fork() == 0:
            burn()
            os._exit(0)
        os.wait()
    else:
        burn()
    print("burnt", flush=True)
"""


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", BURNER, str(BURN_S)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def _burn(burner: subprocess.Popen[str], how: str) -> None:
    assert burner.stdin
    assert burner.stdout
    burner.stdin.write(f"{how}\n")
    burner.stdin.flush()
    assert burner.stdout.readline() == "burnt\n"


@pytest.mark.parametrize("how", ["itself", "child"])
def test_what_a_process_burns_is_seen_also_where_a_child_of_it_has_ended(
    burner: subprocess.Popen[str], how: str
) -> None:
    before = cpu_of_parts({"burner": [burner.pid]})
    _burn(burner, how)
    # A tick less is what reading two clocks may cost.
    assert spent_since(before, cpu_of_parts({"burner": [burner.pid]}))["burner"] > BURN_S - 0.05


def test_a_process_that_waits_costs_nothing_that_another_burns(burner: subprocess.Popen[str]) -> None:
    _burn(burner, "itself")
    argv = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as idle:
        before = cpu_s(idle.pid)
        _burn(burner, "itself")
        assert cpu_s(idle.pid) - before < BURN_S
        idle.communicate("")


def test_an_ended_generator_has_cost_what_it_burnt() -> None:
    before = ended_children_s()
    burn = f"import time\nwhile time.process_time() < {BURN_S}: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert ended_children_s() - before > BURN_S - 0.05


def test_cpu_is_told_by_part_and_in_sum() -> None:
    us = per_unit_us({"api": 0.5, "postgres": 0.25}, 1_000)
    assert us == dict.fromkeys(PARTS, 0.0) | {"api": 500.0, "postgres": 250.0, "sum": 750.0}


@pytest.mark.parametrize(
    ("acknowledged", "settled", "unknown", "wrong"),
    [
        (10, 10, 0, False),
        (10, 9, 0, True),  # one is lost
        (10, 9, 5, True),  # an unknown outcome is no excuse for it
        (10, 11, 0, True),  # one was never asked for
        (10, 12, 2, False),  # two were not told of theirs
        (10, 13, 2, True),
    ],
)
def test_a_claim_lost_or_never_asked_for_is_seen(acknowledged: int, settled: int, unknown: int, wrong: bool) -> None:
    assert differs(acknowledged, settled, unknown) is wrong
