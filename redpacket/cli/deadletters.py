"""The commands by which a person decides about what the ledger has set aside."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redpacket.cli.run import Check, deployment_option, deployment_settings, json_option, run

if TYPE_CHECKING:
    from ledger.deadletters.letter import LetterName


@click.group()
def deadletters() -> None:
    """Decide about what the ledger has set aside.

    Because it contradicts it, or cannot be settled.

    LETTER is SHARD-OFFSET-ITEM, or SHARD-OFFSET for a whole record, as `list` prints it.
    """


@deadletters.command("list")
@deployment_option
@click.option("--all", "decided", is_flag=True, help="Also those that are decided.")
@json_option
def list_deadletters(data: Path, decided: bool, as_json: bool) -> None:
    """List what waits for a decision, and what is frozen until then."""
    from ledger.deadletters.read import list_letters
    from ledger.deadletters.words import format_json, format_table

    letters = run(list_letters(deployment_settings(data), decided=decided))
    if as_json:
        click.echo(format_json(letters))
    else:
        click.echo(format_table(letters) if letters else "Nothing is set aside.")


@deadletters.command()
@deployment_option
@click.argument("letter")
def show(data: Path, letter: str) -> None:
    """Print all that is known of LETTER."""
    from ledger.deadletters.read import find_letter
    from ledger.deadletters.words import format_letter

    name = _letter_name(letter)
    click.echo(format_letter(run(find_letter(deployment_settings(data), name))))


@deadletters.command(cls=Check)
@deployment_option
@click.argument("letter")
def replay(data: Path, letter: str) -> None:
    """Settle LETTER once more.

    Exit status: 0 it is settled, 1 it contradicts the ledger again, 2 it could not be tried.
    """
    from ledger.deadletters.decide import replay_letter
    from ledger.deadletters.words import describe_replayed

    name = _letter_name(letter)
    replayed = run(replay_letter(deployment_settings(data), name))
    click.echo(describe_replayed(name, replayed))
    sys.exit(replayed.again is not None)


@deadletters.command()
@deployment_option
@click.argument("letter")
def reject(data: Path, letter: str) -> None:
    """Drop LETTER: what it froze goes on from what the ledger says."""
    from ledger.deadletters.decide import reject_letter
    from ledger.deadletters.words import describe_rejected

    name = _letter_name(letter)
    click.echo(describe_rejected(run(reject_letter(deployment_settings(data), name))))


def _letter_name(letter: str) -> "LetterName":
    from ledger.deadletters.letter import LetterError, parse_name

    try:
        return parse_name(letter)
    except LetterError as error:
        raise click.BadParameter(str(error), param_hint="LETTER") from None
