"""One stack at a time on one data folder: a lock that the kernel takes back when its holder dies."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

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
    with _opened(data / "lock", "a+") as file:
        for _ in range(TRIES):
            if _try_lock(file, fcntl.LOCK_EX):
                break
            time.sleep(PAUSE_S)
        else:
            file.seek(0)
            raise StackError(f"a stack is already running on {data} (process {_pid_in(file) or 'not known'})")
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def lock_holder(data: Path) -> int | None:
    """The pid of the process that holds `data`, None when nobody does. Raises StackError where that cannot be told."""
    try:
        file = _opened(data / "lock", "r")
    except FileNotFoundError:
        return None
    with file:
        pid = _pid_in(file)
        if _try_lock(file, fcntl.LOCK_SH) or pid == 0:
            return None
    if pid is None:
        raise StackError(f"a stack is running on {data}, but {data / 'lock'} is damaged: it does not name its process")
    return pid


def _opened(path: Path, mode: str) -> TextIO:
    """Raises FileNotFoundError, and StackError where it is there and cannot be opened."""
    try:
        file = open(path, mode, errors="replace", opener=_open_at_once)  # noqa: SIM115 (its caller closes it)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StackError(f"{path} cannot be opened as the lock of a stack: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise StackError(f"{path} cannot be opened as the lock of a stack: it is no file")
    return cast("TextIO", file)


def _open_at_once(path: str, flags: int) -> int:
    """A pipe of that name would be waited for until somebody writes."""
    return os.open(path, flags | os.O_NONBLOCK, 0o600)


def _pid_in(file: TextIO) -> int | None:
    """0 where there is none yet, None where there is something else."""
    text = file.read(100).strip()
    return int(text) if text.isascii() and text.isdigit() else None if text else 0


def _try_lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
