"""The command line. It alone knows all the others, and imports of them only what the command at hand needs."""

import click

from redpacket.cli import days, deadletters, proof, redis, rehearsal, stack, workers
from redpacket.cli.commands import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="redpacket")
def main() -> None:
    """A red-packet and payment event processor in which a 201 is final.

    Exit status of each command: 0 it is done and all holds, 1 it failed or something does not hold, 2 wrong arguments,
    interrupted, or a check that could not be made.
    """


for command in (
    *(stack.up, stack.ps, stack.roll, stack.token, stack.demo),
    *(proof.audit, proof.verify, proof.trace, proof.bench),
    rehearsal.rehearse,
    deadletters.deadletters,
    days.days,
    redis.redis,
    *(workers.migrate, workers.api, workers.ledger),
):
    main.add_command(command)
