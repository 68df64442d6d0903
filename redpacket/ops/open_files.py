"""How many files a process may have open: each connection is one."""

import resource

from redpacket.limits import worker_files


class TooFewFilesError(Exception):
    """The machine does not allow as many as are needed; the message has both numbers."""


def ensure_open_files(needed: int, what: str) -> None:
    """Raises the soft limit of this process, and of those that it starts, to the hard one: 1,024 is usual, for programs
    that use `select`. Raises TooFewFilesError where `what` needs more than that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < needed:
        raise TooFewFilesError(f"{what} needs {needed} open files, {hard} are allowed: raise the limit (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_within(wanted: int) -> int:
    """How many connections a worker accepts: `wanted`, or as many as this process may have files, less its own."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files - worker_files(clients=0)))
