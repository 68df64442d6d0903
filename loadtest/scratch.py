"""A folder for what is thrown away at the end, also by the next one where the process that made it was killed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redpacket.stack.error import StackError
from redpacket.stack.lock import held_lock, lock_holder

_NAME = "redpacket-{}-"
_DATA = "data"


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """A new, empty folder, removed at the end. First removes what killed processes of this user left behind."""
    for left in Path(tempfile.gettempdir()).glob(f"{_NAME.format(what)}*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    # The lock is beside what is in the folder: a stack locks its own.
    with tempfile.TemporaryDirectory(prefix=_NAME.format(what)) as made, held_lock(Path(made)):
        folder = Path(made) / _DATA
        folder.mkdir()
        yield folder


def _is_left(folder: Path) -> bool:
    """Whether it is one of these, down to its names, and nobody holds it or runs a stack in it."""
    try:
        return (
            folder.lstat().st_uid == os.getuid()
            and {it.name for it in folder.iterdir()} == {"lock", _DATA}
            # What its process had started may still be ending, and writes there.
            and all(lock_holder(it) is None for it in (folder, folder / _DATA, folder / _DATA / "stack"))
        )
    except (OSError, StackError):
        return False
