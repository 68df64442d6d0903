"""One stack at a time on one data folder: a lock that the kernel takes back when its holder dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from redpacket.stack.error import StackError

# lock_holder takes the lock for an instant to see whether it is free, so one refusal may be a mere look.
TRIES = 5
PAUSE_S = 0.05


@contextmanager
def held_lock(data: Path) -> Iterator[None]:
    """Hold `data` for this process. Raises StackError, with the holder's pid, when it is held already.

    The file stays behind unlocked: were it removed, two processes could each hold a file of that name.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data / "lock").open("a+") as file:
        for _ in range(TRIES):
            if _try_lock(file, fcntl.LOCK_EX):
                break
            time.sleep(PAUSE_S)
        else:
            file.seek(0)
            raise StackError(f"a stack is already running on {data} (process {file.read().strip() or 'not known yet'})")
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def lock_holder(data: Path) -> int | None:
    """The pid of the process that holds `data`, None when nobody does."""
    try:
        file = (data / "lock").open()
    except FileNotFoundError:
        return None
    with file:
        text = file.read().strip()
        return None if _try_lock(file, fcntl.LOCK_SH) or not text else int(text)


def _try_lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
