"""Files and folders that are there whole or not at all, whenever the machine or the process is cut off."""

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redpacket.stack.error import StackError

# The file that says that a folder was made here.
MARK = "redpacket.mark"
MARKED = b"Made by `redpacket up`, which keeps its data here. Without this file it would not touch this folder.\n"


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`: a reader sees the old content or the new one. Raises OSError."""
    with _written(path, content, 0o600) as half:
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


def is_marked(folder: Path) -> bool:
    """Whether it was made here."""
    try:
        return (folder / MARK).read_bytes() == MARKED
    except OSError:
        return False


def write_mark(folder: Path) -> None:
    """Raises OSError."""
    if not is_marked(folder):
        write_whole(folder / MARK, MARKED)


async def make_folder(folder: Path, heart: str, make: Callable[[Path], Awaitable[None]]) -> None:
    """Let `make` fill a folder of another name, which becomes `folder` once it is whole; nothing if `folder` is there.

    What a cut `make` left has that other name, so no server has ever run on it and it is made again.
    Raises StackError when `folder` holds things but not the file `heart`, which `make` leaves, and when the other name
    is taken: they are somebody's.
    """
    scratch = folder.with_name(f"{folder.name}.new")
    _remove_scratch(scratch)
    if _is_whole(folder, heart):
        return
    scratch.mkdir(mode=0o700, parents=True)
    write_mark(scratch)
    half = scratch / "half"
    half.mkdir(mode=0o700)
    await make(half)
    half.replace(folder)
    sync_folder(folder.parent)
    _remove_scratch(scratch)


def _remove_scratch(scratch: Path) -> None:
    """Nothing is removed that was not made here."""
    if is_marked(scratch) and not scratch.is_symlink():
        shutil.rmtree(scratch)
    try:
        scratch.rmdir()  # a start was cut before it could mark it
    except FileNotFoundError:
        pass
    except OSError:
        raise StackError(f"{scratch} is in the way, and is not removed since no start has made it") from None


def _is_whole(folder: Path, heart: str) -> bool:
    if (folder / heart).exists():
        return True
    if folder.exists() and any(folder.iterdir()):
        raise StackError(
            f"{folder} is not empty and has no {heart}: it is no whole data folder, move it out of the way"
        )
    return False
