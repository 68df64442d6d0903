"""Files and folders that are there whole or not at all, whenever the machine or the process is cut off."""

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redpacket.stack.error import StackError


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`: a reader sees the old content or the new one. Raises OSError."""
    with _written(path, content, 0o644) as half:
        half.replace(path)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Make `path`, with `content`, if there is none: what is there is never replaced. Raises OSError."""
    with _written(path, content, mode) as half, suppress(FileExistsError):
        path.hardlink_to(half)


@contextmanager
def _written(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    half = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield half
    finally:
        half.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names made in `folder`, or moved into it, outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def make_folder(folder: Path, mark: str, make: Callable[[Path], Awaitable[None]]) -> None:
    """Let `make` fill a folder of another name, which becomes `folder` once it is whole; nothing if `folder` is there.

    What a cut `make` left has that other name, so no server has ever run on it and it is made again.
    Raises StackError when `folder` holds things but not the file `mark`, which `make` leaves: they are somebody's.
    """
    if _is_whole(folder, mark):
        return
    half = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    await make(half)
    half.replace(folder)
    sync_folder(folder.parent)


def _is_whole(folder: Path, mark: str) -> bool:
    if (folder / mark).exists():
        return True
    if folder.exists() and any(folder.iterdir()):
        raise StackError(f"{folder} is not empty and has no {mark}: it is no whole data folder, move it out of the way")
    return False
