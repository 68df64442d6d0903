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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.trim()
        file = self.path.open("ab")
        self._run_start = file.tell()
        return file

    def trim(self) -> None:
        """Move a log that is too long aside, also while the child writes: it appends, so it goes on at the new end."""
        if self.path.exists() and self.path.stat().st_size > BYTES_MAX:
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
