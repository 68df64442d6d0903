"""How many files a process may have open: each connection is one."""

import resource

# What a worker has open itself: Postgres, Redis, Kafka, logs, and its port for health and metrics with who asks there.
_OWN = 512


def raise_file_limit() -> None:
    """Raises the soft limit of this process to its hard one: 1,024 is usual, for programs that use `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_within(wanted: int) -> int:
    """How many connections a worker accepts: `wanted`, or as many as this process may have files, less its own."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files - _OWN))
