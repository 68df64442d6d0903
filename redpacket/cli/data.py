"""How a command is told of a data folder."""

from pathlib import Path
from typing import Any

import click

from redpacket.stack.error import StackError
from redpacket.stack.folder import resolve_folder

DEFAULT = Path("data")


class DataFolder(click.Path):
    """In the one spelling that all compare."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        if value == "":
            self.fail("it is empty: is a variable not set? Name a folder.", parameter, context)
        try:
            return Path(str(super().convert(resolve_folder(Path(value)), parameter, context)))
        except StackError as error:
            self.fail(str(error), parameter, context)
