"""One child's output in one file of bounded size."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

BYTES_MAX = 16 * 1024 * 1024
TAIL_BYTES = 8 * 1024
TAIL_LINES = 20


class Log:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._run_start = 0

    def open(self) -> BinaryIO:
        """The file for the output of another run. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.trim()
        file = open(self.path, "ab", opener=_open_private)  # noqa: SIM115 its taker closes it
        self._run_start = file.tell()
        return file

    def trim(self) -> None:
        """Move a log that is too long aside, also while the child writes: it appends, so it goes on at the new end."""
        if self.path.exists() and not self.path.is_symlink() and self.path.stat().st_size > BYTES_MAX:
            shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
            os.truncate(self.path, 0)
            self._run_start = 0

    def tail(self) -> str:
        """The last lines that this run has written."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._run_start, end - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-TAIL_LINES:])


def _open_private(path: str, flags: int) -> int:
    """Of this user alone; and not through a link, which may lead to somebody's file."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
