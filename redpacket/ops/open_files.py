"""How many files a process may have open: connections are files, too."""

import resource


class TooFewFilesError(Exception):
    """The machine does not allow as many as are needed; the message has both numbers."""


def ensure_open_files(needed: int, what: str) -> None:
    """For this process and those that it starts. Raises TooFewFilesError: `what` needs them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < needed:
        raise TooFewFilesError(f"{what} needs {needed} open files, {hard} are allowed: raise the limit (ulimit -n)")
    if 0 <= soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
