"""The data folder: one spelling of its name, marked as ours, closed to everybody else; what is not ours is refused."""

import os
import stat
from pathlib import Path

import msgspec

from redpacket.stack.error import StackError
from redpacket.stack.files import MARK, is_marked, write_mark

# What the stack keeps in it. None of these may be a link, which would lead it into somebody's files.
NAMES = ("lock", "ports.json", "stack.json", "kafka.properties", MARK)
FOLDERS = ("keys", "logs", "kafka", "kafka.new", "postgres", "postgres.new", "redis")
PRIVATE = 0o700
LINK = "{} is a link, which is not followed: put in its place what it leads to"
# Of Kafka's own; any other folder of the log is a partition of a topic.
METADATA = "__cluster_metadata-0"


def resolve_folder(data: Path) -> Path:
    """The one spelling of this name: absolute, without links. Raises StackError where no folder can have the name."""
    text = str(data)
    if not text.isprintable():
        raise StackError(f"{text!r} cannot be the name of a data folder: it has a character that cannot be printed")
    try:
        # A path with two leading slashes keeps them.
        return Path("/" + str(data.resolve()).lstrip("/"))
    except (OSError, RuntimeError) as error:  # Python 3.11 and 3.12: a link that leads to itself
        raise StackError(f"{text!r} cannot be the name of a data folder: {error}") from None


def check_folder(data: Path) -> None:
    """Raises StackError where `data` is there and is not ours, and where it lacks what it once had. Changes nothing."""
    if not data.exists():
        return
    if data.stat().st_uid != os.geteuid():
        raise StackError(f"{data} belongs to another user: name another folder")
    for name in (*NAMES, *FOLDERS):
        if (data / name).is_symlink():
            raise StackError(LINK.format(data / name))
    if not (is_marked(data) or _is_new(data) or _is_of_an_earlier_version(data)):
        raise StackError(
            f"{data} is not empty, and no stack has made it: it is left as it is; name another folder, or a new one"
        )
    log = data / "kafka"
    if not (data / "postgres").exists() and log.exists() and _has_topics(log):
        raise StackError(
            f"{data / 'postgres'} is gone, and {log} has the log of its ledger: put it back; if the money of this log"
            f" is to be given up, move {log} away, too"
        )


def own_folder(data: Path) -> None:
    """Mark `data` as ours and close it to others. Raises OSError and StackError, as check_folder does."""
    check_folder(data)
    data.chmod(PRIVATE)  # of an earlier version it may be open
    write_mark(data)
    for folder in (data / name for name in FOLDERS):
        if folder.exists():
            folder.chmod(PRIVATE)


def private_folder(folder: Path) -> Path:
    """Make it, or find it there. Raises StackError where it is no folder of ours, OSError."""
    if folder.is_symlink():
        raise StackError(LINK.format(folder))
    folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StackError(f"{folder} is no folder of this user")
    folder.chmod(PRIVATE)
    return folder


def _is_new(data: Path) -> bool:
    """Empty, or with nothing but the lock: of a start that was cut, or goes on, before it could mark it."""
    try:
        names = {path.name for path in data.iterdir() if not path.name.startswith(MARK)}
        return not names or (names == {"lock"} and not (data / "lock").read_text().strip("0123456789\n"))
    except (OSError, ValueError) as error:
        raise StackError(f"{data} cannot be read: {error}") from None


def _is_of_an_earlier_version(data: Path) -> bool:
    """None of these had a mark, and all of them these three."""
    try:
        ports = msgspec.json.decode((data / "ports.json").read_bytes())
        log = (data / "kafka" / "meta.properties").read_text()
        ledger = (data / "postgres" / "PG_VERSION").read_text()
    except (OSError, ValueError):  # what is missing is none, what cannot be decoded is not ours
        return False
    four = {"postgres", "redis", "kafka", "kafka_controller"}
    return isinstance(ports, dict) and set(ports) == four and "node.id=1\n" in log and ledger.strip() == "18"


def _has_topics(log: Path) -> bool:
    return any(it.is_dir() and it.name != METADATA and it.name.rpartition("-")[2].isdecimal() for it in log.iterdir())
