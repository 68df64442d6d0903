"""The folder of the Unix sockets by which Postgres and Redis are reached: nobody else can enter it."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from redpacket.stack.error import StackError
from redpacket.stack.folder import private_folder

# Of sun_path in Linux's sockaddr_un, with a zero at its end.
PATH_BYTES_MAX = 107
REDIS = "redis.sock"
POSTGRES_PORT = 5432  # by which Postgres names its socket
POSTGRES = f".s.PGSQL.{POSTGRES_PORT}"
_LONGEST = max(REDIS, POSTGRES, key=len)


def socket_folder(data: Path) -> Path:
    """`sockets` in the data folder, where a path of that length can be a socket's; else a short folder elsewhere, to
    which `sockets` is then a link. Raises OSError and StackError."""
    sockets = data / "sockets"
    if _fits(sockets):
        return private_folder(sockets)
    if sockets.is_symlink():
        try:
            return private_folder(sockets.readlink())  # a start before this one has made it
        except (OSError, StackError):  # somebody has cleaned up since
            sockets.unlink()
    short = _short_folder()
    sockets.symlink_to(short)
    return short


def remove_elsewhere(data: Path) -> None:
    """The short folder, if there is one and the servers have taken their sockets away."""
    sockets = data / "sockets"
    if sockets.is_symlink():
        elsewhere = sockets.readlink()
        with suppress(OSError):  # it stays where there is anything in it, and the next start takes it again
            (elsewhere / REDIS).unlink(missing_ok=True)
            elsewhere.rmdir()
            sockets.unlink()


def _short_folder() -> Path:
    places = (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp")  # noqa: S108 mkdtemp makes our own in it
    for place in places:
        if os.path.isabs(place) and os.access(place, os.W_OK) and _fits(Path(place) / "redpacket-xxxxxxxx"):
            return Path(tempfile.mkdtemp(prefix="redpacket-", dir=place))
    raise StackError(f"no folder for sockets was found: the names of {', '.join(filter(None, places))} are too long")


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / _LONGEST)) <= PATH_BYTES_MAX
