"""A folder for what is thrown away at the end, also by the next one where the process that made it was killed."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redpacket.stack.error import StackError
from redpacket.stack.lock import held_lock, lock_holder

_NAME = "redpacket-{}-"
# Somebody may have made his folder and not yet locked it.
_YOUNG_S = 60.0


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """A new, empty folder, removed at the end; before it those of this user that nobody holds any more."""
    for left in Path(tempfile.gettempdir()).glob(f"{_NAME.format(what)}*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    # The lock is beside what is in the folder: a stack locks its own.
    with tempfile.TemporaryDirectory(prefix=_NAME.format(what)) as made, held_lock(Path(made)):
        folder = Path(made) / "data"
        folder.mkdir()
        yield folder


def _is_left(folder: Path) -> bool:
    try:
        seen = folder.lstat()
        old = time.time() - seen.st_mtime > _YOUNG_S or (folder / "lock").exists()
        # What it started may still be ending, and writes there.
        return (
            old
            and seen.st_uid == os.getuid()
            and lock_holder(folder) is None
            and lock_holder(folder / "data") is None
            and lock_holder(folder / "data" / "stack") is None
        )
    except (OSError, StackError):
        return False
